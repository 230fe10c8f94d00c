"""Which part of an answer are the rows: a selector, or the list that is plainly meant."""

from __future__ import annotations

import functools
import re
from typing import Any

COMMON_KEYS = ("data", "results", "items", "records", "value")
"""Where APIs put their list, in order of preference."""

_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]'"*$]+) | \[(?P<index>-?\d+)\] | \[(?P<all>\*)\] | \.(?P<star>\*)
      | \[(?P<q>['"])(?P<quoted>.*?)(?P=q)\]""",
    re.VERBOSE | re.DOTALL,
)

ALL = object()
"""The step ``[*]``."""


class SelectorError(ValueError):
    """A selector is malformed, or an answer has nothing at its place."""


@functools.lru_cache(maxsize=256)
def steps(selector: str) -> tuple[Any, ...]:
    """A selector's steps: names, list indices, and :data:`ALL`.

    Parameters
    ----------
    selector
        Dotted names (``data.items``), list items (``[0]``, ``[*]``), quoted names (``['a.b']``);
        a leading ``$`` as in JSONPath (RFC 9535) is allowed. Filters and ``..`` are not.

    Raises
    ------
    SelectorError
        It is none of these.
    """
    text = selector.strip(" ")
    position = 1 if text.startswith("$") else 0
    found: list[Any] = []
    while position < len(text):
        match = _STEP.match(text, position)
        if not match:
            raise SelectorError(
                f"{selector!r} can't be read at character {position + 1}; use names, [0] and [*], "
                "such as data.items[*]"
            )
        groups = match.groupdict()
        if groups["name"] is not None:
            found.append(groups["name"])
        elif groups["quoted"] is not None:
            found.append(groups["quoted"])
        elif groups["index"] is not None:
            found.append(int(groups["index"]))
        else:
            found.append(ALL)
        position = match.end()
    return tuple(found)


def select_rows(answer: Any, selector: str | None) -> list[Any]:
    """The rows of an answer.

    Parameters
    ----------
    answer
        A parsed JSON document.
    selector
        Where the rows stand. None: a list is the rows; an object's only list under one of
        :data:`COMMON_KEYS` is; any other object is one row.

    Returns
    -------
    list
        Rows; one that is no object is wrapped as ``{"value": ...}``.

    Raises
    ------
    SelectorError
        The answer has nothing at the selector's place, or no rows can be told.
    """
    found = _selected(answer, selector) if selector else _detected(answer)
    return [row if isinstance(row, dict) else {"value": row} for row in found]


def _selected(answer: Any, selector: str) -> list[Any]:
    current, many = [answer], False
    for step in steps(selector):
        following: list[Any] = []
        for value in current:
            if step is ALL:
                if not isinstance(value, (list, dict)):
                    raise SelectorError(f"{selector!r}: [*] needs a list, found {_kind(value)}")
                following += value if isinstance(value, list) else list(value.values())
            elif isinstance(step, int) and isinstance(value, list):
                following += [value[step]] if -len(value) <= step < len(value) else []
            elif isinstance(step, str) and isinstance(value, dict) and step in value:
                following.append(value[step])
            elif not many:
                raise SelectorError(
                    f"{selector!r}: the answer has no {step!r} there, it has {_shape(value)}"
                )
        current, many = following, many or step is ALL
    if many:
        return current
    if len(current) == 1 and isinstance(current[0], list):
        return current[0]
    if len(current) == 1 and current[0] is None:
        return []
    return current


def _detected(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    if not isinstance(answer, dict):
        raise SelectorError(f"the answer is {_kind(answer)}, neither a list nor an object")
    for key in COMMON_KEYS:
        if isinstance(answer.get(key), list):
            return list(answer[key])
    return [answer]


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return "the keys " + ", ".join(list(value)[:20]) if value else "an empty object"
    return _kind(value)
