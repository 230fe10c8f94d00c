"""Formats with one record a line: JSON lines and fixed width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import BEGINNING, Jump, Place, Sink
from weir_lambdas.file_processor.formats.text import Lines, Utf8, blocks_of_lines
from weir_lambdas.landing.pieces import REFUSALS


def read_json_lines(
    chunks: Iterable[bytes],
    parsing: Parsing,
    sink: Sink,
    place: Place = BEGINNING,
    jump: Jump | None = None,
) -> None:
    """JSON lines (also called NDJSON). Empty lines are no records; a line that is no JSON object is
    rejected alone."""
    text = Utf8(chunks, parsing.csv.encoding).after(place.offset, jump)
    for block in blocks_of_lines(text, place.offset, place.lines):
        sink.mark(Place(block.offset, block.first - 1))
        found = [line for line in block.lines if line.strip()]
        if not are_objects(found):
            found = [line for line in found if are_objects([line])]
            _reject_others(block, sink)
        sink.lines(found)


_RAW = msgspec.json.Decoder(msgspec.Raw)


def are_objects(lines: Sequence[bytes]) -> bool:
    """Whether each of some lines is a JSON object (RFC 8259), in UTF-8."""
    try:
        for line in lines:
            _RAW.decode(line)
            if not line.isascii():  # The decoder does not look into texts.
                line.decode()
    except REFUSALS:
        return False
    return all(line.lstrip()[:1] == b"{" for line in lines)


def _reject_others(block: Lines, sink: Sink) -> None:
    for number, line in enumerate(block.lines, block.first):
        if line.strip() and not are_objects([line]):
            sink.reject(number, "it is no JSON object", line.decode(errors="backslashreplace"))


def read_fixed_width(
    chunks: Iterable[bytes],
    parsing: Parsing,
    sink: Sink,
    place: Place = BEGINNING,
    jump: Jump | None = None,
) -> None:
    """Columns at fixed places, counted in characters; spaces around a value are not part of it.

    A line that ends before a column begins is rejected; empty lines are no records.
    """
    places = [(one.name, one.start - 1, one.start - 1 + one.width) for one in parsing.columns]
    needed = max((start for _, start, _ in places), default=0)
    text = Utf8(chunks, parsing.csv.encoding).after(place.offset, jump)
    for block in blocks_of_lines(text, place.offset, place.lines):
        sink.mark(Place(block.offset, block.first - 1))
        for number, line in enumerate(block.lines, block.first):
            if number <= parsing.csv.skip_lines or not line.strip():
                continue
            _fixed_line(number, line, places, needed, parsing.csv.encoding, sink)


def _fixed_line(
    number: int,
    line: bytes,
    places: Sequence[tuple[str, int, int]],
    needed: int,
    encoding: str,
    sink: Sink,
) -> None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        shown = line.decode(errors="backslashreplace")
        sink.reject(number, f"text that is not in {encoding}", shown)
        return
    if len(text) <= needed:
        sink.reject(number, f"{len(text)} characters; the last column begins after them", text)
        return
    sink.record({name: text[start:end].strip() or None for name, start, end in places})
