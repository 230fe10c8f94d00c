"""A JSON text that is read a few megabytes at a time: the lists in it as pieces of whole elements.

Where a piece may end is guessed by how the elements begin, and tried: if what comes before, put into
brackets, is JSON, it ends between two elements, since JSON can be read in one way only. Where no
guess is right, Python's own scanner goes from element to element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from weir_lambdas.landing.records import dump_line, parse

WINDOW_BYTES = 2 * 1024 * 1024
"""Text that is read at once, and about the size of a piece."""

MAX_VALUE_BYTES = 64 * 1024 * 1024
"""One element, or any other value that must be held whole."""

KEPT_BYTES = 1024 * 1024
"""A value beside the records up to this size is kept, for the paginator."""

GUESSES = 8

REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a text that can't be decoded raises."""

_SPACE = re.compile(rb"[ \t\r\n]*")
_SPACES = re.compile(r"[ \t\r\n]*")
_FIRST = re.compile(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:')
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    strict=False, parse_int=str, parse_float=str
).scan_once  # type: ignore[attr-defined]
"""Finds the end of a value. The text is given as Latin-1, so that places are those of the bytes."""

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class TooLong(ValueError):
    """A value that must be held whole is larger than that can be."""


class Pieces:
    """Reads a JSON text, UTF-8, from a stream. All errors are ValueErrors or those of msgspec.

    Parameters
    ----------
    stream
        The text.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._text, self._at, self._ended = stream, b"", 0, False
        self._fill(4)
        if self._text.startswith(b"\xef\xbb\xbf"):
            self._at = 3

    def peek(self) -> bytes:
        """The next byte that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, byte: bytes) -> bool:
        """Go past a byte, if it is the next."""
        if self.peek() != byte:
            return False
        self._at += 1
        return True

    def need(self, byte: bytes) -> None:
        """Go past a byte that must be the next."""
        if not self.take(byte):
            raise ValueError(f"{byte.decode()!r} was expected")

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise ValueError("something follows after the document's end")

    def members(self) -> Iterator[str]:
        """The keys of an object, one by one: each value is to be read before the next is asked for."""
        self.need(b"{")
        if self.take(b"}"):
            return
        while True:
            key = self._key()
            self.need(b":")
            yield key
            if self.take(b"}"):
                return
            self.need(b",")

    def elements(self) -> Iterator[bytes]:
        """The elements of a list, as lists of some of them."""
        self.need(b"[")
        if self.take(b"]"):
            return
        closed = False
        while not closed:
            self.peek()
            self._fill(WINDOW_BYTES)
            cut = self._guessed()
            if cut is None:
                cut = self._scanned()
            piece = b"[%b]" % self._text[self._at : cut]
            self._at = cut
            closed = self.take(b"]")
            if not closed:
                self.need(b",")
            yield piece

    def value(self) -> bytes:
        """A value as it stands.

        Raises
        ------
        TooLong
            It is larger than :data:`MAX_VALUE_BYTES`.
        """
        self.peek()
        size = WINDOW_BYTES
        while True:
            self._fill(size)
            end = self._value_end()
            if end is not None:
                found = self._text[self._at : end]
                self._at = end
                return found
            size = self._larger(size)

    def skip(self) -> bytes | None:
        """Go past a value; gives it where it is small."""
        first = self.peek()
        self._fill(WINDOW_BYTES)
        end = self._value_end()
        if end is not None:
            found = self._text[self._at : end]
            self._at = end
            return found if len(found) <= KEPT_BYTES else None
        if first == b"[":
            for piece in self.elements():
                records_of(piece)
        elif first == b"{":
            for _ in self.members():
                self.skip()
        else:
            self.value()
        return None

    # -- where things end --------------------------------------------------------------------

    def _key(self) -> str:
        if self.peek() != b'"':
            raise ValueError("a key was expected")
        size = WINDOW_BYTES
        while True:
            self._fill(size)
            if found := _TEXT.match(self._text, self._at):
                break
            size = self._larger(size)
        self._at = found.end()
        return str(parse(found.group()))

    def _value_end(self) -> int | None:
        """Where the value ends that begins here; None where that is not to be seen yet."""
        text = self._text[self._at :].decode("latin-1")
        try:
            _, end = _SCAN(text, 0)
        except (StopIteration, ValueError):
            return None
        # A number may go on in what was not read yet.
        return self._at + end if end < len(text) or self._ended else None

    def _guessed(self) -> int | None:
        """Where the last element ends that is whole in the window, if a guess finds it."""
        first = _FIRST.match(self._text, self._at)
        if first is None:
            return None
        wanted, end = first.group(), len(self._text)
        for _ in range(GUESSES):
            found = self._text.rfind(wanted, self._at + 1, end)
            if found < 0:
                return None
            before = self._text[max(self._at, found - 64) : found].rstrip(b" \t\r\n")
            if before.endswith(b","):
                cut = found - (min(64, found - self._at) - len(before)) - 1
                try:
                    _ELEMENTS.decode(b"[%b]" % self._text[self._at : cut])
                except REFUSALS:
                    pass
                else:
                    return cut
            end = found
        return None

    def _scanned(self) -> int:
        """Where the last whole element of the window ends."""
        size = WINDOW_BYTES
        while True:
            text, at, cut = self._text.decode("latin-1"), self._at, None
            while True:
                try:
                    _, end = _SCAN(text, at)
                except (StopIteration, ValueError):
                    break
                following = _past_spaces(text, end)
                mark = text[following : following + 1]
                if mark == "]":
                    return end
                if mark == ",":
                    cut, at = end, _past_spaces(text, following + 1)
                    continue
                if mark:
                    raise ValueError("',' or ']' was expected after an element")
                break
            if cut is not None:
                return cut
            size = self._larger(size)
            self._fill(size)

    # -- what is read ------------------------------------------------------------------------

    def _larger(self, size: int) -> int:
        if self._ended:
            raise ValueError("the text ends too early, or is no JSON")
        if size >= MAX_VALUE_BYTES:
            raise TooLong(f"one value of more than {MAX_VALUE_BYTES} bytes, or no JSON")
        return size * 2

    def _fill(self, size: int) -> None:
        """Have so many bytes from here on, if there are."""
        while len(self._text) - self._at < size and self._more(size - len(self._text) + self._at):
            pass

    def _more(self, count: int = WINDOW_BYTES) -> bool:
        chunk = self._stream.read(count)
        self._ended = not chunk
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def _past_spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at


def records_of(piece: bytes) -> list[bytes | msgspec.Raw]:
    """The elements of a list, each as JSON in one line.

    Raises
    ------
    ValueError, msgspec.MsgspecError
        It is no list of JSON values.
    """
    if not piece.isascii():
        piece.decode()  # msgspec passes over a text that is no UTF-8 where it looks for its end
    try:
        if b"\n" in piece or b"\r" in piece:
            piece = msgspec.json.format(piece, indent=-1)
        return list(_ELEMENTS.decode(piece))
    except REFUSALS:
        return [dump_line(value)[:-1] for value in parse(piece)]
