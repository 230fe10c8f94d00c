"""CSV and TSV, as columns of text: cut at the ends of records, and read by Arrow's parser."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa
import pyarrow.csv as arrow_csv

from weir_contract.sources import CsvDialect, Parsing
from weir_lambdas.file_processor.formats.base import BEGINNING, MAX_RECORD_BYTES, Jump, Place, Sink
from weir_lambdas.file_processor.formats.cuts import (
    BLOCK_BYTES,
    Cutter,
    Text,
    line_ends,
    record_pattern,
    witness,
)
from weir_lambdas.file_processor.formats.names import column_names
from weir_lambdas.file_processor.formats.text import Utf8, lines
from weir_lambdas.file_processor.memory import share_arrow_pool
from weir_lambdas.file_processor.unpack import Unreadable

share_arrow_pool()

THREADS = 2
"""Blocks that are parsed at once: one is read while another is looked at."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_COLUMNS = 10_000

Refuse = Callable[[arrow_csv.InvalidRow], str]


def read_csv(
    chunks: Iterable[bytes],
    parsing: Parsing,
    sink: Sink,
    place: Place = BEGINNING,
    jump: Jump | None = None,
) -> None:
    """Delimited text. A row with too many or too few fields, or not in the encoding, is rejected
    alone; empty lines are no rows.

    A rejected row is told by the number of the line in which it begins, from 1.

    Raises
    ------
    Unreadable
        There is no header, or a record is longer than
        :data:`~weir_lambdas.file_processor.formats.base.MAX_RECORD_BYTES`.
    """
    _Reader(parsing.csv, sink).read(chunks, place, jump)


def read_tsv(
    chunks: Iterable[bytes],
    parsing: Parsing,
    sink: Sink,
    place: Place = BEGINNING,
    jump: Jump | None = None,
) -> None:
    """As :func:`read_csv`, between tabs."""
    _Reader(replace(parsing.csv, delimiter="\t"), sink).read(chunks, place, jump)


@dataclass(frozen=True)
class _Parsed:
    """A block's good rows, and its bad ones: number within the block, fields found, text.

    ``whole`` is false where the block ends within a record; ``raw``: some of it is no text, so that
    each byte stands as a letter of its own (Latin-1).
    """

    table: pa.Table
    refused: list[tuple[int, int, str]]
    whole: bool
    raw: bool


