"""Records out of JSON lines, in batches of bounded size, whatever the size of the object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from weir_lambdas.landing.records import exact_float, parse

MAX_LINE = 64 * 1024 * 1024
"""A longer record is passed over: it alone would take the function's memory."""

_DECODER = msgspec.json.Decoder(float_hook=exact_float)


def lines(chunks: Iterable[bytes], cut: Callable[[], bool]) -> Iterator[list[bytes]]:
    """The lines of a text, some at a time; empty ones and endless ones are left out.

    Parameters
    ----------
    cut
        Asked at the end: whether the text ends in the middle of a line, which is left out then.
    """
    waiting: list[bytes] = []
    size, endless = 0, False
    for chunk in chunks:
        whole, found, rest = chunk.rpartition(b"\n")
        if not found:
            size += len(chunk)
            if size > MAX_LINE:
                waiting, endless = [], True
            elif not endless:
                waiting.append(chunk)
            continue
        # What is left of an endless line ends at the first line feed.
        body = whole.partition(b"\n")[2] if endless else b"".join((*waiting, whole))
        endless = False
        waiting, size = [rest], len(rest)
        some = [line for line in body.split(b"\n") if line.strip()]
        if some:
            yield some
    last = b"".join(waiting)
    if last.strip() and not endless and not cut():
        yield [last]


def records(some: Iterable[bytes]) -> list[Mapping[str, Any]]:
    """Lines as records, without those that are no JSON (a file that is landed as it is may have
    some); a value that is no object is one with the key ``value``, as in landing."""
    found: list[Mapping[str, Any]] = []
    for line in some:
        try:
            one = _record(line)
        except ValueError:
            continue
        found.append(one if isinstance(one, dict) else {"value": one})
    return found


def _record(line: bytes) -> Any:
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # What msgspec does not take: lone surrogates, for one.
        return parse(line)
