"""Protocol Buffers messages by their descriptors, as JSON values.

Fields keep the names of the ``.proto`` file. What differs from ProtoJSON: 64-bit integers are
numbers, moments are ISO 8601 with an offset and stretches of time are seconds, as the readers of
other formats have them. A field without presence has its default; one that is not set is null. What a
newer producer writes and the descriptors lack is kept under ``_unknown``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.landing.values import json_value
from weir_lambdas.stream_processor.aggregated import varint
from weir_lambdas.stream_processor.rejected import Rejected

MAX_INDEXES = 100
"""Levels of nested message types that a Confluent header may name."""

UNKNOWN = "_unknown"
"""Where fields stand that the descriptors lack."""

GROUP = 3
"""Wire type of what begins a group (Protocol Buffers, *Encoding*)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Protobuf:
    """Reads messages.

    Parameters
    ----------
    descriptors
        A ``FileDescriptorSet``.
    name
        The full name of the message that a record is.
    registry
        Whose header was in front: what it says of the message comes before it. Confluent's names
        the message by its place in the file, Glue's is passed over.
    field
        Where the spec has both, for messages.

    Raises
    ------
    ConfigInvalid
        The descriptors can't be read, or have no such message.
    """

    def __init__(
        self,
        descriptors: bytes,
        name: str,
        registry: Literal["glue", "confluent"] | None,
        field: str = "protobuf",
    ) -> None:
        pool = descriptor_pool.DescriptorPool()
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
            for file in files.file:
                pool.Add(file)
            self._type = pool.FindMessageTypeByName(name)
        except message.DecodeError as error:
            raise ConfigInvalid("is no FileDescriptorSet", f"{field}.descriptors") from error
        except KeyError as error:
            raise ConfigInvalid(
                f"the descriptors have no message {name!r}, or lack a file that it imports "
                "(protoc --include_imports)",
                f"{field}.message",
            ) from error
        except TypeError as error:
            raise ConfigInvalid(
                "the descriptors do not fit together (protoc --include_imports writes them all)",
                f"{field}.descriptors",
            ) from error
        self._registry = registry

    def read(self, payload: bytes) -> dict[str, Any]:
        """A record as JSON values.

        Raises
        ------
        Rejected
            It is no such message, or one that stands for a single value; the text holds no content.
        """
        kind, row = self._read(payload)
        if not isinstance(row, dict):
            raise Rejected(f"{kind.full_name} stands for a single value, not for a record")
        return row

    def value(self, payload: bytes) -> Any:
        """What was written, a record or a single value, as JSON values.

        Raises
        ------
        Rejected
            It is no such message; the text holds no content.
        """
        return self._read(payload)[1]

    def _read(self, payload: bytes) -> tuple[Descriptor, Any]:
        kind, place = self._type, 0
        if self._registry:
            try:
                kind, place = self._indexed(payload)
            except ValueError as error:
                raise Rejected("its header names no message of the descriptors") from error
        try:
            found = message_factory.GetMessageClass(kind).FromString(payload[place:])
            return kind, values(found)
        except (message.DecodeError, ValueError, OverflowError, RecursionError) as error:
            raise Rejected(f"it is no message {kind.full_name}") from error

    def _indexed(self, payload: bytes) -> tuple[Descriptor, int]:
        """The message that a header names, and where it begins."""
        if self._registry == "glue":
            return self._type, varint(payload, 0)[1]
        count, place = _zigzag(payload, 0)
        if count == 0:
            path = [0]
        elif 0 < count <= MAX_INDEXES:
            path = []
            for _ in range(count):
                index, place = _zigzag(payload, place)
                path.append(index)
        else:
            raise ValueError("too many indexes")
        kinds = list(self._type.file.message_types_by_name.values())
        kind = self._type
        for index in path:
            if not 0 <= index < len(kinds):
                raise ValueError("no such message")
            kind = kinds[index]
            kinds = list(kind.nested_types)
        return kind, place


def _zigzag(data: bytes, place: int) -> tuple[int, int]:
    """A signed number of variable length (Protocol Buffers, *Encoding*)."""
    value, place = varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def values(found: Any) -> Any:
    """A message as JSON values.

    Raises
    ------
    ValueError, OverflowError
        A moment in it is no moment.
    """
    known = WELL_KNOWN.get(found.DESCRIPTOR.full_name)
    if known is not None:
        return known(found)
    row = {field.name: _field(found, field) for field in found.DESCRIPTOR.fields}
    if found.DESCRIPTOR.is_extendable:
        set_fields = [field for field, _ in found.ListFields()]
        row |= {
            f"[{field.full_name}]": _extension(found, field)
            for field in set_fields
            if field.is_extension
        }
    unknown = UnknownFieldSet(found)
    return row | {UNKNOWN: _unknown(unknown)} if len(unknown) else row


def _extension(found: Any, field: FieldDescriptor) -> Any:
    value = found.Extensions[field]
    return [_value(one, field) for one in value] if field.is_repeated else _value(value, field)


def _unknown(fields: Any) -> dict[str, Any]:
    """Number -> what stands there: a number, or bytes (base64); several are a list."""
    several: dict[str, list[Any]] = {}
    for field in fields:
        data = field.data
        if field.wire_type == GROUP:
            data = _unknown(data)
        several.setdefault(str(field.field_number), []).append(json_value(data))
    return {number: found[0] if len(found) == 1 else found for number, found in several.items()}


def _field(found: Any, field: FieldDescriptor) -> Any:
    value = getattr(found, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {_key(key): _value(value[key], inner) for key in value}
    if field.is_repeated:
        return [_value(one, field) for one in value]
    if field.has_presence and not found.HasField(field.name):
        return None
    return _value(value, field)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _value(value: Any, field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return values(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named is not None else value
    return json_value(value)


def _moment(found: Any) -> str:
    moment = _EPOCH + timedelta(seconds=found.seconds, microseconds=found.nanos // 1_000)
    return str(json_value(moment))


def _any_value(found: Any) -> Any:
    kind = found.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    inner = getattr(found, kind)
    return values(inner) if kind in ("struct_value", "list_value") else json_value(inner)


def _wrapped(found: Any) -> Any:
    return json_value(found.value)


_PACKAGE = "google.protobuf."
WELL_KNOWN: Mapping[str, Callable[[Any], Any]] = {
    f"{_PACKAGE}Timestamp": _moment,
    f"{_PACKAGE}Duration": lambda found: found.seconds + found.nanos / 1e9,
    f"{_PACKAGE}Struct": lambda found: {
        name: _any_value(found.fields[name]) for name in found.fields
    },
    f"{_PACKAGE}Value": _any_value,
    f"{_PACKAGE}ListValue": lambda found: [_any_value(one) for one in found.values],
    f"{_PACKAGE}FieldMask": lambda found: list(found.paths),
    f"{_PACKAGE}Empty": lambda _found: {},
    **{
        f"{_PACKAGE}{name}Value": _wrapped
        for name in (
            "Bool",
            "Bytes",
            "Double",
            "Float",
            "Int32",
            "Int64",
            "String",
            "UInt32",
            "UInt64",
        )
    },
}
"""Message types with a meaning of their own -> what they mean."""
