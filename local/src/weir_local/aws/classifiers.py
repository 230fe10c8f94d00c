"""What a crawler makes of an object's first bytes: its format, its columns, how many records.

Glue Developer Guide, "Defining and managing classifiers" (built-in classifiers) and "Populating the
Data Catalog using crawlers". Parquet by its footer; JSON by lines, a list, or one document; CSV by
one of four delimiters. The CSV classifier takes a first row for a header if it is text throughout
and the rows below are not.
"""

from __future__ import annotations

import bz2
import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLE_BYTES = 1024 * 1024
"""How much of a text is looked at; AWS's classifiers read the first megabyte, too."""
DELIMITERS = (",", "|", "\t", ";")
INT = range(-(2**31), 2**31)
LONG = range(-(2**63), 2**63)
WORD = re.compile(r"[^a-z0-9_]")

Columns = dict[str, str]
"""Column in lower case -> Hive type."""


@dataclass(frozen=True)
class Classified:
    """What one object is.

    :param classification: ``json``, ``csv`` or ``parquet``
    :param columns: Hive types by column, in order
    :param keys: the columns as the object spells them
    :param records: how many there are, estimated from the sample where it is one
    :param delimiter: of a CSV
    :param header: whether a CSV has one
    :param compression: ``none``, ``gzip`` or ``bzip2``
    """

    classification: str
    columns: Columns
    keys: tuple[str, ...] = ()
    records: int = 0
    delimiter: str = ""
    header: bool = False
    compression: str = "none"


@dataclass
class Shape:
    """The type of a JSON value, as it grows from record to record."""

    simple: str | None = None
    fields: dict[str, Shape] = field(default_factory=dict)
    items: Shape | None = None

    def see(self, value: Any) -> None:
        """Take a value into account; null tells nothing."""
        if value is None:
            return
        if isinstance(value, dict):
            self.simple = widen(self.simple, "struct")
            for key, item in value.items():
                self.fields.setdefault(str(key), Shape()).see(item)
        elif isinstance(value, list):
            self.simple = widen(self.simple, "array")
            self.items = self.items or Shape()
            for item in value:
                self.items.see(item)
        else:
            self.simple = widen(self.simple, scalar(value))

    def hive(self) -> str:
        """The Hive type; a value that was never there is a string."""
        if self.simple == "struct":
            inner = ",".join(f"{key}:{shape.hive()}" for key, shape in self.fields.items())
            return f"struct<{inner}>"
        if self.simple == "array":
            return f"array<{self.items.hive() if self.items else 'string'}>"
        return self.simple or "string"


def scalar(value: Any) -> str:
    """The Hive type of a JSON scalar."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int" if value in INT else "bigint" if value in LONG else "double"
    return "double" if isinstance(value, float) else "string"


NUMBERS = ("int", "bigint", "double")


def widen(one: str | None, other: str | None) -> str | None:
    """The Hive type that holds both."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if one in NUMBERS and other in NUMBERS:
        return NUMBERS[max(NUMBERS.index(one), NUMBERS.index(other))]
    return "string"


def merged(schemas: Iterable[Columns]) -> Columns:
    """One schema for objects of one table: every column, each as wide as it must be."""
    found: Columns = {}
    for columns in schemas:
        for name, kind in columns.items():
            found[name] = widen(found.get(name), kind) or kind
    return found


def classify(read: Callable[[int, int], bytes], size: int) -> Classified | None:
    """What an object is, or None where no classifier knows it.

    :param read: bytes from, up to
    :param size: of the object
    """
    head = read(0, min(size, SAMPLE_BYTES))
    if head[:4] == b"PAR1":
        return parquet(read, size)
    plain, compression = unpacked(head)
    whole = compression == "none" and len(head) == size
    try:
        text = plain.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(plain) - 4:
            return None
        text = plain[: error.start].decode("utf-8-sig")
    found = json_text(text, whole) or csv_text(text)
    if found is None:
        return None
    share = max(1.0, size / max(1, len(head)))
    records = found.records if whole else round(found.records * share)
    return Classified(
        found.classification,
        found.columns,
        found.keys,
        records,
        found.delimiter,
        found.header,
        compression,
    )


def unpacked(head: bytes) -> tuple[bytes, str]:
    """A sample's plain bytes and how it was packed."""
    if head[:2] == b"\x1f\x8b":
        return zlib.decompressobj(wbits=31).decompress(head, 8 * SAMPLE_BYTES), "gzip"
    if head[:3] == b"BZh":
        return bz2.BZ2Decompressor().decompress(head, 8 * SAMPLE_BYTES), "bzip2"
    return head, "none"


