"""Dataclasses to JSON and back: the one form in which Weir's processes speak to each other.

Every message that crosses a process border (a source's configuration, a manifest, a run record) is
a frozen dataclass here. On the wire its fields are camelCase, absent values are left out, and keys
are sorted, so that equal messages are equal bytes and can be content-addressed.

A Lambda imports this module at every cold start: it uses the standard library alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


class ContractError(ValueError):
    """A message does not have the shape that its reader expects.

    The text names the path inside the message (``restApi.paginator.pageSize``) and what was wrong.
    """


def camel(name: str) -> str:
    """The wire name of a Python field name: ``max_pages`` becomes ``maxPages``."""
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def to_wire(value: Any) -> Any:
    """A message as plain JSON values: camelCase keys, no key for ``None`` or an empty collection.

    Parameters
    ----------
    value
        A dataclass of this package, or any nesting of mappings, sequences and scalars.

    Returns
    -------
    Any
        dict, list, str, int, float, bool or None, fit for ``json.dumps``.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if dataclasses.is_dataclass(kind):
        wire = {}
        for name, wire_name in _wire_names(kind):
            item = getattr(value, name)
            if item is None or (isinstance(item, (tuple, list, Mapping)) and not item):
                continue
            wire[wire_name] = to_wire(item)
        return wire
    if isinstance(value, Mapping):
        return {str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_wire(item) for item in value]
    return value


def dumps(value: Any) -> str:
    """A message as canonical JSON text (sorted keys, no spaces, UTF-8 kept as it is)."""
    wire = to_wire(value)
    text = json.dumps(wire, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON has in its \u form only
        return json.dumps(wire, sort_keys=True, separators=(",", ":"))
    return text


def digest(value: Any) -> str:
    """The SHA-256 of a message's canonical JSON, in hexadecimal (64 characters)."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def loads(cls: type[T], text: str | bytes) -> T:
    """Read a message of class ``cls`` from JSON text.

    Raises
    ------
    ContractError
        The text is no JSON, or has another shape than ``cls``; the message names the path.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ContractError(f"not JSON: {error}") from error
    return from_wire(cls, data)


def from_wire(cls: type[T], data: Any, path: str = "") -> T:
    """Read a message of class ``cls`` from plain JSON values.

    Unknown keys are refused: a writer and a reader that disagree must not lose a field in silence. Those
    that a message's ``RETIRED`` names (wire names) are passed over: earlier writers had them.

    Raises
    ------
    ContractError
        ``data`` has another shape than ``cls``.
    """
    return typing.cast(T, _read(cls, data, path or cls.__name__))


_SCALARS = frozenset({str, int, bool, float, type(None)})
"""What is most of a message: the same on the wire."""


@functools.cache
def _wire_names(cls: type) -> tuple[tuple[str, str], ...]:
    """A message's fields, each with its name on the wire."""
    return tuple((field.name, camel(field.name)) for field in dataclasses.fields(cls))


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a message's fields; evaluating them costs far more than a message does.

    Returns
    -------
    dict
        By field; shared by all who ask, so nobody may change it.
    """
    return typing.get_type_hints(cls)


def _read(hint: Any, data: Any, path: str) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return data
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        if data is None:
            return None
        if len(options) == 1:
            return _read(options[0], data, path)
        for option in options:
            if isinstance(option, type) and type(data) is option:
                return data
        raise ContractError(f"{path}: {type(data).__name__} fits none of {options}")
    if origin is tuple:
        if not isinstance(data, list):
            raise ContractError(f"{path}: expected a list, found {type(data).__name__}")
        return tuple(_read(get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(data))
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            raise ContractError(f"{path}: expected an object, found {type(data).__name__}")
        return {key: _read(get_args(hint)[1], item, f"{path}.{key}") for key, item in data.items()}
    if origin is typing.Literal:
        if data not in get_args(hint):
            raise ContractError(
                f"{path}: {data!r} is none of {', '.join(map(str, get_args(hint)))}"
            )
        return data
    if dataclasses.is_dataclass(hint):
        return _read_dataclass(hint, data, path)
    if hint is float and type(data) is int:
        return float(data)
    if isinstance(hint, type) and type(data) is not hint:
        raise ContractError(f"{path}: expected {hint.__name__}, found {type(data).__name__}")
    return data


def _read_dataclass(cls: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise ContractError(f"{path}: expected an object, found {type(data).__name__}")
    hints = hints_of(cls)
    fields = {camel(field.name): field for field in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields) - getattr(cls, "RETIRED", frozenset()))
    if unknown:
        raise ContractError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(fields)}")
    values = {}
    for key, field in fields.items():
        if key in data:
            values[field.name] = _read(hints[field.name], data[key], f"{path}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ContractError(f"{path}: {key} is missing")
    return cls(**values)
