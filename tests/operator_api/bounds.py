"""Every bound of a CRD's schema that a sample reaches, with a value that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_SHOWN = 200_000
"""A breaking value larger than this (a list of a million items) is not made."""


@dataclass(frozen=True)
class Breach:
    """A path into an object, the constraint broken there, and the breaking value."""

    path: tuple[str | int, ...]
    keyword: str
    value: Any
    remove: bool = False

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}:{self.keyword}"

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object with this one thing broken."""
        broken: Any = copy.deepcopy(dict(body))
        at = broken
        for part in self.path[:-1]:
            at = at[part]
        if self.remove:
            del at[self.path[-1]]
        else:
            at[self.path[-1]] = self.value
        return broken


def breaches(
    schema: Mapping[str, Any], value: Any, path: tuple[str | int, ...] = ("spec",)
) -> Iterator[Breach]:
    """Each constraint at and under ``value``, broken once."""
    kind = schema.get("type")
    if kind == "string" and isinstance(value, str):
        yield from _string(schema, value, path)
    elif kind == "integer":
        if "minimum" in schema:
            yield Breach(path, "minimum", schema["minimum"] - 1)
        if "maximum" in schema:
            yield Breach(path, "maximum", schema["maximum"] + 1)
        yield Breach(path, "type", "text")
    elif kind == "boolean":
        yield Breach(path, "type", "text")
    elif kind == "array":
        yield from _array(schema, value, path)
    elif kind == "object":
        yield from _object(schema, value, path)


def _string(schema: Mapping[str, Any], value: str, path: tuple[str | int, ...]) -> Iterator[Breach]:
    if "enum" in schema:
        yield Breach(path, "enum", "no-such-choice")
        return
    if schema.get("minLength", 0) > 0:
        yield Breach(path, "minLength", "")
    if schema.get("maxLength", MAX_SHOWN) < MAX_SHOWN:
        yield Breach(path, "maxLength", value + "a" * (schema["maxLength"] + 1))
    if "pattern" in schema:
        yield Breach(path, "pattern", "\u0000 no \n match"[1:])


def _array(
    schema: Mapping[str, Any], value: list[Any], path: tuple[str | int, ...]
) -> Iterator[Breach]:
    if schema.get("minItems", 0) > 0:
        yield Breach(path, "minItems", [])
    items = schema.get("items", {})
    if value and schema["maxItems"] <= 2000:
        keys = schema.get("x-kubernetes-list-map-keys")
        many = []
        for i in range(schema["maxItems"] + 1):
            item = copy.deepcopy(value[0])
            if keys:
                item[keys[0]] = f"x{i}"
            elif items.get("type") == "string" and schema.get("x-kubernetes-list-type") == "set":
                item = f"x{i}"
            many.append(item)
        yield Breach(path, "maxItems", many)
    if value and schema.get("x-kubernetes-list-type") in {"map", "set"}:
        yield Breach(path, "duplicate", [value[0], value[0]])
    for i, item in enumerate(value):
        yield from breaches(items, item, (*path, i))


def _object(
    schema: Mapping[str, Any], value: Mapping[str, Any], path: tuple[str | int, ...]
) -> Iterator[Breach]:
    if "properties" in schema:
        yield Breach((*path, "noSuchField"), "unknown", 1)
    for name in schema.get("required", ()):
        yield Breach((*path, name), "required", None, remove=True)
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping) and value:
        sample = next(iter(value.values()))
        if schema["maxProperties"] <= 2000:
            many = {f"x{i}": sample for i in range(schema["maxProperties"] + 1)}
            yield Breach(path, "maxProperties", many)
        if schema.get("minProperties", 0) > 0:
            yield Breach(path, "minProperties", {})
    for name, item in value.items():
        child = schema.get("properties", {}).get(name) or extra
        if isinstance(child, Mapping):
            yield from breaches(child, item, (*path, name))


def reached(schema: Mapping[str, Any], value: Any) -> set[int]:
    """The identities of the schema's nodes that a value reaches."""
    found = {id(schema)}
    if isinstance(value, Mapping):
        for name, item in value.items():
            child = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(child, Mapping):
                found |= reached(child, item)
    elif isinstance(value, list):
        for item in value:
            found |= reached(schema.get("items", {}), item)
    return found


def nodes(schema: Mapping[str, Any], path: str = "spec") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if isinstance(schema.get("items"), Mapping):
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from nodes(schema["additionalProperties"], f"{path}.*")