def parquet(read: Callable[[int, int], bytes], size: int) -> Classified | None:
    """Parquet, by its footer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    length = int.from_bytes(read(size - 8, size - 4), "little")
    start = max(0, size - 8 - length)
    footer = io.BytesIO(b"PAR1" + read(start, size))
    try:
        metadata = pq.read_metadata(footer)
    except pa.ArrowException:
        return None
    schema = metadata.schema.to_arrow_schema()
    columns = {one.name.lower(): arrow_type(one.type) for one in schema}
    return Classified("parquet", columns, tuple(schema.names), metadata.num_rows)


def arrow_type(kind: Any) -> str:
    """The Hive type of an Arrow type."""
    import pyarrow as pa

    types = pa.types
    table: Sequence[tuple[Callable[[Any], bool], str]] = (
        (types.is_boolean, "boolean"),
        (types.is_int64, "bigint"),
        (types.is_uint64, "bigint"),
        (types.is_uint32, "bigint"),
        (types.is_integer, "int"),
        (types.is_float32, "float"),
        (types.is_floating, "double"),
        (types.is_date, "date"),
        (types.is_timestamp, "timestamp"),
        (types.is_binary, "binary"),
        (types.is_large_binary, "binary"),
    )
    for test, name in table:
        if test(kind):
            return name
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_dictionary(kind):
        return arrow_type(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return f"array<{arrow_type(kind.value_type)}>"
    if types.is_map(kind):
        return f"map<{arrow_type(kind.key_type)},{arrow_type(kind.item_type)}>"
    if types.is_struct(kind):
        inner = ",".join(f"{one.name}:{arrow_type(one.type)}" for one in kind)
        return f"struct<{inner}>"
    return "string"


def json_text(text: str, whole: bool) -> Classified | None:
    """JSON lines, a list of records, or one document; None for anything else."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    records = list(json_records(text, whole))
    if not records:
        return None
    shape = Shape()
    for record in records:
        shape.see(record)
    keys = tuple(shape.fields)
    columns: Columns = {}
    for key, inner in shape.fields.items():
        name = key.lower()
        columns[name] = widen(columns.get(name), inner.hive()) or "string"
    return Classified("json", columns, keys, len(records))


def json_records(text: str, whole: bool) -> Iterable[Mapping[str, Any]]:
    """The records of a JSON text that may be cut at its end."""
    decoder = json.JSONDecoder()
    at, inside = 0, False
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text):
            return
        if text[at] == "[" and not inside:
            at, inside = at + 1, True
            continue
        if text[at] == "]" and inside:
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        if isinstance(value, dict):
            yield value
        elif not whole:
            return


def csv_text(text: str) -> Classified | None:
    """A CSV of two columns and two rows at least; None for anything else."""
    lines = text.splitlines()[:2_000]
    if not text.endswith("\n") and len(text) >= SAMPLE_BYTES:
        lines = lines[:-1]
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row]
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if len(rows) < 2 or len(widths) != 1 or widths == {1}:
            continue
        kinds = [column_kind(column) for column in zip(*rows[1:], strict=True)]
        first = [text_kind(value) for value in rows[0]]
        header = set(first) == {"string"} and set(kinds) != {"string"}
        if not header:
            kinds = [column_kind(column) for column in zip(*rows, strict=True)]
        names = rows[0] if header else [f"col{number}" for number in range(len(kinds))]
        columns = dict(zip((name.strip().lower() for name in names), kinds, strict=True))
        if len(columns) < len(kinds):
            continue
        keys = tuple(name.strip() for name in names)
        return Classified("csv", columns, keys, len(rows) - header, delimiter, header)
    return None


def text_kind(value: str) -> str:
    """The Hive type of a CSV value; the CSV classifier knows no smaller number than bigint."""
    text = value.strip()
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return "bigint"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return "double"
    return "boolean" if text.lower() in ("true", "false") else "string"


def column_kind(values: Iterable[str]) -> str:
    """The Hive type of a CSV column; empty values tell nothing."""
    found: str | None = None
    for value in values:
        if value.strip():
            found = widen(found, text_kind(value))
    return found or "string"


def table_word(text: str) -> str:
    """A folder's name as part of a table's: a-z, 0-9 and ``_``."""
    return WORD.sub("_", text.lower()) or "_"
