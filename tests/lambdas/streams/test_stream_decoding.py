"""Records of each format, in each framing, become the same JSON; what is broken is told apart."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir_contract.rows import RowContract
from weir_contract.sources import Registry, SourceConfig, Stream
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.landing.records import parse
from weir_lambdas.landing.values import json_value
from weir_lambdas.stream_processor.aggregated import MAGIC, user_records
from weir_lambdas.stream_processor.decode import Decode, decoder, json_objects
from weir_lambdas.stream_processor.framing import MAX_UNPACKED_BYTES
from weir_lambdas.stream_processor.protobuf import Protobuf
from weir_lambdas.stream_processor.registry import Definition, UnknownSchema
from weir_lambdas.stream_processor.rejected import Rejected

GLUE = Registry("glue", "events")
CONFLUENT = Registry("confluent", "https://registry.example.com")
VERSION = UUID("b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
rows = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6), values, max_size=4
)


class Given:
    """Objects by their URIs."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def get_uri(self, uri: str) -> bytes:
        if uri not in self.objects:
            raise FileNotFoundError(uri)
        return self.objects[uri]


class Known:
    """A registry's schemas by their ids."""

    def __init__(self, **schemas: Any) -> None:
        self.schemas = {name.removeprefix("_"): json.dumps(one) for name, one in schemas.items()}

    def find(self, schema: str) -> Definition:
        if schema not in self.schemas:
            raise UnknownSchema(f"the schema registry has no schema {schema}")
        return Definition(self.schemas[schema])


def reading(schemas: Any = None, given: Given | None = None, **settings: Any) -> Decode:
    config = SourceConfig(
        "p", "n", "s", "raw", "state", RowContract(), stream=Stream("kafka", "t", **settings)
    )
    storage: Any = given or Given()
    return decoder(config, storage, schemas)


def only(found: Any) -> Any:
    (line,) = found
    assert isinstance(line, bytes) and b"\n" not in line and b"\r" not in line
    return json.loads(line)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, min_size=1, max_size=4), st.sampled_from([None, 2]), st.data())
def test_json_objects_come_alone_in_a_list_or_one_after_another(
    some: list[dict[str, Any]], indent: int | None, data: st.DataObject
) -> None:
    texts = [json.dumps(one, indent=indent) for one in some]
    between = data.draw(st.sampled_from(["", "\n", " \r\n\t"]))
    written = data.draw(st.sampled_from([f"[{','.join(texts)}]", between.join(texts)]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    found = json_objects(written.encode(encoding))
    assert [only([one]) for one in found] == some


def test_json_keeps_its_very_bytes_and_every_digit() -> None:
    text = b'{"a":1.10,"b":0.1234567890123456789,"c":12345678901234567890123}'
    assert json_objects(b" %b\n" % text) == [text]
    assert json_objects(b"[%b]" % text) == [text]
    assert json_objects(b"%b %b" % (text, text)) == [text, text]
    assert json_objects(b'{"a":\r\n 1}') == [b'{"a":   1}']


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_bytes_break_the_reader_of_json(data: bytes) -> None:
    try:
        found = json_objects(data)
    except Rejected:
        return
    for one in found:
        if isinstance(one, bytes):
            assert isinstance(parse(one), dict) and b"\n" not in one


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def sized(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def aggregated(records: list[bytes]) -> bytes:
    """What the Kinesis Producer Library makes of records."""
    message = b"".join(sized(1, b"key %d" % n) for n in range(len(records)))
    message += sized(2, b"12345") + b"".join(
        sized(
            3,
            varint(1 << 3) + varint(n) + varint(2 << 3) + varint(0)
            + sized(3, one) + sized(4, sized(1, b"tag")),
        )
        for n, one in enumerate(records)
    )  # fmt: skip
    return MAGIC + message + md5(message, usedforsecurity=False).digest()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_records_of_the_kinesis_producer_library_are_taken_apart(records: list[bytes]) -> None:
    assert user_records(aggregated(records)) == [(f"key {n}", one) for n, one in enumerate(records)]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80))
def test_what_is_not_aggregated_is_one_record(data: bytes) -> None:
    assert user_records(data) == [(None, data)]
    assert user_records(MAGIC + data + bytes(16)) == [(None, MAGIC + data + bytes(16))]
    broken = MAGIC + data + md5(data, usedforsecurity=False).digest()
    try:
        user_records(broken)
    except ValueError as error:
        assert str(error).startswith(("it ", "its ", "a number"))


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {
            "name": "amount",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 4},
        },
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "raw", "type": "bytes"},
        {"name": "rate", "type": "double"},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "more", "type": {"type": "map", "values": "int"}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
    ],
}
orders = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "name": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        "amount": st.decimals(
            -(Decimal(10) ** 20), Decimal(10) ** 20, places=4, allow_nan=False, allow_infinity=False
        ),
        "day": st.dates(date(1971, 1, 1), date(2200, 1, 1)),
        "at": st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        "raw": st.binary(max_size=20),
        "rate": st.floats(),
        "key": st.uuids(),
        "tags": st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=3),
        "more": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
        "state": st.sampled_from(["NEW", "PAID"]),
    }
)
PARSED = fastavro.parse_schema(SCHEMA)


