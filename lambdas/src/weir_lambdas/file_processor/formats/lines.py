"""Formats with one record a line: JSON lines and fixed width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import BEGINNING, Jump, Place, Sink
from weir_lambdas.file_processor.formats.text import Utf8, blocks_of_lines


def read_json_lines(
    chunks: Iterable[bytes],
    parsing: Parsing,
    sink: Sink,
    place: Place = BEGINNING,
    jump: Jump | None = None,
) -> None:
    """JSON lines (also called NDJSON). Empty lines are no records."""
    text = Utf8(chunks, parsing.csv.encoding).after(place.offset, jump)
    for block in blocks_of_lines(text, place.offset, place.lines):
        sink.mark(Place(block.offset, block.first - 1))
        sink.lines([line for line in block.lines if line.strip()])


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