class _Reader:
    def __init__(self, dialect: CsvDialect, sink: Sink) -> None:
        self._dialect, self._sink = dialect, sink
        self._names: list[str] = []
        self._witness, self._line, self._return = b"", 0, False
        self._first = 0

    def read(self, chunks: Iterable[bytes], place: Place, jump: Jump | None) -> None:
        """Read from a place to the end, or up to where the sink has had enough."""
        dialect = self._dialect
        text = Utf8(chunks, dialect.encoding)
        blank, head, stream = _head(_uncommented(text.stream, dialect), dialect)
        if not head.strip():
            return
        self._first = len(blank)
        self._names = self._names_in(head)
        if not self._names:
            return
        self._witness = witness(dialect, len(self._names))
        if place.offset:
            straight = text.straight and not dialect.skip_lines and not dialect.comment
            stream = text.after(place.offset, jump if straight else None, stream)
        self._line = place.lines if place.offset else line_ends(blank)
        start = place.offset or self._first
        with ThreadPoolExecutor(THREADS, thread_name_prefix="csv") as pool:
            self._blocks(Cutter(stream, dialect, start), pool)

    def _blocks(self, cutter: Cutter, pool: ThreadPoolExecutor) -> None:
        """Parse blocks side by side, and give them in their order."""
        flying: deque[tuple[Text, Future[_Parsed]]] = deque()
        wrong: Text | None = None
        while True:
            while len(flying) < THREADS and (text := cutter.cut(wrong)) is not None:
                flying.append((text, self._parsing(text, cutter, pool, bool(flying))))
                wrong = None
            if not flying:
                return
            text, future = flying.popleft()
            try:
                parsed = future.result()
            except pa.ArrowInvalid as error:
                # Arrow's text may quote the row: it is not passed on.
                raise Unreadable(
                    f"after line {self._line}: this is no text with the stated delimiter and quotes"
                ) from error
            if parsed.whole:
                self._give(text, parsed)
            elif text.open:
                self._refuse_open(text)
            else:
                # What came after it was cut wrongly too.
                cutter.back([text, *(later for later, _ in flying)])
                flying.clear()
                wrong = text

    def _parsing(
        self, text: Text, cutter: Cutter, pool: ThreadPoolExecutor, beside: bool
    ) -> Future[_Parsed]:
        """A block's parsing: a block that is all there is needs no other thread."""
        if beside or not cutter.ended:
            return pool.submit(self._parse, text)
        future: Future[_Parsed] = Future()
        try:
            future.set_result(self._parse(text))
        except pa.ArrowInvalid as error:
            future.set_exception(error)
        return future

    def _names_in(self, head: bytes) -> list[str]:
        dialect = self._dialect
        # The bytes end anywhere, perhaps within a character: only the first record has to be text.
        text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
        csv.field_size_limit(MAX_HEADER_BYTES)
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
        if any("\0" in name for name in first):
            raise Unreadable(
                "the first line holds bytes that are 0: it is no text, or in another encoding such as "
                "utf-16-le: state csv.encoding"
            )
        if any("\udc80" <= letter <= "\udcff" for name in first for letter in name):
            raise Unreadable(f"the first line is not in {dialect.encoding}: state csv.encoding")
        if len(first) > MAX_COLUMNS:
            raise Unreadable(f"the first line has {len(first)} columns, more than {MAX_COLUMNS}")
        if dialect.header:
            return column_names(first)
        return list(dialect.columns) or [f"column{place}" for place in range(1, len(first) + 1)]

    def _parse(self, text: Text) -> _Parsed:
        refused: list[tuple[int, int, str]] = []

        def refuse(row: arrow_csv.InvalidRow) -> str:
            refused.append((row.number or 0, row.actual_columns, row.text))
            return "skip"

        body = text.body
        if self._witness:
            line_end = b"" if body.endswith((b"\n", b"\r")) else b"\n"
            body = b"".join((body, line_end, self._witness))
        header = 1 if self._dialect.header and text.offset == self._first else 0
        nulls = list(self._dialect.null_values)
        # Arrow gives no row back that has too many or too few fields and is no text.
        raw = not _is_text(body)
        if raw:
            body = body.decode("latin-1").encode()
            nulls = [one.encode().decode("latin-1") for one in nulls]
        try:
            table = self._arrow(body, header, refuse, nulls)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return _Parsed(pa.table({}), refused, True, False)
            raise
        if not self._witness:
            return _Parsed(table, refused, True, raw)
        word = self._witness.decode().strip().split(self._dialect.delimiter)[0]
        last = table[0][-1].as_py() if table.num_rows else None
        rows = max(0, table.num_rows - 1)
        return _Parsed(table.slice(0, rows), refused, last == word, raw)

    def _arrow(self, body: bytes, header: int, refuse: Refuse, nulls: list[str]) -> pa.Table:
        dialect = self._dialect
        return arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(
                block_size=len(body) + 1,
                use_threads=False,
                column_names=self._names,
                skip_rows_after_names=header,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=dialect.escape or False,
                newlines_in_values=bool(dialect.quote),
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self._names, pa.string()),
                null_values=nulls,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _give(self, text: Text, parsed: _Parsed) -> None:
        """Pass a block on; rows that are no text are rejected."""
        self._beginning(text.body)
        header = 1 if self._dialect.header and text.offset == self._first else 0
        expected = len(self._names)
        self._sink.mark(Place(text.offset, self._line))
        table, rows = parsed.table, parsed.table.num_rows + len(parsed.refused) + header
        # Which row begins in which line is asked for broken ones alone.
        begins = self._begins(text.body) if parsed.refused or parsed.raw else []
        for number, found, row in parsed.refused:
            shown = _shown(row) if parsed.raw else row
            self._sink.reject(_nth(begins, number), f"{found} fields instead of {expected}", shown)
        if parsed.raw:
            refused = {number for number, _, _ in parsed.refused}
            numbers = [one for one in range(1 + header, rows + 1) if one not in refused]
            table = self._good_rows(table, [_nth(begins, one) for one in numbers])
        self._line += line_ends(text.body)
        if table.num_rows:
            self._sink.table(table)

    def _beginning(self, body: bytes) -> None:
        """A line end of two bytes, between which a block ended, is one."""
        if self._return and body.startswith(b"\n"):
            self._line -= 1
        self._return = body.endswith(b"\r")

    def _begins(self, body: bytes) -> list[int]:
        """The line in which each of a block's rows begins; empty lines are no rows."""
        found, line, at = [], self._line + 1, 0
        record = record_pattern(self._dialect)
        while at < len(body):
            match = record.match(body, at)
            end = match.end() if match else len(body)
            if body[at:end].strip(b"\r\n"):
                found.append(line)
            line, at = line + line_ends(body[at:end]), end
        return found

    def _good_rows(self, table: pa.Table, lines: list[int]) -> pa.Table:
        """The rows whose bytes, of which each stands as a letter, are text."""
        good: list[tuple[str | None, ...]] = []
        for line, row in zip(
            lines, zip(*(one.to_pylist() for one in table.columns), strict=True), strict=True
        ):
            try:
                good.append(
                    tuple(None if one is None else one.encode("latin-1").decode() for one in row)
                )
            except UnicodeDecodeError:
                text = self._dialect.delimiter.join(_shown(value or "") for value in row)
                self._sink.reject(line, f"text that is not in {self._dialect.encoding}", text)
        columns = zip(*good, strict=True) if good else ([] for _ in self._names)
        return pa.table(
            {
                name: pa.array(list(values), pa.string())
                for name, values in zip(self._names, columns, strict=True)
            }
        )

    def _refuse_open(self, text: Text) -> None:
        """The text's last record, whose quote is never closed: it was cut off, or is no CSV."""
        if len(text.body) > BLOCK_BYTES:
            raise Unreadable(
                f"after line {self._line}: a record is longer than {BLOCK_BYTES} bytes; is a quote "
                "not closed?"
            )
        self._beginning(text.body)
        self._sink.mark(Place(text.offset, self._line))
        body = text.body.lstrip(b"\r\n")
        number = self._line + line_ends(text.body[: len(text.body) - len(body)]) + 1
        shown = body.decode(errors="backslashreplace").rstrip("\r\n")
        self._sink.reject(number, "a quote that is not closed", shown)