def avro(row: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, PARSED, row)
    return file.getvalue()


def from_file(row: dict[str, Any]) -> Any:
    """What the reader of Avro files makes of a row."""
    file = io.BytesIO()
    fastavro.writer(file, PARSED, [row])
    file.seek(0)
    (found,) = fastavro.reader(file)
    assert isinstance(found, dict)
    return json_value(found)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(orders)
def test_avro_gives_the_texts_that_avro_files_give_whatever_its_framing(
    row: dict[str, Any],
) -> None:
    plain = reading(
        given=Given(schema=json.dumps(SCHEMA).encode()), format="avro", avro_schema="schema"
    )
    known = Known(**{"_7": SCHEMA, str(VERSION): SCHEMA})
    glue = reading(known, format="avro", registry=GLUE)
    confluent = reading(known, format="avro", registry=CONFLUENT)
    data = avro(row)
    lines = [
        only_line(plain(data)),
        only_line(glue(b"\x03\x00" + VERSION.bytes + data)),
        only_line(glue(b"\x03\x05" + VERSION.bytes + zlib.compress(data))),
        only_line(confluent(b"\x00\x00\x00\x00\x07" + data)),
    ]
    assert len(set(lines)) == 1
    wanted = from_file(row)
    assert {name: str(value) for name, value in parse(lines[0]).items()} == {
        name: str(value) for name, value in wanted.items()
    }


def only_line(found: Any) -> bytes:
    (line,) = found
    assert isinstance(line, bytes)
    return line


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_avro(data: bytes) -> None:
    read = reading(Known(_7=SCHEMA), format="avro", registry=CONFLUENT)
    for record in (data, b"\x00\x00\x00\x00\x07" + data):
        try:
            assert isinstance(only(read(record)), dict)
        except Rejected as error:
            assert str(error)


@pytest.mark.parametrize("depth", [100, 410, 490, 497, 1_000, 3_000_000])
def test_records_of_a_recursive_schema_are_read_as_deep_as_others_are(depth: int) -> None:
    node = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
    decode = reading(Known(_7=node), format="avro", registry=CONFLUENT)
    record = bytes([0, 0, 0, 0, 7]) + b"\x02" * depth + b"\x00"
    if depth <= 100:
        assert b'"next":null' in only_line(decode(record))
        return
    with pytest.raises(Rejected):
        decode(record)


