"""Types as the Glue catalog writes them, in the contract's terms.

Source: AWS Glue API, *Column structure* (Hive types): ``array<string>``, ``struct<a:int,b:string>``,
``map<string,int>``, ``decimal(10,2)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

SIMPLE = {
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "integer": "integer",
    "bigint": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "binary": "binary",
}
"""Hive type -> type expression; everything else is ``string``."""

NESTED = ("struct<", "array<", "map<", "uniontype<")
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")


def contract_type(kind: str) -> str:
    """The type expression of a Hive type."""
    text = kind.strip().lower()
    if text.startswith(NESTED):
        return "json"
    if found := _DECIMAL.fullmatch(text):
        return f"decimal({found[1]},{found[2]})"
    return SIMPLE.get(text, "string")


def type_at(kind: str, path: Sequence[str | int]) -> str | None:
    """The type inside a nested one; None where the path leads nowhere.

    Parameters
    ----------
    path
        Names of a struct's fields, in any case, and places in a list.
    """
    for step in path:
        text = kind.strip()
        if isinstance(step, int) and text.lower().startswith("array<"):
            kind = text[6:-1]
        elif isinstance(step, str) and text.lower().startswith("struct<"):
            inner = dict(_fields(text[7:-1]))
            found = inner.get(step.lower())
            if found is None:
                return None
            kind = found
        else:
            return None
    return kind


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """Name in lower case and type of each field of a struct."""
    depth, start = 0, 0
    for at, letter in enumerate(f"{text},"):
        depth += {"<": 1, ">": -1, "(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            name, _, kind = text[start:at].partition(":")
            if name.strip():
                yield name.strip().lower(), kind.strip()
            start = at + 1
