"""Text in any encoding as UTF-8, and as lines."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from weir_lambdas.file_processor.formats.base import MAX_RECORD_BYTES
from weir_lambdas.file_processor.unpack import Unreadable

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order mark -> encoding; UTF-32's begins with UTF-16's, so it goes first."""


def as_utf8(chunks: Iterable[bytes], encoding: str = "utf-8") -> Iterator[bytes]:
    """A text's bytes as UTF-8 without a byte order mark; the mark decides before ``encoding``.

    Text that is UTF-8 already passes through unlooked at: whoever parses it sees what is broken.

    Raises
    ------
    Unreadable
        The encoding is unknown, or the text is not in it.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise Unreadable(f"there is no encoding {encoding!r}") from error
    stream = iter(chunks)
    first = next(stream, b"")
    while len(first) < 4 and (more := next(stream, b"")):
        first += more
    mark = next(((bom, kind) for bom, kind in BOMS if first.startswith(bom)), None)
    if mark is not None:
        first, name = first[len(mark[0]) :], mark[1]
    if name in ("utf-8", "ascii", "utf-8-sig"):
        yield first
        yield from stream
        return
    decoder = codecs.getincrementaldecoder(name)()
    try:
        yield decoder.decode(first).encode()
        for chunk in stream:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", True).encode()
    except UnicodeError as error:
        raise Unreadable(f"the text is not in {encoding}") from error


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without their ends (``\\n`` or ``\\r\\n``).

    Raises
    ------
    Unreadable
        A line exceeds :data:`MAX_RECORD_BYTES`.
    """
    held, number = b"", 0
    for chunk in chunks:
        pieces = chunk.split(b"\n")
        if len(pieces) > 1:
            number += 1
            yield number, (held + pieces[0]).removesuffix(b"\r")
            for piece in pieces[1:-1]:
                number += 1
                yield number, piece.removesuffix(b"\r")
            held = pieces[-1]
        else:
            held += chunk
        if len(held) > MAX_RECORD_BYTES:
            raise Unreadable(
                f"line {number + 1} is longer than {MAX_RECORD_BYTES} bytes: is this text with one "
                "record a line?"
            )
    if held:
        yield number + 1, held.removesuffix(b"\r")
