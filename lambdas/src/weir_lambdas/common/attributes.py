"""DynamoDB's attribute values from and to plain Python values.

DynamoDB API Reference, *AttributeValue*. boto3 has the like, but importing it costs each cold start
what botocore alone does not: resources, S3 transfers, multiprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def to_attribute(value: Any) -> dict[str, Any]:
    """A value as DynamoDB is told it.

    Parameters
    ----------
    value
        None, bool, int, str, bytes, a set of one or more str, or a list, tuple or mapping (with str
        keys) of these.

    Raises
    ------
    TypeError
        It is something else: a float, for one, which DynamoDB would not keep exactly.
    """
    for types, write in _WRITERS:
        if isinstance(value, types):
            return write(value)
    raise TypeError(f"DynamoDB has no attribute value for {type(value).__name__}")


def from_attribute(value: Mapping[str, Any]) -> Any:
    """The value that :func:`to_attribute` was given; of a tuple a list.

    Raises
    ------
    ValueError
        A number with a fraction: this system writes none outside of JSON texts.
    """
    ((kind, content),) = value.items()
    return _READERS[kind](content)


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """An item, or the values of an expression, as DynamoDB is told it."""
    return {name: to_attribute(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item in plain Python values."""
    return {name: from_attribute(value) for name, value in item.items()}


def _texts(value: set[Any]) -> dict[str, Any]:
    if not value or not all(isinstance(one, str) for one in value):
        raise TypeError("DynamoDB has no attribute value for a set but of one or more texts")
    return {"SS": sorted(value)}


_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any], dict[str, Any]]], ...] = (
    (str, lambda value: {"S": value}),
    (bool, lambda value: {"BOOL": value}),
    (int, lambda value: {"N": str(value)}),
    (type(None), lambda _: {"NULL": True}),
    (bytes, lambda value: {"B": value}),
    (set, _texts),
    ((list, tuple), lambda value: {"L": [to_attribute(one) for one in value]}),
    (Mapping, lambda value: {"M": to_item(value)}),
)
"""Python's types -> the attribute value; bool stands before int, of which it is a subclass."""

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "S": str,
    "N": int,
    "BOOL": bool,
    "NULL": lambda _: None,
    "B": bytes,
    "SS": set,
    "L": lambda content: [from_attribute(one) for one in content],
    "M": from_item,
}
"""The kind of an attribute value -> what reads its content."""