@pytest.mark.parametrize(
    ("registry", "data", "reason"),
    [
        (GLUE, b"{}", "does not begin with the header of the Glue"),
        (GLUE, b"\x03\x07" + VERSION.bytes, "names a compression 7"),
        (GLUE, b"\x03\x05" + VERSION.bytes + b"no", "not packed as its header says"),
        (GLUE, b"\x03\x05" + VERSION.bytes + zlib.compress(b"a" * 99)[:-6], "ends too early"),
        (
            GLUE,
            b"\x03\x05" + VERSION.bytes + zlib.compress(bytes(MAX_UNPACKED_BYTES + 9)),
            "bytes unpacked",
        ),
        (GLUE, b"\x03\x00" + VERSION.bytes, f"has no schema {VERSION}"),
        (CONFLUENT, b"\x01\x00\x00\x00\x07", "header of a Confluent"),
        (CONFLUENT, b"\x00\x00\x00\x00\x09x", "has no schema 9"),
        (CONFLUENT, b"\x00\x00\x00\x00\x08\x02", "of a single value"),
        (CONFLUENT, b"\x00\x00\x00\x00\x06\x02", "schema 6 is no Avro schema"),
        (CONFLUENT, b"\x00\x00\x00\x00\x05\x02\x02", "bytes left"),
    ],
)
def test_records_that_no_schema_fits_are_rejected(
    registry: Registry, data: bytes, reason: str
) -> None:
    one = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}
    known = Known(_8="int", _6={"type": "nothing"}, _5=one)
    with pytest.raises(Rejected, match=reason):
        reading(known, format="avro", registry=registry)(data)


@pytest.mark.parametrize("text", [b"{}", b"0"])
def test_a_record_of_more_values_than_memory_takes_is_rejected(text: bytes) -> None:
    many = b"[" + b",".join([text] * 500_001) + b"]"
    for written in (many, gzip.compress(many)):
        with pytest.raises(Rejected, match="more than 500000 values"):
            json_objects(written)


@pytest.mark.parametrize("kind", [{"type": "bytes"}, {"type": "fixed", "size": 9, "name": "D"}])
def test_decimals_keep_digits_beyond_their_schemas_precision(kind: dict[str, Any]) -> None:
    money = kind | {"logicalType": "decimal", "precision": 4, "scale": 2}
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": money}]}
    unscaled = (-123_456_789_012_345_678_901).to_bytes(9, "big", signed=True)
    data = unscaled if kind["type"] == "fixed" else bytes([18]) + unscaled
    decode = reading(Known(_7=schema), format="avro", registry=CONFLUENT)
    line = only_line(decode(bytes([0, 0, 0, 0, 7]) + data))
    assert line == b'{"a":-1234567890123456789.01}'


def test_json_may_be_packed_with_gzip() -> None:
    text = b'{"owner":"123","logEvents":[{"id":"1"}]}'
    members = gzip.compress(text) + gzip.compress(b' {"a":1}')
    assert json_objects(gzip.compress(text)) == [text]
    assert json_objects(members) == [text, b'{"a":1}']
    confluent = reading(format="json", registry=CONFLUENT)
    assert confluent(bytes(5) + gzip.compress(text)) == [text]
    for broken, why in (
        (gzip.compress(text)[:-3], "ends too early"),
        (gzip.compress(text) + b"no gzip", "not packed as it begins"),
        (gzip.compress(b" " * (MAX_UNPACKED_BYTES + 1)), "bytes unpacked"),
        (gzip.compress(b" " * MAX_UNPACKED_BYTES) + gzip.compress(text), "bytes unpacked"),
    ):
        with pytest.raises(Rejected, match=why):
            json_objects(broken)


def test_json_behind_a_registrys_header() -> None:
    read = reading(Known(), registry=CONFLUENT)
    assert only(read(b'\x00\x00\x00\x00\x07{"a": 1}')) == {"a": 1}
    with pytest.raises(Rejected):
        read(b'{"a": 1}')


