"""JSON in and out without loss: numbers keep the digits that the source wrote.

``json`` reads ``1.10`` as a float and writes ``1.1``, and turns ``0.1234567890123456789`` into
another number. Here a number whose text a float would not give back is kept as its text.
"""

from __future__ import annotations

import json
import re
import secrets
from decimal import Decimal
from typing import Any

MAX_EXPONENT_DIGITS = 4
"""Of a number that is calculated with: 1e9999999 has more digits than memory."""


class RawNumber:
    """A JSON number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawNumber) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"RawNumber({self.text})"

    def __str__(self) -> str:
        return self.text

    @property
    def decimal(self) -> Decimal | None:
        """Its value; None where its exponent is beyond all that is calculated with."""
        exponent = self.text.lower().partition("e")[2].lstrip("+-0")
        return Decimal(self.text) if len(exponent) <= MAX_EXPONENT_DIGITS else None


_NONCE = secrets.token_hex(16)
"""New in each process, so that no source can write a text that looks like a kept number."""

_KEPT = re.compile(rf'"{_NONCE}:([-+0-9.eE]+)"')

_SPACES = " \t\r\n"
"""White space between JSON's tokens (RFC 8259, 2)."""

MAX_INT_DIGITS = 4_000
"""Longer integers stay text: Python refuses to convert more than 4,300 digits."""


def exact_float(text: str) -> Any:
    """A JSON number with a fraction: a float where that keeps its text, else as it was written."""
    value = float(text)
    return value if repr(value) == text else RawNumber(text)


def _int(text: str) -> Any:
    return RawNumber(text) if text == "-0" or len(text) > MAX_INT_DIGITS else int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


_DECODER = json.JSONDecoder(parse_float=exact_float, parse_int=_int, parse_constant=_constant)


def parse(body: bytes) -> Any:
    """Read a JSON document (UTF-8, 16 or 32, with or without a byte order mark).

    Raises
    ------
    ValueError
        It is no JSON; the message names line and column, never content.
    """
    try:
        text = body.decode(json.detect_encoding(body))
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not {error.encoding} text at byte {error.start}") from error


def parse_many(body: bytes) -> list[Any]:
    """Read JSON documents one after another, with nothing but white space between them.

    Raises
    ------
    ValueError
        One of them is no JSON; the message names line and column, never content.
    """
    found: list[Any] = []
    try:
        text = body.decode(json.detect_encoding(body)).removeprefix("\ufeff").rstrip(_SPACES)
        place = _start(text, 0)
        while place < len(text):
            value, end = _DECODER.raw_decode(text, place)
            found.append(value)
            place = _start(text, end)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not {error.encoding} text at byte {error.start}") from error
    return found


def _start(text: str, place: int) -> int:
    """Where the next document begins."""
    while place < len(text) and text[place] in _SPACES:
        place += 1
    return place


def _keep(value: Any) -> str:
    if isinstance(value, RawNumber):
        return f"{_NONCE}:{value.text}"
    raise TypeError(f"{type(value).__name__} is no JSON value")


def dump_line(record: Any) -> bytes:
    """A record as one line of compact JSON with a line feed; every number as it was written."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_keep)
    if _NONCE in text:
        text = _KEPT.sub(r"\1", text)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON's \u form only
        text = json.dumps(record, separators=(",", ":"), default=_keep)
        return _KEPT.sub(r"\1", text).encode() + b"\n"


def as_text(value: Any) -> str | None:
    """A scalar as a query parameter would carry it, or None for null, objects and lists."""
    if value is None or isinstance(value, (dict, list)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
