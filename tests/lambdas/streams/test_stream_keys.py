"""Keys of Kafka's records, in each format and framing, become text; what is broken is told apart."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import fastavro
import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.streams.rig import Rig, kafka
from lambdas.streams.test_landing_streams import seal
from weir_contract.rows import DeletionMark, Field, RowContract
from weir_contract.sources import KeyFormat, Registry, SourceConfig, Stream
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.stream_processor.events import ReadKey
from weir_lambdas.stream_processor.keys import key_reader
from weir_lambdas.stream_processor.registry import Definition, UnknownSchema
from weir_lambdas.stream_processor.rejected import Rejected

GLUE = Registry("glue", "events")
CONFLUENT = Registry("confluent", "https://registry.example.com")
VERSION = UUID("b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63")
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
BY_KEY = DeletionMark("_stream.tombstone", (), {"id": "_stream.key.id"})
CONTRACT = RowContract((Field("id", "id", "integer"),), deletion=BY_KEY)


def described() -> bytes:
    """``shop.Other``, ``shop.Key``, and the wrappers."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="key.proto", package="shop", syntax="proto3")
    file.message_type.add(name="Other")
    key = file.message_type.add(name="Key")
    key.field.add(name="id", number=1, type=kinds.TYPE_INT64, label=1)
    found = descriptor_pb2.FileDescriptorSet()
    wrappers_pb2.DESCRIPTOR.CopyToProto(found.file.add())
    found.file.append(file)
    return bytes(found.SerializeToString())


OBJECTS = {
    "key": json.dumps(KEY).encode(),
    "long": b'"long"',
    "none": b'{"type": "nothing"}',
    "set": described(),
}


class Given:
    """What a spec holds, by its URI."""

    def get_uri(self, uri: str) -> bytes:
        if uri not in OBJECTS:
            raise FileNotFoundError(uri)
        return OBJECTS[uri]


class Known:
    """A registry that knows the schema of keys as 2, and as Glue's version."""

    def find(self, schema: str) -> Definition:
        if schema not in ("2", str(VERSION)):
            raise UnknownSchema(f"the schema registry has no schema {schema}")
        return Definition(json.dumps(KEY))


def reading(key: KeyFormat | None, registry: Registry | None = None, **stream: Any) -> ReadKey:
    stated = Stream("kafka", "t", registry=registry, key=key, metadata=True, **stream)
    config = SourceConfig("p", "n", "s", "raw", "state", CONTRACT, stream=stated)
    storage: Any = Given()
    read = key_reader(config, storage, Known() if registry else None)
    assert read is not None
    return read


def avro(schema: Any, value: Any) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(schema), value)
    return file.getvalue()


JSON = KeyFormat("json")
AVRO = KeyFormat("avro")
RECORD = KeyFormat("avro", avro_schema="key")
LONG = KeyFormat("avro", avro_schema="long")
MESSAGE = KeyFormat("protobuf", descriptors="set", message="shop.Key")
WRAPPED = KeyFormat("protobuf", descriptors="set", message="google.protobuf.StringValue")
HEAD = b"\0\0\0\0\2"
GLUE_HEAD = b"\3\0" + VERSION.bytes
SEVEN = avro(KEY, {"id": 7})

READ = {
    "json": (JSON, None, b'{"id": 7}', '{"id": 7}'),
    "json, a text": (JSON, None, b'"a\\u0062"', "ab"),
    "json, a number": (JSON, None, b"7", "7"),
    "json with an id": (JSON, CONFLUENT, HEAD + b'{"id": 7}', '{"id": 7}'),
    "json without one": (JSON, CONFLUENT, b'{"id": 7}', '{"id": 7}'),
    "avro by its schema": (RECORD, None, SEVEN, '{"id":7}'),
    "avro by its schema beside a registry": (RECORD, CONFLUENT, SEVEN, '{"id":7}'),
    "avro, a number": (LONG, None, avro("long", -5), "-5"),
    "avro by a registry": (AVRO, CONFLUENT, HEAD + SEVEN, '{"id":7}'),
    "avro by Glue": (AVRO, GLUE, GLUE_HEAD + SEVEN, '{"id":7}'),
    "avro by Glue, packed": (
        AVRO,
        GLUE,
        b"\3\5" + VERSION.bytes + zlib.compress(SEVEN),
        '{"id":7}',
    ),
    "protobuf": (MESSAGE, None, b"\x08\x07", '{"id":7}'),
    "protobuf, nothing but defaults": (MESSAGE, None, b"", '{"id":0}'),
    "protobuf, a single value": (WRAPPED, None, b"\x0a\x02ab", "ab"),
    "protobuf with an id": (MESSAGE, CONFLUENT, HEAD + b"\x02\x02\x08\x07", '{"id":7}'),
    "protobuf with an id of the first message": (MESSAGE, CONFLUENT, HEAD + b"\0", "{}"),
    "protobuf without one": (MESSAGE, CONFLUENT, b"\x08\x07", '{"id":7}'),
    "protobuf with an id of Glue": (MESSAGE, GLUE, GLUE_HEAD + b"\x01\x08\x07", '{"id":7}'),
    "protobuf without one of Glue": (MESSAGE, GLUE, b"\x08\x07", '{"id":7}'),
}


