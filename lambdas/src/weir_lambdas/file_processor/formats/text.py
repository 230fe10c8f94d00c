"""Text in any encoding as UTF-8, and as lines."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from weir_lambdas.file_processor.formats.base import MAX_RECORD_BYTES, Jump
from weir_lambdas.file_processor.unpack import Unreadable

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order mark -> encoding; UTF-32's begins with UTF-16's, so it goes first."""


class Utf8:
    """A text as UTF-8 without a byte order mark; the mark decides before ``encoding``.

    Text that is UTF-8 already passes through unlooked at: whoever parses it sees what is broken.

    Raises
    ------
    Unreadable
        The encoding is unknown; from the stream: the text is not in it.
    """

    def __init__(self, chunks: Iterable[bytes], encoding: str = "utf-8") -> None:
        try:
            name = codecs.lookup(encoding).name
        except LookupError as error:
            raise Unreadable(f"there is no encoding {encoding!r}") from error
        rest = iter(chunks)
        first = next(rest, b"")
        while len(first) < 4 and (more := next(rest, b"")):
            first += more
        mark = next(((bom, kind) for bom, kind in BOMS if first.startswith(bom)), None)
        self._mark = len(mark[0]) if mark else 0
        name = mark[1] if mark else name
        self.straight = name in ("utf-8", "ascii", "utf-8-sig")
        """Whether the text is the bytes as they are, but for a mark."""
        plain = chain([first[self._mark :]], rest)
        self.stream = plain if self.straight else _decoded(plain, name, encoding)

    def after(
        self, offset: int, jump: Jump | None, stream: Iterable[bytes] | None = None
    ) -> Iterator[bytes]:
        """The text from one of its bytes on.

        Parameters
        ----------
        jump
            Used where it is given and the text is straight.
        stream
            The text from its beginning, where more was done to it.
        """
        if jump is not None and self.straight:
            return iter(jump(self._mark + offset))
        return _without_first(self.stream if stream is None else stream, offset)


def _decoded(chunks: Iterable[bytes], name: str, stated: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", True).encode()
    except UnicodeError as error:
        raise Unreadable(f"the text is not in {stated}") from error


def _without_first(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    left = count
    for chunk in chunks:
        if left < len(chunk):
            yield chunk[left:]
        left = max(0, left - len(chunk))


def as_utf8(chunks: Iterable[bytes], encoding: str = "utf-8") -> Iterator[bytes]:
    """A text's bytes as UTF-8 (:class:`Utf8`)."""
    return iter(Utf8(chunks, encoding).stream)


@dataclass(frozen=True)
class Lines:
    """Whole lines one after another, without their ends.

    Parameters
    ----------
    offset
        Bytes before them.
    first
        Number of the first, from 1.
    """

    offset: int
    first: int
    lines: list[bytes]


def blocks_of_lines(chunks: Iterable[bytes], offset: int = 0, number: int = 0) -> Iterator[Lines]:
    """A text's lines (they end in ``\\n`` or ``\\r\\n``), as many at once as come together.

    Parameters
    ----------
    offset, number
        Bytes and lines before the text.

    Raises
    ------
    Unreadable
        A line exceeds :data:`MAX_RECORD_BYTES`.
    """
    held = b""
    for chunk in chunks:
        whole, end, tail = chunk.rpartition(b"\n")
        if end:
            text = held + whole
            found = text.split(b"\n")
            if b"\r" in text:
                found = [line.removesuffix(b"\r") for line in found]
            yield Lines(offset, number + 1, found)
            offset, number, held = offset + len(text) + 1, number + len(found), tail
        else:
            held += chunk
        if len(held) > MAX_RECORD_BYTES:
            raise Unreadable(
                f"line {number + 1} is longer than {MAX_RECORD_BYTES} bytes: is this text with one "
                "record a line?"
            )
    if held:
        yield Lines(offset, number + 1, [held.removesuffix(b"\r")])


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1 (:func:`blocks_of_lines`)."""
    for block in blocks_of_lines(chunks):
        yield from enumerate(block.lines, block.first)
