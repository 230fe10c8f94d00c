"""Which part of an answer are the records: a selector, or the list that is plainly meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weir_contract.jsonpath import JsonPath

COMMON_KEYS = ("data", "results", "items", "records", "value")
"""Where APIs put their list, in order of preference."""


class SelectorError(ValueError):
    """An answer has nothing at a selector's place."""


def detected(members: Mapping[str, Any], is_list: Callable[[Any], bool]) -> str | None:
    """The key of an object's list of records, or None where the object is the record."""
    return next((key for key in COMMON_KEYS if key in members and is_list(members[key])), None)


def selected(answer: Any, path: JsonPath | None) -> list[dict[str, Any]]:
    """The records of a parsed answer; one that is no object is wrapped as ``{"value": ...}``.

    Parameters
    ----------
    path
        None: a list is the records; an object's list under one of :data:`COMMON_KEYS` is; any
        other object is one record.

    Raises
    ------
    SelectorError
        The answer has nothing at the path, or no records can be told.
    """
    found = _detected(answer) if path is None else _by_path(answer, path)
    return [row if isinstance(row, dict) else {"value": row} for row in found]


def _by_path(answer: Any, path: JsonPath) -> list[Any]:
    found = path.find(answer)
    if not found:
        place = answer
        for key in path.keys or path.head:
            known = isinstance(place, dict) and key in place
            if not known and isinstance(key, str):
                raise SelectorError(
                    f"{path.text!r}: the answer has no {key!r} there, it has {shape(place)}"
                )
            place = place[key] if known else None
        return []
    if len(found) == 1 and isinstance(found[0], list):
        return list(found[0])
    return [] if found == [None] else found


def _detected(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    if answer is None:
        return []
    if not isinstance(answer, dict):
        raise SelectorError(f"the answer is {kind_of(answer)}, neither a list nor an object")
    key = detected(answer, lambda value: isinstance(value, list))
    return [answer] if key is None else list(answer[key])


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def shape(value: Any) -> str:
    """What is there, without any value."""
    if isinstance(value, Mapping):
        return "the keys " + ", ".join(list(value)[:20]) if value else "an empty object"
    return kind_of(value)
