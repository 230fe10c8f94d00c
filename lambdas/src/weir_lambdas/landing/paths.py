"""A place inside a record: dotted names, ``[n]`` and ``['quoted']``."""

from __future__ import annotations

import functools
import re
from typing import Any

_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]'"*$]+) | \[(?P<index>-?\d+)\] | \[(?P<q>['"])(?P<quoted>.*?)(?P=q)\]""",
    re.VERBOSE | re.DOTALL,
)


class PathError(ValueError):
    """A path is malformed."""


@functools.lru_cache(maxsize=1024)
def steps(path: str) -> tuple[str | int, ...]:
    """A path's steps: names and list indices.

    Parameters
    ----------
    path
        Dotted names (``data.items``), list items (``[0]``, ``[-1]``), quoted names (``['a.b']``);
        a leading ``$`` as in JSONPath (RFC 9535) is allowed.

    Raises
    ------
    PathError
        It is none of these.
    """
    text = path.strip(" ")
    position = 1 if text.startswith("$") else 0
    found: list[str | int] = []
    while position < len(text):
        match = _STEP.match(text, position)
        if not match:
            raise PathError(
                f"{path!r} can't be read at character {position + 1}; use names and [0], "
                "such as data.items[0].id"
            )
        name, index, _, quoted = match.groups()
        found.append(int(index) if index is not None else name if name is not None else quoted)
        position = match.end()
    return tuple(found)


def has(value: Any, path: str) -> bool:
    """Whether a path leads somewhere, if only to null."""
    *way, last = steps(path)
    for step in way:
        value = value.get(step) if isinstance(value, dict) and isinstance(step, str) else None
    return isinstance(value, dict) and last in value


def lookup(value: Any, path: str) -> Any:
    """The value at a path, or None where there is none.

    Raises
    ------
    PathError
        The path is malformed.
    """
    for step in steps(path):
        if isinstance(step, int) and isinstance(value, list):
            value = value[step] if -len(value) <= step < len(value) else None
        elif isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        else:
            return None
        if value is None:
            return None
    return value