def _nth(begins: list[int], number: int) -> int:
    """The line of a row, by its number from 1; a row that Arrow alone sees is in the last one's."""
    return begins[min(number, len(begins)) - 1] if begins else 0


def _is_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(text: str) -> str:
    """Bytes, of which each stands as a letter, for people."""
    return text.encode("latin-1").decode(errors="backslashreplace")


def _head(stream: Iterator[bytes], dialect: CsvDialect) -> tuple[bytes, bytes, Iterator[bytes]]:
    """The empty lines that come first, the first record's bytes (or more), and the stream from that
    record on."""
    blank, head = b"", b""
    for chunk in stream:
        found = head + chunk
        head = found if head else found.lstrip(b"\r\n")
        blank += found[: len(found) - len(head)]
        complete = b"\n" in head and (
            not dialect.quote or head[: head.rfind(b"\n")].count(dialect.quote.encode()) % 2 == 0
        )
        if complete or len(head) > MAX_HEADER_BYTES:
            break
    return blank, head, chain([head], stream)


def _uncommented(stream: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    """The text with empty lines in place of those to skip and of comments, so that every line keeps
    its number; untouched where there are none."""
    if not dialect.skip_lines and not dialect.comment:
        return stream
    return _without(stream, dialect)


def _without(stream: Iterator[bytes], dialect: CsvDialect) -> Iterator[bytes]:
    quote, comment = dialect.quote.encode(), dialect.comment.encode()
    closed = re.compile(record_pattern(dialect).pattern, re.DOTALL)
    held, size, within = list[bytes](), 0, False
    for number, line in lines(stream):
        skipped = number <= dialect.skip_lines
        if skipped or (comment and not within and line.startswith(comment)):
            line = b""
        elif comment and quote and quote in line:
            # A line within quotes is no comment, whatever it begins with.
            odd = line.count(quote) % 2 == 1
            within = (not odd) if within else closed.fullmatch(line + b"\n") is None
        held.append(line)
        size += len(line) + 1
        if size > MAX_RECORD_BYTES // 16:
            yield b"\n".join(held) + b"\n"
            held, size = [], 0
    if held:
        yield b"\n".join(held) + b"\n"
