"""The bytes of one record of a stream as JSON objects, one a line of the raw zone.

JSON is not written anew where it can stay as it is: it is parsed to see that it is whole, and the
very bytes go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from weir_contract.sources import SourceConfig, Stream
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.records import dump_line, parse_many
from weir_lambdas.stream_processor.framing import GZIP_MAGIC, Frame, gunzipped, plain, unframed
from weir_lambdas.stream_processor.registry import Schemas
from weir_lambdas.stream_processor.rejected import Object, Rejected

Decode = Callable[[bytes], Sequence[Object]]
"""A record's bytes -> its objects. Raises ``Rejected`` where the whole record can't be read, and a
:class:`~weir_lambdas.common.errors.WeirError` where trying again may help."""

_VALUE = msgspec.json.Decoder()
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
MAX_DEPTH = 400
"""Levels of a record: whoever reads it later takes as many, however deep in calls it is itself. Python
ends at 1,000."""

MAX_ITEMS = 500_000
"""Values of one record: with _stream each takes more room than the two bytes that it may have had."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACES = bytes.maketrans(b"[]", b"{}")
_NO_BRACES = bytes(set(range(256)) - set(b"{}[]"))
_TOO_DEEP = "it is nested too deeply"

_REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
SPACES = bytes.maketrans(b"\r\n", b"  ")
"""Line ends stand between JSON's tokens only, where a space does as well (RFC 8259, 2)."""


def json_objects(data: bytes) -> Sequence[Object]:
    """One object, a list of objects, or several objects one after another; packed with gzip or not.

    Raises
    ------
    Rejected
        It is no JSON.
    """
    if data.startswith(GZIP_MAGIC):
        data = gunzipped(data)
    text = data.strip()
    if text[:1] == b"{":
        try:
            _VALUE.decode(text)
        except _REFUSALS:
            return _slowly(data)
        if _is_deep(text):
            raise Rejected(_TOO_DEEP)
        return [_one_line(text)]
    if text[:1] == b"[":
        try:
            _VALUE.decode(text)
        except _REFUSALS:
            return _slowly(data)
        return _items(map(bytes, _ELEMENTS.decode(text)))
    return _slowly(data)


def _items(items: Iterable[bytes]) -> list[Object]:
    """Values one after another; those that are no objects go together as far as they stand together:
    a list may be of numbers alone."""
    found: list[Object] = []
    others: list[bytes] = []
    number = 0
    for number, one in enumerate(items, 1):
        if number > MAX_ITEMS:
            raise Rejected(f"it has more than {MAX_ITEMS} values")
        if one[:1] != b"{":
            others.append(one)
            continue
        if others:
            found.append(_no_objects(others, number - 1))
            others = []
        found.append(Rejected(_TOO_DEEP, one) if _is_deep(one) else _one_line(one))
    if others:
        found.append(_no_objects(others, number))
    return found


def _no_objects(others: Sequence[bytes], last: int) -> Rejected:
    first = last - len(others) + 1
    if first == last:
        return Rejected(f"item {last} is no JSON object", others[0])
    return Rejected(f"items {first} to {last} are no JSON objects", b",".join(others))


def _is_deep(text: bytes) -> bool:
    """Whether a JSON value has more than :data:`MAX_DEPTH` levels."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    left = _STRINGS.sub(b"", text).translate(_BRACES, _NO_BRACES)
    for _ in range(MAX_DEPTH):
        if not left:
            return False
        left = left.replace(b"{}", b"")
    return bool(left)


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
    try:
        return _items([dump_line(value)[:-1] for value in values])
    except RecursionError as error:
        raise Rejected(_TOO_DEEP) from error


def _line(value: Any) -> bytes:
    """What a reader of another format found, as JSON.

    Raises
    ------
    Rejected
        It is nested too deeply.
    """
    try:
        line = dump_line(value)[:-1]
    except RecursionError as error:
        raise Rejected(_TOO_DEEP) from error
    if _is_deep(line):
        raise Rejected(_TOO_DEEP)
    return line


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
        return [_line(avro.read(found.schema, found.payload))]

    return decode


def _protobuf(stream: Stream, storage: Storage, _schemas: Schemas | None, frame: Frame) -> Decode:
    from weir_lambdas.stream_processor.protobuf import Protobuf

    described = given(storage, stream.descriptors, "protobuf.descriptors")
    kind = stream.registry.kind if stream.registry else None
    messages = Protobuf(described, stream.message or "", kind)

    def decode(data: bytes) -> Sequence[Object]:
        return [_line(messages.read(frame(data).payload))]

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
