"""XML as JSON has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO


def tag(node: Any) -> str:
    return str(node.tag).rpartition("}")[2]


def element(node: Any) -> Any:
    """An element as JSON: attributes as ``@name``, children by name (a list where there are
    several), its text alone, or as ``#text`` beside them."""
    found: dict[str, Any] = {f"@{name.rpartition('}')[2]}": text for name, text in node.items()}
    for child in node:
        name, value = tag(child), element(child)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    text = (node.text or "").strip()
    if not found:
        return text or None
    if text:
        found["#text"] = text
    return found


def only_list(value: Any) -> Any:
    """The first list on the way down of an XML document whose selector is not stated."""
    current = value
    while isinstance(current, dict):
        lists = [item for item in current.values() if isinstance(item, list)]
        if lists:
            return lists[0]
        objects = [item for item in current.values() if isinstance(item, dict)]
        if len(objects) != 1:
            break
        current = objects[0]
    return current if isinstance(current, (list, dict)) else []


MAX_PATHS = 10_000
"""Different places of elements in a document of which it is not said where its records are."""

MAX_BESIDE = 10_000
"""Elements beside the records, which are kept."""


MAX_WITHIN = 100_000
"""Elements of one record of a large document."""


def _events(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Starts and ends of elements.

    Raises
    ------
    ValueError
        It is no XML, or has entities or a DTD that refers to others.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    try:
        yield from iterparse(stream, events=("start", "end"))
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(str(error)) from error


def list_in(stream: BinaryIO) -> list[str]:
    """The way to the first list on the way down, as :func:`only_list` finds it; empty: none."""
    counts: Counter[tuple[str, ...]] = Counter()
    objects: set[tuple[str, ...]] = set()
    stack: list[Any] = []
    at: tuple[str, ...] = ()
    for event, found in _events(stream):
        if event == "start":
            if at:
                objects.add(at)
            at = (*at, tag(found))
            counts[at] += 1
            if found.attrib:
                objects.add(at)
            stack.append(found)
            if len(counts) > MAX_PATHS:
                raise ValueError(f"more than {MAX_PATHS} kinds of elements; state a dataSelector")
        else:
            stack.pop()
            at = at[:-1]
            if stack:
                stack[-1].remove(found)
    current = next(iter(counts), ())
    while current:
        below = [path for path in counts if path[:-1] == current]
        several = next((path for path in below if counts[path] > 1), None)
        if several is not None:
            return list(several)
        inner = [path for path in below if path in objects]
        current = inner[0] if len(inner) == 1 else ()
    return []


class Walk:
    """The records of a document at a path, one by one; ``rest`` is the document without them."""

    def __init__(self, stream: BinaryIO, keys: Sequence[str]) -> None:
        self._stream, self._keys = stream, tuple(keys)
        self.rest: dict[str, Any] = {}

    def records(self) -> Iterator[Any]:
        """Each record as JSON has it.

        Raises
        ------
        ValueError
            As :func:`_events`; an element on the way to the records is there twice.
        """
        at: tuple[str, ...] = ()
        stack: list[Any] = []
        passed: set[tuple[str, ...]] = set()
        beside = within = 0
        for event, found in _events(self._stream):
            inside = len(at) > len(self._keys) and at[: len(self._keys)] == self._keys
            if event == "start":
                at = (*at, tag(found))
                stack.append(found)
                if len(at) < len(self._keys) and at == self._keys[: len(at)]:
                    if at in passed:
                        raise ValueError(f"{'.'.join(at)!r} is there more than once")
                    passed.add(at)
                continue
            stack.pop()
            if inside:
                within += 1
                if within > MAX_WITHIN:
                    raise ValueError(f"a record of more than {MAX_WITHIN} elements")
            elif at == self._keys:
                within = 0
                yield element(found)
                if stack:
                    stack[-1].remove(found)
            else:
                beside += 1
                if beside > MAX_BESIDE:
                    raise ValueError(
                        f"more than {MAX_BESIDE} elements beside {'.'.join(self._keys)!r}"
                    )
            at = at[:-1]
            if not at:
                self.rest = {tag(found): element(found)}
