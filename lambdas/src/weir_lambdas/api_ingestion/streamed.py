"""Answers too large for memory: read twice, once to see that they are whole, once for their records.

The first reading counts the records and keeps what lies beside them for the paginator; the second
gives them, a few megabytes at a time. The records are the same as those of a small answer.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

import msgspec

from weir_contract.jsonpath import JsonPath, compile_path
from weir_contract.rest import Format
from weir_lambdas.api_ingestion.columnar import Shape
from weir_lambdas.api_ingestion.records import (
    CHUNK_ROWS,
    Chunk,
    Level,
    Levels,
    Records,
    chunk_of,
    cut,
    long_numbers,
    no_member,
    plain_keys,
)
from weir_lambdas.api_ingestion.select import COMMON_KEYS, SelectorError
from weir_lambdas.api_ingestion.select import shape as shape_of
from weir_lambdas.landing.pieces import (
    MAX_VALUE_BYTES,
    REFUSALS,
    WINDOW_BYTES,
    Pieces,
    TooLong,
    records_of,
)
from weir_lambdas.landing.records import dump_line, parse

Opened = Callable[[], BinaryIO]
"""Opens an answer at its beginning."""

_RAW = msgspec.json.Decoder(msgspec.Raw)


class Whole(Exception):
    """The records of this answer can only be told from the whole of it. The text is for people."""


@dataclass(frozen=True)
class Text:
    """A text that is read from its beginning as often as that is needed."""

    open: Opened
    shape: Shape | None

    def records(
        self,
        count: int,
        pieces: Callable[[BinaryIO], Iterator[Chunk]],
        lookup: Callable[[str], Any],
    ) -> Records:
        """Records whose chunks are read when they are asked for."""

        def chunks() -> Iterator[Chunk]:
            with self.open() as stream:
                yield from pieces(stream)

        return Records(count, chunks, lookup)


# -- JSON ------------------------------------------------------------------------------------


class _Walk:
    """One way through a JSON document, to its list of records and on to its end.

    Parameters
    ----------
    keys
        The way to the list; None: the list that is plainly meant.
    path
        The selector, for messages.
    """

    def __init__(self, stream: BinaryIO, keys: Sequence[str] | None, path: JsonPath | None) -> None:
        self._pieces, self._keys, self._path = Pieces(stream), keys, path
        self.levels: list[Level] = []
        self.lists: dict[str, int] = {}

    def lists_of(self) -> Iterator[bytes]:
        """The pieces of the list of records; the rest of the document is gone past."""
        yield from self._below(self._keys or ())
        self._pieces.end()

    def _below(self, keys: Sequence[str]) -> Iterator[bytes]:
        if not keys:
            yield from self._here()
            return
        text = self._path.text if self._path else ""
        if self._pieces.peek() != b"{":
            raise SelectorError(f"{text!r}: {keys[0]!r} is asked of no object")
        members: dict[str, Any] = {}
        self.levels.append((members, keys[0]))
        for key in self._pieces.members():
            if key != keys[0]:
                members[key] = self._pieces.skip()
                continue
            if key in members:
                raise ValueError(f"it has {key!r} twice")
            members[key] = None
            yield from self._below(keys[1:])
        if keys[0] not in members:
            raise SelectorError(
                f"{text!r}: the answer has no {keys[0]!r} there, it has {shape_of(members)}"
            )

    def _here(self) -> Iterator[bytes]:
        first = self._pieces.peek()
        if first == b"[":
            self.levels.append((None, None))
            yield from self._pieces.elements()
        elif self._keys is not None or first != b"{":
            try:
                value = self._pieces.value()
            except TooLong as error:
                raise Whole(str(error)) from error
            self.levels.append((None, None))
            if self._keys is None:
                found = shape_of(parse(value))
                raise SelectorError(f"the answer is {found}, neither a list nor an object")
            if first != b"n":
                yield b"[%b]" % value
        else:
            self._survey()

    def _survey(self) -> None:
        """An object of which it is not said where its records are: its lists are counted."""
        members: dict[str, Any] = {}
        for key in self._pieces.members():
            if key in COMMON_KEYS and self._pieces.peek() == b"[":
                self.lists[key] = sum(len(records_of(one)) for one in self._pieces.elements())
                members[key] = None
            else:
                members[key] = self._pieces.skip()
        found = next((key for key in COMMON_KEYS if key in self.lists), None)
        if found is None:
            raise Whole("it is one object without a list of records")
        self.levels += [(members, found), (None, None)]


def _json(text: Text, _fmt: Format, selector: str | None) -> Records:
    with text.open() as stream:
        head = stream.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head:
        raise Whole("it is written in UTF-16 or UTF-32")
    path = compile_path(selector) if selector else None
    steps = plain_keys(path)
    if steps is None and path is not None and path.piecewise:
        return _searched(text, path)
    if steps is None or not all(isinstance(step, str) for step in steps):
        raise Whole(f"dataSelector {selector!r} looks at the answer as a whole")
    keys = [str(step) for step in steps] if path is not None else None
    with text.open() as stream:
        walk = _Walk(stream, keys, path)
        count = sum(len(records_of(piece)) for piece in walk.lists_of())
    if walk.lists:
        keys = [str(walk.levels[0][1])]
        count = walk.lists[keys[0]]

    def pieces(stream: BinaryIO) -> Iterator[Chunk]:
        for piece in _Walk(stream, keys, path).lists_of():
            yield from cut(records_of(piece), long_numbers(piece), text.shape)

    def record(number: int) -> Any:
        at = number if number >= 0 else count + number
        with text.open() as stream:
            for piece in _Walk(stream, keys, path).lists_of():
                raws = records_of(piece)
                if 0 <= at < len(raws):
                    return raws[at]
                at -= len(raws)
        return None

    return text.records(count, pieces, Levels(walk.levels, record).lookup)


def _searched(text: Text, path: JsonPath) -> Records:
    """Records that a filter, or what follows a ``[*]``, finds in a list."""
    if not all(isinstance(step, str) for step in path.head):
        raise Whole(f"dataSelector {path.text!r} looks at the answer as a whole")
    keys, behind = [str(step) for step in path.head], path.behind()

    def found(walk: _Walk) -> Iterator[list[Any]]:
        for piece in walk.lists_of():
            yield behind.find(parse(piece))

    with text.open() as stream:
        walk, count, last = _Walk(stream, keys, path), 0, None
        for some in found(walk):
            count, last = count + len(some), some[-1] if some else last
    # A path that finds one list has found the list of records; one that finds null, none.
    inner = count == 1 and isinstance(last, list)
    if count == 1 and (inner or last is None):
        count = len(last or ())

    def pieces(stream: BinaryIO) -> Iterator[Chunk]:
        if not count:
            return
        for some in found(_Walk(stream, keys, path)):
            values = some[0] if inner and some else some
            for start in range(0, len(values), CHUNK_ROWS):
                part = values[start : start + CHUNK_ROWS]
                rows = [row if isinstance(row, dict) else {"value": row} for row in part]
                yield Chunk([dump_line(row)[:-1] for row in rows], rows)

    return text.records(count, pieces, Levels(walk.levels).lookup)


# -- lines and tables ------------------------------------------------------------------------


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """A text in blocks of whole lines."""
    rest = b""
    while block := stream.read(WINDOW_BYTES):
        whole, feed, tail = block.rpartition(b"\n")
        if feed:
            yield rest + whole
            rest = tail
        else:
            rest += block
        if len(rest) > MAX_VALUE_BYTES:
            raise TooLong(f"a line of more than {MAX_VALUE_BYTES} bytes")
    yield rest


def _json_lines(text: Text, _fmt: Format, _selector: str | None) -> Records:
    def blocks(stream: BinaryIO) -> Iterator[tuple[bytes, list[bytes]]]:
        for number, block in enumerate(_blocks(stream)):
            plain = block.removeprefix(b"\xef\xbb\xbf") if not number else block
            if not plain.isascii():
                plain.decode()
            yield plain, [line for line in map(bytes.strip, plain.split(b"\n")) if line]

    count = 0
    with text.open() as stream:
        for _, lines in blocks(stream):
            try:
                count += len(list(map(_RAW.decode, lines)))
            except REFUSALS:
                count += len([parse(line) for line in lines])

    def pieces(stream: BinaryIO) -> Iterator[Chunk]:
        for block, lines in blocks(stream):
            yield from cut(lines, long_numbers(block), text.shape)

    return text.records(count, pieces, no_member)


def csv_rows(text: TextIO, fmt: Format) -> Iterator[bytes]:
    """The records of a CSV text as JSON: empty fields are null.

    Raises
    ------
    ValueError, csv.Error
        A record has more or fewer fields than there are columns; it is no CSV.
    """
    reader = csv.reader(text, delimiter=fmt.delimiter, strict=True)
    names = list(fmt.columns) or (next(reader, []) if fmt.header else [])
    if fmt.columns and fmt.header:
        next(reader, None)
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"it has the column {twice!r} twice; name all of them in format.columns")
    for number, values in enumerate(reader, 1):
        if not values:
            continue
        if not names:
            names = [f"column{index}" for index in range(1, len(values) + 1)]
        if len(values) != len(names):
            raise ValueError(
                f"record {number} has {len(values)} fields, {len(names)} were expected"
            )
        row = {name: value or None for name, value in zip(names, values, strict=True)}
        yield msgspec.json.encode(row)


def encoding_of(fmt: Format) -> str:
    """Python's name of a text's encoding; a byte order mark is no part of UTF-8 text."""
    return "utf-8-sig" if fmt.encoding.lower().replace("_", "-") == "utf-8" else fmt.encoding


def _csv(text: Text, fmt: Format, _selector: str | None) -> Records:
    def rows(stream: BinaryIO) -> Iterator[bytes]:
        yield from csv_rows(io.TextIOWrapper(stream, encoding_of(fmt), newline=""), fmt)

    with text.open() as stream:
        count = sum(1 for _ in rows(stream))

    def pieces(stream: BinaryIO) -> Iterator[Chunk]:
        some: list[bytes] = []
        for row in rows(stream):
            some.append(row)
            if len(some) == CHUNK_ROWS:
                yield chunk_of(some, False, text.shape)
                some = []
        yield from cut(some, False, text.shape)

    return text.records(count, pieces, no_member)


# -- XML -------------------------------------------------------------------------------------


def _xml(text: Text, _fmt: Format, selector: str | None) -> Records:
    from weir_lambdas.api_ingestion import markup

    path = compile_path(selector) if selector else None
    steps = plain_keys(path)
    if steps is None or not all(isinstance(step, str) for step in steps):
        raise Whole(f"dataSelector {selector!r} looks at the answer as a whole")
    keys = [str(step) for step in steps]
    if len(keys) == 1:
        raise Whole(f"dataSelector {selector!r} is the whole of it")
    if path is None:
        with text.open() as stream:
            keys = markup.list_in(stream)
        if not keys:
            raise Whole("it has no list of elements of the same name")
    with text.open() as stream:
        walk = markup.Walk(stream, keys)
        count = sum(1 for _ in walk.records())
    if not count:
        raise Whole(f"{'.'.join(keys)!r} leads to no element")

    def pieces(stream: BinaryIO) -> Iterator[Chunk]:
        some: list[dict[str, Any]] = []
        for row in markup.Walk(stream, keys).records():
            some.append(row if isinstance(row, dict) else {"value": row})
            if len(some) == CHUNK_ROWS:
                yield Chunk([dump_line(row)[:-1] for row in some], some)
                some = []
        if some:
            yield Chunk([dump_line(row)[:-1] for row in some], some)

    rest = {} if path is None else walk.rest
    beside = {key: msgspec.json.encode(value) for key, value in rest.items()}
    return text.records(count, pieces, Levels([(beside, None)]).lookup)


STREAMS: Mapping[str, Callable[[Text, Format, str | None], Records]] = {
    "json": _json,
    "jsonLines": _json_lines,
    "csv": _csv,
    "xml": _xml,
}
"""``format.type`` -> its reader."""
