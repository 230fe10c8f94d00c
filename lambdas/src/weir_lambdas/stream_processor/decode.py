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
from weir_lambdas.stream_processor.events import ReadKey
from weir_lambdas.stream_processor.framing import Frame, Framed, plain, unframed
from weir_lambdas.stream_processor.registry import Schemas
from weir_lambdas.stream_processor.rejected import Object, Rejected

Decode = Callable[[bytes], Sequence[Object]]
"""A record's bytes -> its objects. Raises ``Rejected`` where the whole record can't be read, and a
:class:`~weir_lambdas.common.errors.WeirError` where trying again may help."""

KEY = "_stream.key"
"""Where a record's key is, as paths name it."""

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


def key_reader(config: SourceConfig, schemas: Schemas | None) -> ReadKey | None:
    """What reads the keys of a source's records, where its schema asks for them and a registry has
    put an id in front of each; None where nothing does.

    Any bytes may be a key, such as a number of eight bytes, which looks like one with an id. So keys
    are read only where a column or a deletion is told by them; one that is not what its id says is
    shown as it is.
    """
    stream, contract = config.stream, config.contract
    if stream is None or stream.registry is None or schemas is None or not stream.metadata:
        return None
    paths = [item.path or "" for item in contract.fields]
    paths += contract.deletion.mapping.values() if contract.deletion else ()
    if stream.format == "protobuf" or not any(
        path == KEY or path.startswith(f"{KEY}.") for path in paths
    ):
        return None
    frame, parse = unframed(stream.registry.kind), _KEYS[stream.format](schemas)

    def read(data: bytes) -> str | None:
        try:
            return parse(frame(data))
        except (Rejected, UnicodeDecodeError):
            return None

    return read


def _json_key(_schemas: Schemas) -> Callable[[Framed], str]:
    return lambda found: found.payload.decode()


def _avro_key(schemas: Schemas) -> Callable[[Framed], str]:
    from weir_lambdas.stream_processor.avro import Avro

    avro = Avro(None, schemas)

    def parse(found: Framed) -> str:
        value = avro.value(found.schema, found.payload)
        return value if isinstance(value, str) else dump_line(value)[:-1].decode()

    return parse


_KEYS: dict[str, Callable[[Schemas], Callable[[Framed], str]]] = {
    "json": _json_key,
    "avro": _avro_key,
}
"""Format -> what makes the reader of a key without its header. A Protobuf key has a message of its own,
which the source does not name."""


def _json(stream: Stream, _storage: Storage, _schemas: Schemas | None, frame: Frame) -> Decode:
    if stream.registry is None:
        return json_objects

    def decode(data: bytes) -> Sequence[Object]:
        return json_objects(frame(data).payload)

    return decode


def _avro(stream: Stream, storage: Storage, schemas: Schemas | None, frame: Frame) -> Decode:
    from weir_lambdas.stream_processor.avro import Avro

    given = _given(storage, stream.avro_schema, "avroSchema") if schemas is None else None
    avro = Avro(given, schemas)

    def decode(data: bytes) -> Sequence[Object]:
        found = frame(data)
        return [dump_line(avro.read(found.schema, found.payload))[:-1]]

    return decode


def _protobuf(stream: Stream, storage: Storage, _schemas: Schemas | None, frame: Frame) -> Decode:
    from weir_lambdas.stream_processor.protobuf import Protobuf

    given = _given(storage, stream.descriptors, "protobuf.descriptors")
    kind = stream.registry.kind if stream.registry else None
    messages = Protobuf(given, stream.message or "", kind)

    def decode(data: bytes) -> Sequence[Object]:
        return [dump_line(messages.read(frame(data).payload))[:-1]]

    return decode


def _given(storage: Storage, uri: str | None, field: str) -> bytes:
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
