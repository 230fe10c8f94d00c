"""CSV and TSV, as columns of text: read by Arrow's parser, a block at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from weir_contract.sources import CsvDialect, Parsing
from weir_lambdas.file_processor.formats.base import MAX_RECORD_BYTES, Sink
from weir_lambdas.file_processor.formats.text import as_utf8, lines
from weir_lambdas.file_processor.unpack import Unreadable, as_file

BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes that are parsed at a time. Arrow keeps a few of them at once."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_COLUMNS = 10_000


def read_csv(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """Delimited text. A row with too many or too few fields, or not in the encoding, is rejected
    alone; empty lines are no rows.

    Row numbers count from 1 with the header; they are line numbers as long as no field holds a line
    end.

    Raises
    ------
    Unreadable
        There is no header, or a record is longer than a block.
    """
    _Reader(parsing.csv, sink).read(chunks)


def read_tsv(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """As :func:`read_csv`, between tabs."""
    _Reader(replace(parsing.csv, delimiter="\t"), sink).read(chunks)


def column_names(found: Iterable[str]) -> list[str]:
    """Names as a header has them, trimmed; an empty one becomes ``column3``, a second ``id`` becomes
    ``id_2``."""
    names: list[str] = []
    for place, text in enumerate(found, 1):
        name = text.strip() or f"column{place}"
        candidate, number = name, 2
        while candidate in names:
            candidate, number = f"{name}_{number}", number + 1
        names.append(candidate)
    return names


class _Reader:
    def __init__(self, dialect: CsvDialect, sink: Sink) -> None:
        self._dialect, self._sink = dialect, sink
        self._rejected: list[int] = []
        self._row = 1 if dialect.header else 0
        self._skipped = dialect.skip_lines

    def read(self, chunks: Iterable[bytes]) -> None:
        dialect = self._dialect
        stream = _uncommented(as_utf8(chunks, dialect.encoding), dialect)
        head, stream = _head(stream, dialect)
        if not head.strip():
            return
        names = self._names(head)
        if not names:
            return
        try:
            reader = arrow_csv.open_csv(
                as_file(stream),
                read_options=arrow_csv.ReadOptions(
                    block_size=BLOCK_BYTES,
                    use_threads=False,
                    column_names=names,
                    skip_rows_after_names=1 if dialect.header else 0,
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote or False,
                    escape_char=dialect.escape or False,
                    newlines_in_values=bool(dialect.quote),
                    invalid_row_handler=self._refuse,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: pa.binary() for name in names},
                    null_values=list(dialect.null_values),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            for batch in reader:
                self._take(pa.Table.from_batches([batch]))
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return  # a header, and nothing below it
            # Arrow's text may quote the row: it is not passed on.
            raise Unreadable(_why(str(error), self._row)) from error

    def _names(self, head: bytes) -> list[str]:
        dialect = self._dialect
        # The bytes end anywhere, perhaps within a character: only the first record has to be text.
        text = head.decode(errors="surrogateescape")
        first = next(
            csv.reader(
                io.StringIO(text, newline=""),
                delimiter=dialect.delimiter,
                quotechar=dialect.quote or None,
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
                escapechar=dialect.escape or None,
            ),
            [],
        )
        if any("\udc80" <= letter <= "\udcff" for name in first for letter in name):
            raise Unreadable(f"the first line is not in {dialect.encoding}: state csv.encoding")
        if len(first) > MAX_COLUMNS:
            raise Unreadable(f"the first line has {len(first)} columns, more than {MAX_COLUMNS}")
        if dialect.header:
            return column_names(first)
        return list(dialect.columns) or [f"column{place}" for place in range(1, len(first) + 1)]

    def _refuse(self, row: arrow_csv.InvalidRow) -> str:
        number = (row.number or 0) + self._skipped
        self._rejected.append(row.number or 0)
        self._sink.reject(
            number, f"{row.actual_columns} fields instead of {row.expected_columns}", row.text
        )
        return "skip"

    def _take(self, table: pa.Table) -> None:
        """Pass a block on as text; rows that are no text are rejected."""
        first, self._row = self._row, self._last_row(table.num_rows)
        try:
            self._sink.table(_as_text(table))
            return
        except pa.ArrowInvalid:
            good = self._good_rows(table, self._numbers(first))
        self._sink.table(_as_text(table.take(pa.array(good, pa.int64()))))

    def _good_rows(self, table: pa.Table, numbers: list[int]) -> list[int]:
        good = []
        for index, row in enumerate(zip(*(one.to_pylist() for one in table.columns), strict=True)):
            try:
                for value in row:
                    if value is not None:
                        value.decode()
            except UnicodeDecodeError:
                text = self._dialect.delimiter.join(
                    (value or b"").decode(errors="backslashreplace") for value in row
                )
                reason = f"text that is not in {self._dialect.encoding}"
                self._sink.reject(numbers[index] + self._skipped, reason, text)
            else:
                good.append(index)
        return good

    def _last_row(self, count: int) -> int:
        """The number of the last of the next ``count`` good rows: rejected ones lie between."""
        last = self._row + count
        for number in sorted(self._rejected):
            if self._row < number <= last:
                last += 1
        return last

    def _numbers(self, first: int) -> list[int]:
        """Row numbers of the block's good rows, which come after row ``first``."""
        refused = set(self._rejected)
        return [row for row in range(first + 1, self._row + 1) if row not in refused]


def _as_text(table: pa.Table) -> pa.Table:
    return pa.table({name: pc.cast(table[name], pa.string()) for name in table.column_names})


def _why(text: str, row: int) -> str:
    if "straddling" in text:
        return (
            f"after row {row}: a record is longer than {BLOCK_BYTES} bytes; is a quote not closed?"
        )
    return f"after row {row}: this is no text with the stated delimiter and quotes"


def _head(stream: Iterator[bytes], dialect: CsvDialect) -> tuple[bytes, Iterator[bytes]]:
    """The first record's bytes (or more), and the stream from that record on."""
    head = b""
    for chunk in stream:
        head += chunk
        complete = b"\n" in head and (
            not dialect.quote or head[: head.rfind(b"\n")].count(dialect.quote.encode()) % 2 == 0
        )
        if complete or len(head) > MAX_HEADER_BYTES:
            break
    # A line end more does no harm, and a last line without one is then like any other.
    return head, chain([head], stream, [b"\n"])


def _uncommented(stream: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    """The text without the lines to skip and without comments; untouched where there are none."""
    if not dialect.skip_lines and not dialect.comment:
        return stream
    return _without(stream, dialect.skip_lines, dialect.comment.encode())


def _without(stream: Iterator[bytes], skip: int, comment: bytes) -> Iterator[bytes]:
    held, size = [], 0
    for number, line in lines(stream):
        if number <= skip or (comment and line.startswith(comment)):
            continue
        held.append(line)
        size += len(line) + 1
        if size > MAX_RECORD_BYTES // 16:
            yield b"\n".join(held) + b"\n"
            held, size = [], 0
    if held:
        yield b"\n".join(held) + b"\n"