def descriptors() -> bytes:
    """``shop.Order`` and what it uses."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    first = file.message_type.add(name="Address")
    first.field.add(name="city", number=1, type=kinds.TYPE_STRING, label=1)
    state = file.enum_type.add(name="State")
    state.value.add(name="NEW", number=0)
    state.value.add(name="PAID", number=1)
    order = file.message_type.add(name="Order")
    order.oneof_decl.add(name="_note")
    line = order.nested_type.add(name="Line")
    line.field.add(name="sku", number=1, type=kinds.TYPE_STRING, label=1)
    counts = order.nested_type.add(name="CountsEntry")
    counts.options.map_entry = True
    counts.field.add(name="key", number=1, type=kinds.TYPE_BOOL, label=1)
    counts.field.add(name="value", number=2, type=kinds.TYPE_INT64, label=1)
    for number, (name, kind, label, more) in enumerate(
        [
            ("order_id", kinds.TYPE_INT64, 1, {}),
            ("amount", kinds.TYPE_DOUBLE, 1, {}),
            ("raw", kinds.TYPE_BYTES, 1, {}),
            ("state", kinds.TYPE_ENUM, 1, {"type_name": ".shop.State"}),
            ("note", kinds.TYPE_STRING, 1, {"proto3_optional": True, "oneof_index": 0}),
            ("to", kinds.TYPE_MESSAGE, 1, {"type_name": ".shop.Address"}),
            ("lines", kinds.TYPE_MESSAGE, 3, {"type_name": ".shop.Order.Line"}),
            ("counts", kinds.TYPE_MESSAGE, 3, {"type_name": ".shop.Order.CountsEntry"}),
            ("at", kinds.TYPE_MESSAGE, 1, {"type_name": ".google.protobuf.Timestamp"}),
        ],
        1,
    ):
        order.field.add(name=name, number=number, type=kind, label=label, **more)
    found = descriptor_pb2.FileDescriptorSet()
    timestamp_pb2.DESCRIPTOR.CopyToProto(found.file.add())
    found.file.append(file)
    return bytes(found.SerializeToString())


DESCRIPTORS = descriptors()


def order(**fields: Any) -> bytes:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS).file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    made = kind(**fields)
    return bytes(made.SerializeToString())


def protobuf(registry: Registry | None = None, message: str = "shop.Order") -> Decode:
    return reading(
        Known() if registry else None,
        Given(set=DESCRIPTORS),
        format="protobuf",
        descriptors="set",
        message=message,
        registry=registry,
    )


def test_protobuf_messages_become_json_values() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 5_000, UTC)
    data = order(
        order_id=2**62 + 1,
        amount=float("inf"),
        raw=b"\xff",
        state=1,
        to={"city": "Ulm"},
        lines=[{"sku": "a"}, {}],
        counts={True: 3},
        at=moment,
    )
    assert only(protobuf()(data)) == {
        "order_id": 2**62 + 1,
        "amount": "Infinity",
        "raw": "/w==",
        "state": "PAID",
        "note": None,
        "to": {"city": "Ulm"},
        "lines": [{"sku": "a"}, {"sku": ""}],
        "counts": {"true": 3},
        "at": moment.isoformat(),
    }
    assert only(protobuf()(b""))["at"] is None


def test_fields_that_the_descriptors_lack_are_kept_by_their_numbers() -> None:
    newer = sized(6, sized(1, b"Ulm") + sized(2, b"89073")) + varint(20 << 3) + varint(5)
    newer += sized(21, b"a") + sized(21, b"b") + varint(22 << 3 | 5) + bytes([1, 0, 0, 0])
    newer += varint(23 << 3 | 3) + varint(1 << 3) + varint(9) + varint(23 << 3 | 4)
    found = only(protobuf()(order(order_id=1) + newer))
    assert found["to"] == {"city": "Ulm", "_unknown": {"2": "ODkwNzM="}}
    assert found["order_id"] == 1
    assert found["_unknown"] == {"20": 5, "21": ["YQ==", "Yg=="], "22": 1, "23": {"1": 9}}


def test_proto2_has_its_defaults_groups_and_extensions() -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package="old", syntax="proto2")
    kind = file.message_type.add(name="Old")
    kind.extension_range.add(start=100, end=200)
    more = kind.nested_type.add(name="More")
    more.field.add(name="a", number=1, type=kinds.TYPE_INT32, label=1)
    kind.field.add(name="id", number=1, type=kinds.TYPE_INT32, label=2)
    kind.field.add(name="tone", number=2, type=kinds.TYPE_STRING, label=1, default_value="mild")
    kind.field.add(name="more", number=3, type=kinds.TYPE_GROUP, label=1, type_name=".old.Old.More")
    file.extension.add(
        name="added", number=100, type=kinds.TYPE_SINT32, label=1, extendee=".old.Old"
    )
    file.extension.add(name="all", number=101, type=kinds.TYPE_STRING, label=3, extendee=".old.Old")
    described = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    messages = Protobuf(described, "old.Old", None)
    group = varint(3 << 3 | 3) + varint(1 << 3) + varint(7) + varint(3 << 3 | 4)
    added = varint(100 << 3) + varint(3) + sized(101, b"x") + sized(101, b"y")
    assert messages.read(varint(1 << 3) + varint(5) + group + added) == {
        "id": 5,
        "tone": None,
        "more": {"a": 7},
        "[old.added]": -2,
        "[old.all]": ["x", "y"],
    }
    # What a record must have is the contract's to say.
    assert messages.read(group) == {"id": None, "tone": None, "more": {"a": 7}}


def test_registries_headers_name_the_message() -> None:
    data = order(order_id=5)
    glue, confluent = protobuf(GLUE), protobuf(CONFLUENT)
    assert only(glue(b"\x03\x00" + VERSION.bytes + b"\x01" + data))["order_id"] == 5
    head = b"\x00\x00\x00\x00\x07"
    assert only(confluent(head + b"\x02\x02" + data))["order_id"] == 5
    assert only(confluent(head + b"\x00" + b"\x0a\x03Ulm")) == {"city": "Ulm"}
    assert only(confluent(head + b"\x04\x02\x00" + b"\x0a\x01x")) == {"sku": "x"}
    for broken in (b"", b"\x02\x08", b"\x01", b"\xff" * 11):
        with pytest.raises(Rejected, match="names no message"):
            confluent(head + broken)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_protobuf(data: bytes) -> None:
    read = protobuf(CONFLUENT)
    for record in (data, b"\x00\x00\x00\x00\x07\x02\x02" + data):
        try:
            assert isinstance(only(read(record)), dict)
        except Rejected as error:
            assert "message" in str(error) or "header" in str(error)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"format": "avro"}, "avroSchema: the format needs it"),
        ({"format": "avro", "avro_schema": "gone"}, "there is no such object"),
        ({"format": "avro", "avro_schema": "text"}, "is no Avro schema"),
        ({"format": "protobuf", "descriptors": "text", "message": "a.B"}, "no FileDescriptorSet"),
        ({"format": "protobuf", "descriptors": "set", "message": "a.B"}, "have no message 'a.B'"),
    ],
)
def test_what_is_given_wrongly_is_named(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        reading(given=Given(text=b"no", set=DESCRIPTORS), **settings)


def test_stretches_of_time_are_seconds() -> None:
    assert json_value(timedelta(minutes=1, milliseconds=500)) == 60.5


def test_the_examples_descriptors_read_its_message() -> None:
    folder = Path(__file__).parents[3] / "examples/stream"
    spec = yaml.safe_load((folder / "msk.yaml").read_text())["spec"]["source"]["stream"]
    descriptors = base64.b64decode("".join(spec["protobuf"]["descriptors"].split()))
    messages = Protobuf(descriptors, spec["protobuf"]["message"], None)
    read = messages.read(b"\x08\x01\x10\x64\x1a\x03EUR")
    assert read == {"id": 1, "amount_cents": 100, "currency": "EUR"}
