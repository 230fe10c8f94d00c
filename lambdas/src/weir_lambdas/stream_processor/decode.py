"""The bytes of one record of a stream as JSON objects, one a line of the raw zone.

JSON is not written anew where it can stay as it is: it is parsed to see that it is whole, and the
very bytes go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from weir_contract.sources import SourceConfig, Stream
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.records import dump_line, parse_many
from weir_lambdas.stream_processor.framing import Frame, plain, unframed
from weir_lambdas.stream_processor.registry import Schemas
from weir_lambdas.stream_processor.rejected import Object, Rejected

Decode = Callable[[bytes], Sequence[Object]]
"""A record's bytes -> its objects. Raises ``Rejected`` where the whole record can't be read, and a
:class:`~weir_lambdas.common.errors.WeirError` where trying again may help."""

_VALUE = msgspec.json.Decoder()
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SPACES = bytes.maketrans(b"\r\n", b"  ")
"""Line ends stand between JSON's tokens only, where a space does as well (RFC 8259, 2)."""


def json_objects(data: bytes) -> Sequence[Object]:
    """One object, a list of objects, or several objects one after another.

    Raises
    ------
    Rejected
        It is no JSON.
    """
    text = data.strip()
    if text[:1] == b"{":
        try:
            _VALUE.decode(text)
        except _REFUSALS:
            return _slowly(data)
        return [_one_line(text)]
    if text[:1] == b"[":
        try:
            _VALUE.decode(text)
        except _REFUSALS:
            return _slowly(data)
        return [
            _one_line(one) if one[:1] == b"{" else _no_object(number)
            for number, one in enumerate(map(bytes, _ELEMENTS.decode(text)), 1)
        ]
    return _slowly(data)


def _one_line(text: bytes) -> bytes:
    return text.translate(SPACES) if b"\n" in text or b"\r" in text else text


def _slowly(data: bytes) -> Sequence[Object]:
    try:
        values = parse_many(data)
    except ValueError as error:
        raise Rejected(f"it is no JSON: {error}") from error
    if not values:
        raise Rejected("it is empty")
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return [
        dump_line(value)[:-1] if isinstance(value, dict) else _no_object(number)
        for number, value in enumerate(values, 1)
    ]


def _no_object(number: int) -> Rejected:
    return Rejected(f"item {number} is no JSON object")


def decoder(config: SourceConfig, storage: Storage, schemas: Schemas | None) -> Decode:
    """What reads the records of a source.

    Parameters
    ----------
    schemas
        Finds schemas by their ids; None where the source names no registry.

    Raises
    ------
    ConfigInvalid
        The given schema or descriptors are missing, or are none.
    """
    stream = config.stream
    if stream is None:
        raise ConfigInvalid("the source is no stream", config.id)
    frame = plain if stream.registry is None else unframed(stream.registry.kind)
    return _FORMATS[stream.format](stream, storage, schemas, frame)


def _json(stream: Stream, _storage: Storage, _schemas: Schemas | None, frame: Frame) -> Decode:
    if stream.registry is None:
        return json_objects

    def decode(data: bytes) -> Sequence[Object]:
        return json_objects(frame(data).payload)

    return decode


def _avro(stream: Stream, storage: Storage, schemas: Schemas | None, frame: Frame) -> Decode:
    from weir_lambdas.stream_processor.avro import Avro

    text = given(storage, stream.avro_schema, "avroSchema") if schemas is None else None
    avro = Avro(text, schemas)

    def decode(data: bytes) -> Sequence[Object]:
        found = frame(data)
        return [dump_line(avro.read(found.schema, found.payload))[:-1]]

    return decode


def _protobuf(stream: Stream, storage: Storage, _schemas: Schemas | None, frame: Frame) -> Decode:
    from weir_lambdas.stream_processor.protobuf import Protobuf

    described = given(storage, stream.descriptors, "protobuf.descriptors")
    kind = stream.registry.kind if stream.registry else None
    messages = Protobuf(described, stream.message or "", kind)

    def decode(data: bytes) -> Sequence[Object]:
        return [dump_line(messages.read(frame(data).payload))[:-1]]

    return decode


def given(storage: Storage, uri: str | None, field: str) -> bytes:
    """A schema or descriptors that the spec holds.

    Parameters
    ----------
    field
        Where the spec has them, for messages.

    Raises
    ------
    ConfigInvalid
        They are not stated, or not there.
    """
    if not uri:
        raise ConfigInvalid("the format needs it, or a registry", field)
    try:
        return storage.get_uri(uri)
    except FileNotFoundError as error:
        raise ConfigInvalid("there is no such object", uri) from error


_FORMATS: dict[str, Callable[[Stream, Storage, Schemas | None, Frame], Decode]] = {
    "json": _json,
    "avro": _avro,
    "protobuf": _protobuf,
}
"""Format -> what makes its decoder; its library is imported with the first record that needs it."""
