"""What can't be known before AWS has made something, and what hangs on it.

An unknown ARN goes into documents, and by their hash into names. So a plan draws everything twice, with
two different ARNs in the unknown one's place: whatever comes out different is unknown too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.resource import UNKNOWN, Resource

TEXT = repr(UNKNOWN)
PLACEHOLDERS = ("arn:aws:unknown:::weir-one", "arn:aws:unknown:::weir-two")
"""Two values that stand for one that is unknown."""

PARTS = re.compile(r"([^A-Za-z0-9]+)")


def has_unknown(value: Any) -> bool:
    """Whether a text, or a text somewhere in a tree, says that it is known after apply only."""
    if isinstance(value, str):
        return TEXT in value
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def united(one: Sequence[Resource], other: Sequence[Resource]) -> tuple[Resource, ...]:
    """Resources of two drafts, in which everything that differs is unknown."""
    others = {resource.logical_id: resource for resource in other}
    found = []
    for resource in one:
        twin = others.get(resource.logical_id, resource)
        found.append(
            replace(
                resource,
                name=united_text(resource.name, twin.name),
                properties={
                    name: _united(value, twin.properties.get(name))
                    for name, value in resource.properties.items()
                },
            )
        )
    return tuple(found)


def united_text(one: str, other: str) -> str:
    """A text with :data:`TEXT` in place of the words in which two drafts of it differ."""
    one, other = (
        text.replace(placeholder, TEXT)
        for text, placeholder in zip((one, other), PLACEHOLDERS, strict=True)
    )
    if one == other:
        return one
    mine, theirs = PARTS.split(one), PARTS.split(other)
    start = 0
    while start < min(len(mine), len(theirs)) and mine[start] == theirs[start]:
        start += 1
    end = 0
    while end < min(len(mine), len(theirs)) - start and mine[-1 - end] == theirs[-1 - end]:
        end += 1
    tail = "".join(mine[len(mine) - end :]) if end else ""
    return "".join(mine[:start]) + TEXT + tail


def _united(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return UNKNOWN
        return {name: _united(one[name], other[name]) for name in one}
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return UNKNOWN
        return [_united(a, b) for a, b in zip(one, other, strict=True)]
    if one == other:
        return one
    if isinstance(one, str) and isinstance(other, str):
        text = united_text(one, other)
        return UNKNOWN if text == TEXT else text
    return UNKNOWN
