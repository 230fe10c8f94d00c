"""COPY from S3: Parquet by position, JSON by name, delimited text.

https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from weir_local.redshift import commands as c
from weir_local.redshift.catalog import Column, Table, quoted
from weir_local.redshift.errors import SqlError
from weir_local.redshift.objects import ObjectStore
from weir_local.redshift.translate import Translator
from weir_local.redshift.types import Type, fitted

if TYPE_CHECKING:
    from weir_local.redshift.execute import LoadError, Session


def split_uri(uri: str) -> tuple[str, str]:
    """``s3://bucket/key`` -> (bucket, key)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def load(session: Session, command: c.Copy, table: Table, translator: Translator) -> int:
    """Run a COPY.

    Returns
    -------
    int
        How many rows it loaded.

    Raises
    ------
    SqlError
        A file is missing, refused, or does not fit the table.
    """
    store = session.assume(command.role)
    columns = [table.column(name) for name in command.columns] or list(table.columns)
    files = _files(store, command)
    if command.format == "parquet":
        return sum(
            _parquet(session, store, uri, command, table, columns, translator) for uri in files
        )
    return _text(session, store, files, command, table, columns, translator)


def _files(store: ObjectStore, command: c.Copy) -> list[str]:
    bucket, key = split_uri(command.source)
    if not command.manifest:
        keys = [x for x in store.keys(bucket, key) if not x.endswith("/")]
        if not keys:
            raise SqlError(f"The specified S3 prefix '{key}' does not exist")
        return [f"s3://{bucket}/{x}" for x in keys]
    body = store.read(bucket, key)
    if body is None:
        raise SqlError(
            f"Problem reading manifest file - S3ServiceException:NoSuchKey,{command.source}"
        )
    try:
        entries = json.loads(body)["entries"]
        urls = [str(entry["url"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as problem:
        raise SqlError(
            f"Problem reading manifest file - invalid JSON in {command.source}"
        ) from problem
    found = []
    for url, entry in zip(urls, entries, strict=True):
        size = store.size(*split_uri(url))
        if command.format == "parquet":
            # https://docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html
            length = entry.get("meta", {}).get("content_length")
            if length is None:
                raise SqlError(
                    "Manifest file must contain meta.content_length for each file "
                    "when loading columnar formats",
                    f"{command.source} has none for {url}",
                )
            if size is not None and size != length:
                raise SqlError(
                    f"The size of {url} does not match the manifest's content_length",
                    f"content_length is {length} bytes, the object has {size}",
                )
        if size is None:
            if entry.get("mandatory", False):
                raise SqlError(
                    f"Mandatory url is not present in manifest file: {url} does not exist"
                )
            continue
        found.append(url)
    if not found:
        raise SqlError(f"No files of manifest {command.source} were found")
    return found


# Parquet


def _read(store: ObjectStore, uri: str) -> bytes:
    body = store.read(*split_uri(uri))
    if body is None:
        raise SqlError(f"S3ServiceException:The specified key does not exist,{uri}")
    return body


def _parquet(
    session: Session,
    store: ObjectStore,
    uri: str,
    command: c.Copy,
    table: Table,
    columns: Sequence[Column],
    translator: Translator,
) -> int:
    try:
        data = pq.read_table(io.BytesIO(_read(store, uri)))
    except pa.ArrowInvalid as problem:
        raise SqlError(f"Spectrum Scan Error: File '{uri}' is not a Parquet file") from problem
    if len(data.schema) != len(columns):
        raise SqlError(
            "Number of columns in parquet file does not match the table",
            f"File '{uri}' has {len(data.schema)} columns, table {table.name} takes {len(columns)}",
        )
    arrays = []
    for place, column in enumerate(columns):
        item = data.schema.field(place)
        if not _compatible(item.type, column.type, command.serialize_to_json):
            raise SqlError(
                "Spectrum Scan Error",
                f"File '{uri}' has an incompatible Parquet schema for column '{column.name}'. "
                f"Column type: {column.type}, Parquet schema: {item.name} {item.type}",
            )
        array = data.column(place)
        if column.type.wire == "super":
            array = pa.chunked_array([_json_texts(array)], type=pa.string())
        elif column.type.wire in ("varchar", "bpchar"):
            array = array.cast(pa.string())
            _lengths(array, column, uri)
        arrays.append(array)
    names = [f"c{place}" for place in range(len(columns))]
    rows = pa.Table.from_arrays(arrays, names=names)
    return _insert(session, rows, table, columns, translator)


def _lengths(array: Any, column: Column, uri: str) -> None:
    longest = max(
        (len(value.encode()) for value in array.to_pylist() if value is not None), default=0
    )
    if column.type.length is not None and longest > column.type.length:
        raise SqlError(
            "Spectrum Scan Error",
            f"The length of the data column {column.name} is longer than the length defined in "
            f"the table. Table: {column.type.length}, Data: {longest}, File name: {uri}",
        )


def _json_texts(array: Any) -> Any:
    texts = [
        None if value is None else json.dumps(value, default=str) for value in array.to_pylist()
    ]
    return pa.array(texts, type=pa.string())


_PARQUET: dict[str, Callable[[Any], bool]] = {
    "int2": lambda kind: kind in (pa.int16(), pa.int32()),
    "int4": lambda kind: kind in (pa.int16(), pa.int32()),
    "int8": lambda kind: kind == pa.int64(),
    "float4": lambda kind: kind == pa.float32(),
    "float8": lambda kind: kind == pa.float64(),
    "bool": pa.types.is_boolean,
    "date": lambda kind: kind == pa.date32(),
    "timestamp": pa.types.is_timestamp,
    "timestamptz": pa.types.is_timestamp,
    "time": pa.types.is_time,
    "varchar": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "bpchar": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "varbyte": lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
}


def _compatible(kind: Any, column: Type, serialize: bool) -> bool:
    if pa.types.is_nested(kind):
        return column.wire == "super" and serialize
    if column.wire == "numeric":
        return bool(
            pa.types.is_decimal(kind)
            and kind.scale == column.scale
            and kind.precision <= (column.precision or 0)
        )
    check = _PARQUET.get(column.wire)
    return check is not None and bool(check(kind))


def _insert(
    session: Session, rows: Any, table: Table, columns: Sequence[Column], translator: Translator
) -> int:
    values = [
        fitted(
            f"CAST({quoted(name)} AS JSON)" if column.type.wire == "super" else quoted(name),
            column.type,
            column.name,
            column.not_null,
        )
        for name, column in zip(rows.schema.names, columns, strict=True)
    ]
    listed = [quoted(column.name) for column in columns]
    chosen = {column.name for column in columns}
    for column in table.columns:
        if column.name not in chosen and (column.default or column.not_null):
            listed.append(quoted(column.name))
            default = translator.default(column.default)
            values.append(fitted(default, column.type, column.name, column.not_null))
    # A statement that fails takes the view with it: its transaction is rolled back.
    session.connection.register("loaded", rows)
    session.connection.execute(
        f"INSERT INTO {table.stored} ({', '.join(listed)}) SELECT {', '.join(values)} FROM loaded"
    )
    session.connection.unregister("loaded")
    return int(rows.num_rows)


# JSON and delimited text


class _Refused(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class _Row:
    line: int
    values: dict[str, Any]
    problem: _Refused | None = None


def _text(
    session: Session,
    store: ObjectStore,
    files: Sequence[str],
    command: c.Copy,
    table: Table,
    columns: Sequence[Column],
    translator: Translator,
) -> int:
    from weir_local.redshift.execute import LoadError, LoadFailed

    errors: list[LoadError] = []
    good: list[list[str | None]] = []
    paths = _json_paths(store, command, columns) if command.format == "json" else None
    for uri in files:
        body = _read(store, uri)
        if command.gzip:
            body = gzip.decompress(body)
        text = _decoded(body, command)
        rows = (
            _json_rows(text, command, columns, paths)
            if command.format == "json"
            else _csv_rows(text, command, columns)
        )
        for row in rows:
            out: list[str | None] = []
            column: Column | None = None
            raw: Any = None
            try:
                if row.problem:
                    raise row.problem
                for column in columns:
                    raw = row.values.get(column.name)
                    out.append(_value(raw, column, command))
            except _Refused as problem:
                errors.append(
                    LoadError(
                        uri,
                        row.line,
                        column.name if column else "",
                        column.type if column else None,
                        "" if raw is None else str(raw),
                        problem.code,
                        problem.reason,
                    )
                )
                if len(errors) > command.max_error:
                    raise LoadFailed(table.name, errors) from problem
            else:
                good.append(out)
    if "NOLOAD" in command.flags:
        return 0
    if errors:
        session.keep_errors_at_commit(errors)
    names = [f"c{place}" for place in range(len(columns))]
    arrays = [pa.array([row[i] for row in good], type=pa.string()) for i in range(len(columns))]
    return _insert(session, pa.Table.from_arrays(arrays, names=names), table, columns, translator)


def _decoded(body: bytes, command: c.Copy) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        if "ACCEPTINVCHARS" in command.flags:
            return body.decode("utf-8-sig", "replace").replace("\ufffd", "?")
        raise SqlError("String contains invalid or unsupported UTF8 codepoints") from problem


def _json_paths(
    store: ObjectStore, command: c.Copy, columns: Sequence[Column]
) -> list[list[str | int]] | None:
    if command.json.lower() in ("auto", "auto ignorecase", "noshred"):
        return None
    document = json.loads(_read(store, command.json))
    paths = [_path(text) for text in document["jsonpaths"]]
    if len(paths) != len(columns):
        raise SqlError(
            "Number of jsonpaths and the number of columns should match. "
            f"JSONPath size: {len(paths)}, Number of columns in table or column list: {len(columns)}"
        )
    return paths


def _path(text: str) -> list[str | int]:
    steps: list[str | int] = []
    for name, key, index in re.findall(r"\.([^.\[\]]+)|\['([^']+)'\]|\[(\d+)\]", text[1:]):
        steps.append(int(index) if index else name or key)
    return steps


def _json_rows(
    text: str, command: c.Copy, columns: Sequence[Column], paths: list[list[str | int]] | None
) -> Iterator[_Row]:
    decoder = json.JSONDecoder(parse_float=Decimal)
    place = 0
    mode = command.json.lower()
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return
        line = text.count("\n", 0, place) + 1
        try:
            document, place = decoder.raw_decode(text, place)
        except ValueError:
            yield _Row(line, {}, _Refused(1216, "Invalid JSON format: expected an object"))
            return
        if mode == "noshred":
            yield _Row(line, {columns[0].name: document})
        elif paths is not None:
            yield _Row(
                line, {x.name: _at(document, path) for x, path in zip(columns, paths, strict=True)}
            )
        elif not isinstance(document, dict):
            yield _Row(line, {}, _Refused(1216, "Invalid JSON format: expected an object"))
        elif mode == "auto ignorecase":
            yield _Row(line, {key.lower(): value for key, value in document.items()})
        else:
            # 'auto' matches names exactly, and columns are lower case.
            yield _Row(line, document)


def _at(document: Any, path: list[str | int]) -> Any:
    for step in path:
        if isinstance(step, int):
            document = (
                document[step] if isinstance(document, list) and step < len(document) else None
            )
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document


def _csv_rows(text: str, command: c.Copy, columns: Sequence[Column]) -> Iterator[_Row]:
    quoting: Literal[0, 3] = (
        csv.QUOTE_MINIMAL
        if command.format == "csv" or "REMOVEQUOTES" in command.flags
        else csv.QUOTE_NONE
    )
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=command.delimiter,
        quotechar=command.quote or '"',
        quoting=quoting,
        escapechar="\\" if "ESCAPE" in command.flags else None,
    )
    for number, fields in enumerate(reader):
        if number < command.ignore_header:
            continue
        if not fields and "IGNOREBLANKLINES" in command.flags:
            continue
        line = reader.line_num
        if len(fields) > len(columns):
            yield _Row(line, {}, _Refused(1202, "Extra column(s) found"))
        elif len(fields) < len(columns) and "FILLRECORD" not in command.flags:
            yield _Row(
                line,
                {},
                _Refused(
                    1213,
                    "Missing data for not-null field"
                    if any(x.not_null for x in columns[len(fields) :])
                    else "Delimiter not found",
                ),
            )
        else:
            values = dict.fromkeys((x.name for x in columns), None)
            for column, value in zip(columns, fields, strict=False):
                values[column.name] = None if value == command.null_as else value
            yield _Row(line, values)


def _value(raw: Any, column: Column, command: c.Copy) -> str | None:
    """A field as text that DuckDB casts without a surprise.

    Raises
    ------
    _Refused
        It does not fit the column, with Redshift's load error code.
    """
    kind = column.type
    if raw is None or (
        raw == "" and ("EMPTYASNULL" in command.flags or _blank_is_null(column, command))
    ):
        if column.not_null:
            raise _Refused(1213, "Missing data for not-null field")
        return None
    if kind.wire == "super":
        return json.dumps(raw, default=_plain) if command.format == "json" else str(raw)
    text = raw if isinstance(raw, str) else _plain_text(raw)
    if kind.wire in ("varchar", "bpchar"):
        if "TRIMBLANKS" in command.flags:
            text = text.rstrip(" ")
        if "BLANKSASNULL" in command.flags and not text.strip():
            return None
        assert kind.length is not None
        if len(text.encode()) > kind.length:
            if "TRUNCATECOLUMNS" in command.flags:
                return text.encode()[: kind.length].decode("utf-8", "ignore")
            raise _Refused(1204, "String length exceeds DDL length")
        return text
    check = _CHECKS.get(kind.wire)
    return text if check is None else check(text.strip(), kind, command)


def _blank_is_null(column: Column, command: c.Copy) -> bool:
    # An empty field of a text file is NULL for everything but strings.
    return command.format != "json" and column.type.wire not in ("varchar", "bpchar")


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(type(value).__name__)


def _plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, default=_plain)
    return str(value)


_RANGES = {"int2": 15, "int4": 31, "int8": 63}


def _integer(text: str, kind: Type, _command: c.Copy) -> str:
    if not re.fullmatch(r"[+-]?\d+", text):
        bad = next((i for i, x in enumerate(text) if not x.isdigit()), 0)
        value = text[bad] if text else ""
        raise _Refused(
            1207,
            f"Invalid digit, Value '{value}', Pos {bad}, Type: {kind.base.name.capitalize()}",
        )
    bits = _RANGES[kind.wire]
    if not -(2**bits) <= int(text) < 2**bits:
        raise _Refused(1208, f"Overflow for Type: {kind.base.name.capitalize()}")
    return text


def _decimal(text: str, kind: Type, command: c.Copy) -> str:
    try:
        value = Decimal(text)
    except InvalidOperation as problem:
        raise _Refused(
            1207, f"Invalid digit, Value '{text[:1]}', Pos 0, Type: Decimal"
        ) from problem
    assert kind.precision is not None
    assert kind.scale is not None
    # Without ROUNDEC, COPY cuts what lies beyond the scale.
    rounding = "ROUND_HALF_UP" if "ROUNDEC" in command.flags else "ROUND_DOWN"
    if not value.is_finite() or abs(value) >= Decimal(10) ** (kind.precision - kind.scale):
        raise _Refused(1208, "Overflow for Type: Decimal")
    return str(value.quantize(Decimal(1).scaleb(-kind.scale), rounding=rounding, context=_WIDE))


def _float(text: str, _kind: Type, _command: c.Copy) -> str:
    try:
        float(text)
    except ValueError as problem:
        raise _Refused(1207, f"Invalid digit, Value '{text[:1]}', Pos 0, Type: Double") from problem
    return text


_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0"), "false"),
}


def _boolean(text: str, _kind: Type, _command: c.Copy) -> str:
    if text.lower() not in _BOOLEANS:
        raise _Refused(1210, "Unknown boolean format")
    return _BOOLEANS[text.lower()]


def _date(text: str, _kind: Type, command: c.Copy) -> str:
    pattern = command.date_format
    try:
        if pattern and pattern.lower() != "auto":
            return datetime.strptime(text, _strptime(pattern)).date().isoformat()
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError as problem:
        raise _Refused(
            1206, f"Invalid Date Format - length must be 10 or more: {text[:40]}"
        ) from problem


def _timestamp(text: str, _kind: Type, command: c.Copy) -> str:
    pattern = command.time_format
    try:
        if pattern.lower() == "epochsecs":
            return datetime.fromtimestamp(float(text), tz=_utc()).isoformat()
        if pattern.lower() == "epochmillisecs":
            return datetime.fromtimestamp(float(text) / 1000, tz=_utc()).isoformat()
        if pattern.lower() == "auto":
            return datetime.fromisoformat(text).isoformat()
        if pattern:
            return datetime.strptime(text, _strptime(pattern)).isoformat()
        # The default takes YYYY-MM-DD HH:MI:SS alone; ISO's T and zones need TIMEFORMAT 'auto'.
        if not re.fullmatch(
            r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d(\.\d+)?)?)?([+-]\d\d(:?\d\d)?)?", text
        ):
            raise ValueError(text)
        return datetime.fromisoformat(text).isoformat()
    except ValueError as problem:
        raise _Refused(
            1206, "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"
        ) from problem


def _utc() -> Any:
    from datetime import UTC

    return UTC


_PATTERN = (
    ("YYYY", "%Y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%H"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("OF", "%z"),
)


def _strptime(pattern: str) -> str:
    for theirs, ours in _PATTERN:
        pattern = pattern.replace(theirs, ours)
    return pattern


def _wide() -> Any:
    from decimal import Context

    return Context(prec=100)


_WIDE = _wide()

_CHECKS: dict[str, Callable[[str, Type, c.Copy], str]] = {
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "numeric": _decimal,
    "float4": _float,
    "float8": _float,
    "bool": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamp,
}