@pytest.mark.parametrize(("key", "registry", "data", "text"), READ.values(), ids=READ)
def test_a_stated_key_is_its_json_and_a_single_value_its_text(
    key: KeyFormat, registry: Registry | None, data: bytes, text: str
) -> None:
    assert reading(key, registry)(data) == text


BROKEN = {
    "json": (JSON, None, b"abc", "it is no JSON"),
    "json, no text": (JSON, None, b'"\xff"', "it is no JSON"),
    "avro": (RECORD, None, SEVEN + b"x", "bytes left"),
    "avro, too short": (RECORD, None, b"", "not what its Avro schema says"),
    "avro without an id": (AVRO, CONFLUENT, b"abc", "header of a Confluent"),
    "avro of an unknown id": (AVRO, CONFLUENT, b"\0\0\0\0\x09", "has no schema 9"),
    "protobuf": (MESSAGE, None, b"\xff", "no message shop.Key"),
    "protobuf with an id where none is": (MESSAGE, None, HEAD, "no message shop.Key"),
    "protobuf of another message": (MESSAGE, CONFLUENT, HEAD + b"\x02\x08", "names no message"),
}


@pytest.mark.parametrize(("key", "registry", "data", "why"), BROKEN.values(), ids=BROKEN)
def test_a_key_that_is_not_as_stated_is_told_without_its_content(
    key: KeyFormat, registry: Registry | None, data: bytes, why: str
) -> None:
    with pytest.raises(Rejected, match=f"its key can't be read: .*{why}"):
        reading(key, registry)(data)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([JSON, AVRO, RECORD, MESSAGE, WRAPPED]),
    st.sampled_from([GLUE, CONFLUENT]),
    st.sampled_from([b"", HEAD, GLUE_HEAD]),
    st.binary(max_size=30),
)
def test_no_bytes_break_a_reader_of_keys(
    key: KeyFormat, registry: Registry, head: bytes, data: bytes
) -> None:
    try:
        assert isinstance(reading(key, registry)(head + data), str)
    except Rejected as error:
        assert str(error).startswith("its key can't be read: ")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (AVRO, "kafka.key.avroSchema: the format needs it"),
        (KeyFormat("avro", avro_schema="gone"), "gone: there is no such object"),
        (KeyFormat("avro", avro_schema="none"), "kafka.key.avroSchema: is no Avro schema"),
        (KeyFormat("protobuf", message="shop.Key"), "kafka.key.protobuf.descriptors: the format"),
        (
            KeyFormat("protobuf", descriptors="long", message="shop.Key"),
            "kafka.key.protobuf.descriptors: is no FileDescriptorSet",
        ),
        (
            KeyFormat("protobuf", descriptors="set", message="shop.None"),
            "kafka.key.protobuf.message: the descriptors have no message 'shop.None'",
        ),
    ],
)
def test_what_is_stated_wrongly_of_keys_is_named(key: KeyFormat, why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        reading(key)


@pytest.mark.parametrize(
    ("settings", "data"),
    [
        ({"format": "avro", "avro_schema": "value", "key": RECORD}, SEVEN),
        (
            {"format": "protobuf", "descriptors": "set", "message": "shop.Key", "key": MESSAGE},
            b"\x08\x07",
        ),
    ],
    ids=["avro", "protobuf"],
)
def test_a_tombstone_is_a_deletion_of_its_key_and_one_without_such_a_key_is_in_quarantine(
    stream_rig: Callable[..., Rig], settings: dict[str, Any], data: bytes
) -> None:
    rig = stream_rig("kafka", {"contract": CONTRACT}, metadata=True)
    bucket, at = rig.config.raw_bucket, {}
    for name, content in {**OBJECTS, "value": OBJECTS["key"]}.items():
        rig.s3.put_object(Bucket=bucket, Key=name, Body=content)
        at[name] = f"s3://{bucket}/{name}"
    stated = KeyFormat(
        settings["key"].format,
        at.get(settings["key"].avro_schema),
        at.get(settings["key"].descriptors),
        settings["key"].message,
    )
    given = {name: at.get(value, value) for name, value in settings.items() if name != "key"}
    rig.restate(**given, key=stated)
    for offset, (value, key) in enumerate(
        [(data, data), (None, data), (None, b"\xff"), (data, b"\xff"), (None, None)]
    ):
        keyed = {} if key is None else {"key": base64.b64encode(key).decode()}
        assert rig.receive(kafka([(offset, value)], **keyed)) == {"batchItemFailures": []}
    seal(rig, "r1")
    kept, deleted, keyless = rig.records()
    assert kept["_stream"]["key"] == deleted["_stream"]["key"] == '{"id":7}'
    assert (kept["id"], deleted["_stream"]["tombstone"]) == (7, True)
    assert keyless["_stream"]["key"] is None
    tombstone, record = rig.quarantined()
    assert "offset 2: its key can't be read: it is no" in tombstone["reason"].replace("not", "no")
    assert "offset 3: its key can't be read: it is no" in record["reason"].replace("not", "no")
