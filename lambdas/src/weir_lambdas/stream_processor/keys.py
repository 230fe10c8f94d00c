"""What do the bytes of a Kafka record's key say?

A key has a serializer of its own: the schema of the values tells nothing of it. So a source says how its
keys are written, or has them read by the ids that its registry put in front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from weir_contract.rows import RowContract
from weir_contract.sources import KeyFormat, SourceConfig
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.records import dump_line
from weir_lambdas.stream_processor.decode import given
from weir_lambdas.stream_processor.events import ReadKey
from weir_lambdas.stream_processor.framing import (
    CONFLUENT_MAGIC,
    GLUE_VERSION,
    Frame,
    plain,
    unframed,
)
from weir_lambdas.stream_processor.registry import Schemas
from weir_lambdas.stream_processor.rejected import Rejected

KEY = "_stream.key"
"""Where a record's key is, as paths name it."""
MAGIC = {"glue": GLUE_VERSION, "confluent": CONFLUENT_MAGIC}
"""Registry -> the first byte of its header. No JSON begins so, and no Protobuf message either: both
would be a field of the number 0, which there is not (Protocol Buffers, *Encoding*)."""

Kind = Literal["glue", "confluent"]
Parse = Callable[[bytes], str]
"""A key's bytes -> what they say. Raises ``Rejected`` where they are no such key."""

_JSON = msgspec.json.Decoder()


def key_reader(config: SourceConfig, storage: Storage, schemas: Schemas | None) -> ReadKey | None:
    """What reads the keys of a source's records; None where they are shown as they are.

    A stated format counts for every key: one that is not written so is a record that can't be read.
    Where none is stated, a registry's header tells, and only where a column or a deletion is told by
    keys: any bytes may be a key, such as a number of eight bytes, which looks like one with an id. One
    that is not what its id says is shown as it is.

    Raises
    ------
    ConfigInvalid
        The given schema or descriptors are missing, or are none.
    """
    stream = config.stream
    if stream is None or not stream.metadata:
        return None
    kind = stream.registry.kind if stream.registry else None
    if stream.key is not None:
        return _strict(_FORMATS[stream.key.format](stream.key, storage, schemas, kind))
    if kind is None or stream.format == "protobuf" or not tells_by_key(config.contract):
        return None
    return _lenient(_FORMATS[stream.format](KeyFormat(stream.format), storage, schemas, kind))


def tells_by_key(contract: RowContract) -> bool:
    """Whether a column or a deletion is told by the keys of records."""
    paths = [item.path or "" for item in contract.fields]
    paths += contract.deletion.mapping.values() if contract.deletion else ()
    return any(path == KEY or path.startswith(f"{KEY}.") for path in paths)


def _strict(parse: Parse) -> ReadKey:
    def read(data: bytes) -> str:
        try:
            return parse(data)
        except Rejected as error:
            raise Rejected(f"its key can't be read: {error}") from error

    return read


def _lenient(parse: Parse) -> ReadKey:
    def read(data: bytes) -> str | None:
        try:
            return parse(data)
        except Rejected:
            return None

    return read


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dump_line(value)[:-1].decode()


def _json(_key: KeyFormat, _storage: Storage, _schemas: Schemas | None, kind: Kind | None) -> Parse:
    frame = _where_framed(kind)

    def parse(data: bytes) -> str:
        text = frame(data).payload
        try:
            value = _JSON.decode(text)
            return value if isinstance(value, str) else text.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Rejected("it is no JSON") from error

    return parse


def _avro(key: KeyFormat, storage: Storage, schemas: Schemas | None, kind: Kind | None) -> Parse:
    from weir_lambdas.stream_processor.avro import Avro

    field = "kafka.key.avroSchema"
    frame: Frame = plain
    if key.avro_schema or kind is None:
        avro = Avro(given(storage, key.avro_schema, field), None, field)
    else:
        avro, frame = Avro(None, schemas), unframed(kind)

    def parse(data: bytes) -> str:
        found = frame(data)
        return _text(avro.value(found.schema, found.payload))

    return parse


def _protobuf(
    key: KeyFormat, storage: Storage, _schemas: Schemas | None, kind: Kind | None
) -> Parse:
    from weir_lambdas.stream_processor.protobuf import Protobuf

    field = "kafka.key.protobuf"
    described = given(storage, key.descriptors, f"{field}.descriptors")
    messages = Protobuf(described, key.message or "", None, field)
    framed = Protobuf(described, key.message or "", kind, field) if kind else messages
    frame = _where_framed(kind)

    def parse(data: bytes) -> str:
        found = frame(data)
        return _text((framed if found.schema else messages).value(found.payload))

    return parse


def _where_framed(kind: Kind | None) -> Frame:
    """What takes a registry's header off a key that has one."""
    if kind is None:
        return plain
    magic, frame = bytes([MAGIC[kind]]), unframed(kind)
    return lambda data: frame(data) if data[:1] == magic else plain(data)


_FORMATS: dict[str, Callable[[KeyFormat, Storage, Schemas | None, Kind | None], Parse]] = {
    "json": _json,
    "avro": _avro,
    "protobuf": _protobuf,
}
"""Format -> what makes the reader of a key; its library is imported with the first key that needs it."""
