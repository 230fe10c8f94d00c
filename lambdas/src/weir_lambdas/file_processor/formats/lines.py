"""Formats with one record a line: JSON lines and fixed width."""

from __future__ import annotations

from collections.abc import Iterable

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.text import as_utf8, lines


def read_json_lines(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """JSON lines (also called NDJSON). Empty lines are no records."""
    for _, line in lines(as_utf8(chunks, parsing.csv.encoding)):
        if line.strip():
            sink.line(line)


def read_fixed_width(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """Columns at fixed places, counted in characters; spaces around a value are not part of it.

    A line that ends before a column begins is rejected; empty lines are no records.
    """
    places = [(one.name, one.start - 1, one.start - 1 + one.width) for one in parsing.columns]
    needed = max((start for _, start, _ in places), default=0)
    for number, line in lines(as_utf8(chunks, parsing.csv.encoding)):
        if number <= parsing.csv.skip_lines or not line.strip():
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            shown = line.decode(errors="backslashreplace")
            sink.reject(number, f"text that is not in {parsing.csv.encoding}", shown)
            continue
        if len(text) <= needed:
            sink.reject(number, f"{len(text)} characters; the last column begins after them", text)
            continue
        sink.record({name: text[start:end].strip() or None for name, start, end in places})
