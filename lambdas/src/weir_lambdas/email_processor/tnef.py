"""Outlook's ``winmail.dat``: the files in a TNEF stream ([MS-OXTNEF]), and nothing else of it.

A stream is read once from its beginning to its end. Lengths and counts in it are the sender's: none is
believed beyond the bytes that are there.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field

SIGNATURE = 0x223E9F78
MAX_DEPTH = 10
"""Messages within messages."""

RENDERING, TITLE, DATA, PROPERTIES, CODEPAGE = 0x9002, 0x8010, 0x800F, 0x9005, 0x9007
"""Ids of attributes (2.1.3.3): the first of an attachment, its short name, its bytes, its properties;
the code page of texts."""

OF_ATTACHMENT = 2
"""The level of an attachment's attributes."""

LONG_NAME, SHORT_NAME, SHOWN_NAME, CONTENT = 0x3707, 0x3704, 0x3001, 0x3701
"""Properties of an attachment ([MS-OXPROPS]), the names in the order in which they are taken."""

FIXED = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 0x14: 8, 0x40: 8, 0x48: 16}
"""Type of a property -> bytes of a value (2.1.3.4, padded to four)."""

STRING, UNICODE, OBJECT, BINARY = 0x1E, 0x1F, 0x0D, 0x102
MANY = 0x1000
"""Bit of a type with several values."""


class NoTnef(ValueError):
    """The bytes are no TNEF stream, or it is cut off."""


@dataclass
class Carried:
    """One file; ``name`` is empty where it has none."""

    name: str = ""
    body: bytes = b""
    names: dict[int, str] = field(default_factory=dict)
    stream: bytes = b""

    def finished(self) -> Carried:
        """With the best of its names."""
        known = (
            self.names[one] for one in (LONG_NAME, SHORT_NAME, SHOWN_NAME) if one in self.names
        )
        return Carried(next(known, "") or self.name, self.body, stream=self.stream)


def files(stream: bytes, depth: int = 0) -> Iterator[Carried]:
    """The files of a stream in their order, of messages within it too.

    Raises
    ------
    NoTnef
        It is no TNEF stream, is cut off, or nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise NoTnef("messages within messages without end")
    if _number(stream, 0, 4) != SIGNATURE:
        raise NoTnef("no TNEF signature")
    at, encoding = 6, "cp1252"
    current: Carried | None = None
    while at + 9 <= len(stream):
        level, kind = stream[at], _number(stream, at + 1, 2)
        length = _number(stream, at + 5, 4)
        at += 9
        if at + length > len(stream):
            raise NoTnef("an attribute ends after the stream")
        body = stream[at : at + length]
        at += length + 2  # The sum of its bytes, which many writers get wrong.
        if kind == CODEPAGE and length >= 4:
            encoding = _codepage(_number(body, 0, 4))
        if level != OF_ATTACHMENT:
            continue
        if kind == RENDERING or current is None:
            if current is not None:
                yield from _given(current, depth)
            current = Carried()
        if kind == TITLE:
            current.name = _text(body, encoding)
        elif kind == DATA:
            current.body = body
        elif kind == PROPERTIES:
            _read_properties(body, encoding, current)
    if current is not None:
        yield from _given(current, depth)


def _given(carried: Carried, depth: int) -> Iterator[Carried]:
    one = carried.finished()
    if one.stream:
        yield from files(one.stream, depth + 1)
    else:
        yield one


def _read_properties(body: bytes, encoding: str, into: Carried) -> None:
    at = 4
    for _ in range(_number(body, 0, 4)):
        if at + 4 > len(body):
            return
        kind, name = _number(body, at, 2), _number(body, at + 2, 2)
        at += 4
        if name >= 0x8000:  # Named by a GUID and a number, or a text.
            texts = _number(body, at + 16, 4)
            at += 20
            at += 4 + (_padded(_number(body, at, 4)) if texts else 0)
        base = kind & ~MANY
        varies = base in (STRING, UNICODE, OBJECT, BINARY)
        count = 1
        if varies or kind & MANY:
            count, at = _number(body, at, 4), at + 4
        if not varies:
            if base not in FIXED:
                return  # Where it ends nobody knows.
            at += FIXED[base] * count
            continue
        for _ in range(count):
            length = _number(body, at, 4)
            value = body[at + 4 : at + 4 + length]
            at += 4 + _padded(length)
            _take(name, base, value, encoding, into)


def _take(name: int, kind: int, value: bytes, encoding: str, into: Carried) -> None:
    if name in (LONG_NAME, SHORT_NAME, SHOWN_NAME):
        into.names[name] = _text(value, "utf-16-le" if kind == UNICODE else encoding)
    elif name == CONTENT and kind == OBJECT and len(value) > 20:
        # After the interface's GUID: a message of its own, or another program's object.
        if _number(value, 16, 4) == SIGNATURE:
            into.stream = value[16:]
        elif not into.body:
            into.body = value[16:]
    elif name == CONTENT and kind == BINARY and not into.body:
        into.body = value


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise NoTnef("it ends too early")
    return int.from_bytes(data[at : at + size], "little")


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _text(value: bytes, encoding: str) -> str:
    return value.decode(encoding, "replace").rstrip("\0")


def _codepage(number: int) -> str:
    """Python's name of a Windows code page; Western European where it has none."""
    name = "utf-8" if number == 65001 else f"cp{number}"
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
