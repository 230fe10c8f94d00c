"""From what Lambda delivers of a stream to committed manifests."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from lambdas.streams.rig import BASE, Rig, kafka, kinesis
from told_metrics import sums
from weir_contract.rows import DeletionMark, Field, RowContract
from weir_contract.sources import Registry
from weir_contract.state import SETTLED, source_pk
from weir_lambdas.common.errors import SourceUnauthorized, SourceUnavailable
from weir_lambdas.stream_processor import sealing
from weir_lambdas.stream_processor.registry import Definition, UnknownSchema
from weir_lambdas.stream_processor.sweeping import sweep

SCHEMA = json.dumps(
    {"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]}
).encode()


def objects(first: int, last: int) -> list[tuple[int, bytes]]:
    """Records ``{"id": n}`` numbered from first to last."""
    return [(n, json.dumps({"id": n}).encode()) for n in range(first, last + 1)]


def ids(rig: Rig) -> list[int]:
    return [row["id"] for row in rig.records()]


def seal(rig: Rig, run: str, **more: Any) -> Any:
    rig.clock.sleep(1)
    return rig.seal(run, **more)


def test_received_records_are_sealed_into_one_manifest_in_their_order(stream: Rig) -> None:
    assert stream.receive(kinesis(objects(1, 5))) == {"batchItemFailures": []}
    assert stream.receive(kinesis(objects(6, 7))) == {"batchItemFailures": []}
    assert stream.manifests() == []
    landing = seal(stream, "r1")
    assert (landing.rows, landing.sequence, landing.complete) == (7, 1, True)
    assert ids(stream) == list(range(1, 8))
    (manifest,) = stream.manifests()
    assert manifest.inferred == {"id": "integer"} and len(manifest.parts) == 1
    assert seal(stream, "r2").rows == 0 and len(stream.manifests()) == 1


def test_what_comes_again_in_other_batches_is_dropped(stream: Rig) -> None:
    for first, last in ((1, 4), (1, 4), (2, 6), (5, 9), (1, 9)):
        assert stream.receive(kinesis(objects(first, last))) == {"batchItemFailures": []}
    seal(stream, "r1")
    assert ids(stream) == list(range(1, 10))


def test_shards_have_positions_of_their_own(stream: Rig) -> None:
    stream.receive(kinesis(objects(5, 6)))
    stream.receive(kinesis(objects(1, 2), shard="shardId-000000000001"))
    seal(stream, "r1")
    assert sorted(ids(stream)) == [1, 2, 5, 6]


def test_partitions_of_a_topic_come_in_one_event(stream_rig: Callable[..., Rig]) -> None:
    rig = stream_rig("kafka")
    event = kafka(objects(0, 2))
    event["records"] |= kafka(objects(0, 1), partition=1)["records"]
    assert rig.receive(event) == {"batchItemFailures": []}
    assert rig.receive(kafka(objects(1, 3))) == {"batchItemFailures": []}
    seal(rig, "r1")
    assert ids(rig) == [0, 1, 2, 0, 1, 3]


def test_broken_records_go_to_quarantine_with_their_place_and_block_nothing(stream: Rig) -> None:
    broken = [(1, b"{"), (2, b'{"id": 2}'), (3, b""), (4, b'[{"id": 4}, 5]'), (5, b"\xff")]
    assert stream.receive(kinesis(broken)) == {"batchItemFailures": []}
    landing = seal(stream, "r1")
    assert landing.rows == 2 and ids(stream) == [2, 4]
    assert stream.manifests()[0].quarantined == 4
    found = stream.quarantined()
    where = f"shard shardId-000000000000 of the stream clicks, sequence number {BASE + 1}: "
    assert found[0]["reason"].startswith(f"{where}it is no JSON") and found[0]["record"] == "{"
    assert [row["reason"].rpartition(": ")[2] for row in found[1:3]] == [
        "it is empty",
        "item 2 is no JSON object",
    ]
    assert found[3]["record"] == "base64:/w==" and found[0]["stage"] == "land"


def test_a_batch_of_broken_records_alone_is_sealed_as_well(stream: Rig) -> None:
    stream.receive(kinesis([(1, b"no")]))
    landing = seal(stream, "r1")
    assert landing.rows == 0 and stream.manifests()[0].quarantined == 1
    assert len(stream.quarantined()) == 1


def test_metadata_says_where_a_record_stood(stream_rig: Callable[..., Rig]) -> None:
    rig = stream_rig(metadata=True)
    rig.receive(kinesis([(1, b'{"a": 1.50}'), (2, b"{}"), (3, b'{"_stream": 1, "b": [1]}')], at=5))
    rig.receive(kinesis([(4, b'[{"c": 1}, {"c": 2}]')], at=5))
    seal(rig, "r1")
    rows = rig.records()
    assert rows[0] == {
        "_stream": {
            "stream": "clicks",
            "shard": "shardId-000000000000",
            "sequence": str(BASE + 1),
            "partitionKey": "k",
            "time": "1970-01-01T00:00:05.000Z",
        },
        "a": 1.5,
    }
    assert list(rows[1]) == ["_stream"] and list(rows[2]) == ["_stream", "b"]
    assert [row["_stream"]["index"] for row in rows[3:]] == [0, 1]


def test_kafka_keys_headers_and_tombstones(stream_rig: Callable[..., Rig]) -> None:
    told = {"key": "a2V5", "headers": [{"trace": [97, 98]}, {"trace": [-1]}]}
    rig = stream_rig("kafka", metadata=True)
    rig.receive(kafka([(0, b'{"id": 1}'), (1, None)], **told))
    seal(rig, "r1")
    kept, deleted = rig.records()
    assert kept["_stream"] == {
        "topic": "clicks",
        "partition": 0,
        "offset": 0,
        "time": "2023-11-14T22:13:20.000Z",
        "key": "key",
        "headers": [{"name": "trace", "value": "ab"}, {"name": "trace", "value": "base64:/w=="}],
    }
    assert list(deleted) == ["_stream"] and deleted["_stream"]["tombstone"] is True


@pytest.mark.parametrize(
    "timestamp", [-1, 1_700_000_000_000_000, 2**63 - 1, -(2**63), 253_402_300_800_000]
)
def test_a_record_whose_time_is_none_of_the_calendar_is_landed_without_a_time(
    timestamp: int, stream_rig: Callable[..., Rig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig = stream_rig("kafka", metadata=True)
    event = kafka([(0, b'{"id": 0}'), (1, None), (2, b'{"id": 2}')], key="a2V5")
    for record in event["records"]["clicks-0"][:2]:
        record["timestamp"] = timestamp
    assert rig.receive(event) == {"batchItemFailures": []}
    assert sums(capsys.readouterr().out)["RecordsLate"] == 0
    seal(rig, "r1")
    assert rig.quarantined() == []
    assert [(row["_stream"]["offset"], row["_stream"]["time"]) for row in rig.records()] == [
        (0, None),
        (1, None),
        (2, "2023-11-14T22:13:20.002Z"),
    ]


@pytest.mark.parametrize("metadata", [False, True])
@pytest.mark.parametrize("depth", [350, 401, 900, 985, 992, 997, 5_000])
def test_records_of_any_depth_are_sealed_or_in_quarantine(
    depth: int, metadata: bool, stream_rig: Callable[..., Rig]
) -> None:
    rig = stream_rig(metadata=metadata)
    deep = b'{"u": "\\u0041", "a": ' + b'{"a":' * (depth - 1) + b"1" + b"}" * depth
    records = [(1, deep), (2, b"[" + deep + b"]"), (3, b" " + deep + deep), (4, b'{"id": 4}')]
    assert rig.receive(kinesis(records)) == {"batchItemFailures": []}
    seal(rig, "r1")
    if depth <= 400:
        assert len(rig.records()) == 5 and rig.quarantined() == []
    else:
        assert [row["id"] for row in rig.records()] == [4]
        assert all("nested too deeply" in row["reason"] for row in rig.quarantined())


def test_numbers_and_texts_that_python_can_not_work_with_are_sealed(stream: Rig) -> None:
    texts = [
        b'{"a": 1e9999999}',
        b'{"a": 1e99999999999999999999, "b": 1}',
        b'{"a": -0.0e-99999999999999999999, "b": 2}',
        b'{"a": 1' + b"0" * 5_000 + b"}",
        b'{"t": "cut \\ud83d", "k\\ud83d": "\\ud83d"}',
        b'{"t": "\\u0000", "": {"": []}}',
    ]
    stream.receive(kinesis(list(enumerate(texts, 1))))
    seal(stream, "r1")
    (manifest,) = stream.manifests()
    assert manifest.rows == 6 and manifest.quarantined == 0
    assert manifest.inferred["a"] == "string"


def test_a_broken_record_is_in_quarantine_whole(stream: Rig) -> None:
    texts = ['{"id": "' + "x" * 100_000, '{"id": "' + "y" * 900_000 + '"}}']
    stream.receive(kinesis([(1, texts[0].encode()), (2, texts[1].encode())]))
    seal(stream, "r1")
    assert [row["record"] for row in stream.quarantined()] == texts


def test_a_list_without_objects_takes_no_more_room_than_its_record(stream: Rig) -> None:
    numbers = b"[" + b",".join(b"%d" % n for n in range(100_000)) + b', {"id": 1}, null]'
    stream.receive(kinesis([(1, numbers)]))
    seal(stream, "r1")
    assert ids(stream) == [1] and stream.manifests()[0].quarantined == 2
    first, last = stream.quarantined()
    assert first["reason"].endswith("items 1 to 100000 are no JSON objects")
    assert last["reason"].endswith("item 100002 is no JSON object")
    assert json.loads(f"[{first['record']}]") == list(range(100_000)) and last["record"] == "null"


def test_rejected_records_that_somebody_deleted_hold_up_nothing(stream: Rig) -> None:
    stream.receive(kinesis([(1, b"broken"), (2, b'{"id": 2}')]))
    (queued,) = stream.positions.waiting("9999")
    stream.s3.delete_object(Bucket=stream.config.raw_bucket, Key=queued.received.rejects)
    seal(stream, "r1")
    assert ids(stream) == [2] and stream.manifests()[0].quarantined == 1


def test_without_metadata_a_tombstone_is_counted_and_passed(
    stream_rig: Callable[..., Rig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig = stream_rig("kafka")
    rig.receive(kafka([(0, None)]))
    assert rig.receive(kafka([(0, None), (1, b'{"id": 1}')])) == {"batchItemFailures": []}
    told = sums(capsys.readouterr().out)
    assert (told["Tombstones"], told["RecordsRepeated"], told["RowsReceived"]) == (1, 1, 1)
    seal(rig, "r1")
    assert ids(rig) == [1]


def test_what_keeps_records_waiting_is_told_by_its_kind_until_it_is_past(
    stream_rig: Callable[..., Rig],
) -> None:
    class Locked:
        def __init__(self) -> None:
            self.is_open = False

        def find(self, schema: str) -> Definition:
            if not self.is_open:
                raise SourceUnauthorized(
                    "the schema registry answered 401", "https://r.example.com"
                )
            return Definition(SCHEMA.decode())

    rig = stream_rig(
        "kafka", registry=Registry("confluent", "https://r"), format="avro", partial=True
    )
    rig.restate(machine="arn:seal")
    rig.schemas = locked = Locked()
    record = bytes([0, 0, 0, 0, 7]) + b"\x02"
    for _ in range(3):
        rig.receive(kafka([(5, record)]))
        rig.receive(kafka([(0, b"broken")], partition=1))
        rig.clock.sleep(61)
    assert rig.started == ["arn:seal"]
    standing = rig.waits.standing(rig.positions)
    assert isinstance(standing, SourceUnauthorized)
    assert str(standing).startswith(
        "https://r.example.com: the schema registry answered 401: records of partition 0 of the topic "
        "clicks wait from 5 on. "
    )
    locked.is_open = True
    rig.receive(kafka([(5, record)]))
    assert rig.waits.standing(rig.positions) is None
    locked.is_open, rig.schemas = False, Locked()
    rig.receive(kafka([(6, record)]))
    assert rig.started == ["arn:seal"] * 2 and rig.waits.standing(rig.positions) is not None
    rig.clock.sleep(901)
    assert rig.waits.standing(rig.positions) is None


class Flaky:
    """A registry that can't be reached until it is mended, and knows the schema 1 alone."""

    def __init__(self) -> None:
        self.broken = True

    def find(self, schema: str) -> Definition:
        if schema == "1":
            return Definition(SCHEMA.decode())
        if self.broken:
            raise SourceUnavailable("the schema registry could not be reached", "https://r")
        raise UnknownSchema(f"the schema registry has no schema {schema}")


def confluent(schema: int, value: int) -> bytes:
    return b"\0" + schema.to_bytes(4) + bytes([value << 1])


@pytest.mark.parametrize("kind", ["kinesis", "kafka"])
def test_a_registry_that_cannot_be_reached_loses_nothing(
    kind: str, stream_rig: Callable[..., Rig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig = stream_rig(kind, format="avro", registry=Registry("confluent", "https://r"))
    flaky = rig.schemas = Flaky()
    records = [
        (1, confluent(1, 1)),
        (2, confluent(1, 2)),
        (3, confluent(9, 3)),
        (4, confluent(1, 4)),
    ]
    event = kinesis(records) if kind == "kinesis" else kafka(records)
    place: Any = str(BASE + 3) if kind == "kinesis" else {"partition": "clicks-0", "offset": 3}
    assert rig.receive(event) == {"batchItemFailures": [{"itemIdentifier": place}]}
    assert "could not be reached" in capsys.readouterr().out
    flaky.broken = False
    assert rig.receive(event) == {"batchItemFailures": []}
    seal(rig, "r1")
    assert ids(rig) == [1, 2, 4]
    assert rig.quarantined()[0]["reason"].endswith("the schema registry has no schema 9")


class KeySchemas:
    """A registry: 1 is of values, 2 of keys that are records, 3 of keys that are texts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find(self, schema: str) -> Definition:
        self.asked.append(schema)
        key = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
        known = {"1": SCHEMA.decode(), "2": json.dumps(key), "3": '"string"'}
        if schema not in known:
            raise UnknownSchema(f"the schema registry has no schema {schema}")
        return Definition(known[schema])


LONG = (7).to_bytes(8)
"""A key as Kafka's LongSerializer writes it: it looks like one with an id."""


@pytest.mark.parametrize(
    ("key", "path", "told", "asked"),
    [
        (confluent(2, 7), "_stream.key.id", '{"id":7}', "12"),
        (b"\0\0\0\0\3\x06abc", "_stream.key", "abc", "13"),
        (b'{"id": 7}', "_stream.key.id", '{"id": 7}', "1"),
        (LONG, "_stream.key.id", LONG.decode(), "01"),
        (confluent(2, 7) + b"x", "_stream.key.id", "\0\0\0\0\2\x0ex", "12"),
        (confluent(2, 7) + b"\xff", "_stream.key.id", "base64:AAAAAAIO/w==", "12"),
        # Nothing is told by the key: it is not looked at.
        (confluent(2, 7), "id", "\0\0\0\0\2\x0e", "1"),
    ],
)
def test_a_tombstones_key_in_avro_is_read_where_the_schema_tells_deletions_by_it(
    stream_rig: Callable[..., Rig], key: bytes, path: str, told: str, asked: str
) -> None:
    mark = DeletionMark("_stream.tombstone", (), {"id": path})
    contract = RowContract((Field("id", "id", "integer"),), deletion=mark)
    settings = {"format": "avro", "registry": Registry("confluent", "https://r"), "metadata": True}
    rig = stream_rig("kafka", {"contract": contract}, **settings)
    rig.schemas = registry = KeySchemas()
    keyed = {"key": base64.b64encode(key).decode()}
    rig.receive(kafka([(0, confluent(1, 7)), (1, None)], **keyed))
    seal(rig, "r1")
    kept, deleted = rig.records()
    assert kept["_stream"]["key"] == deleted["_stream"]["key"] == told
    assert deleted["_stream"]["tombstone"] is True
    assert set(registry.asked) == set(asked)


def test_a_tombstones_key_in_json_loses_its_schemas_id(stream_rig: Callable[..., Rig]) -> None:
    mark = DeletionMark("_stream.tombstone", (), {"id": "_stream.key.id"})
    contract = RowContract((Field("id", "id", "integer"),), deletion=mark)
    settings = {"format": "json", "registry": Registry("confluent", "https://r"), "metadata": True}
    rig = stream_rig("kafka", {"contract": contract}, **settings)
    rig.schemas = KeySchemas()
    key = base64.b64encode(b'\0\0\0\0\2{"id": 7}').decode()
    rig.receive(kafka([(0, None)], key=key))
    seal(rig, "r1")
    (deleted,) = rig.records()
    assert deleted["_stream"]["key"] == '{"id": 7}'


def test_a_mapping_that_takes_no_reports_gets_the_failure_itself(
    stream_rig: Callable[..., Rig],
) -> None:
    registry = Registry("confluent", "https://r")
    rig = stream_rig("kafka", format="avro", registry=registry, partial=False)
    rig.schemas = Flaky()
    with pytest.raises(SourceUnavailable):
        rig.receive(kafka([(1, confluent(1, 1)), (2, confluent(9, 2))]))
    rig.schemas.broken = False
    rig.receive(kafka([(1, confluent(1, 1)), (2, confluent(1, 2))]))
    seal(rig, "r1")
    assert ids(rig) == [1, 2]


def test_metrics_tell_what_came_repeats_lag_and_lateness(
    stream: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    now = stream.clock.now().timestamp()
    stream.receive(kinesis(objects(1, 3), at=now - 7))
    seal(stream, "r1")
    capsys.readouterr()
    stream.receive(kinesis(objects(2, 4), at=now - 7))
    stream.receive(kinesis(objects(5, 5), at=now + 1))
    told = sums(capsys.readouterr().out)
    assert told["RecordsReceived"] == 2 and told["RecordsRepeated"] == 2
    assert told["RecordsLate"] == 1 and told["StreamLagSeconds"] == pytest.approx(8)


def test_enough_bytes_start_the_sealer_once(stream_rig: Callable[..., Rig]) -> None:
    rig = stream_rig(seal_bytes=60, machine="arn:machine")
    rig.receive(kinesis(objects(1, 1)))
    assert rig.started == []
    for number in range(2, 6):
        rig.receive(kinesis(objects(number, number)))
    assert rig.started == ["arn:machine"]
    rig.clock.sleep(61)
    rig.receive(kinesis(objects(6, 6)))
    assert rig.started == ["arn:machine"] * 2
    seal(rig, "r1")
    rig.clock.sleep(61)
    rig.receive(kinesis(objects(7, 7)))
    assert len(rig.started) == 2


def test_large_unpacked_records_become_several_objects(stream: Rig) -> None:
    stream.object_bytes = 40
    stream.receive(kinesis(objects(1, 20)))
    assert len(stream.positions.objects()) > 3
    seal(stream, "r1")
    assert ids(stream) == list(range(1, 21))


def test_calls_of_one_shard_at_the_same_time_commit_each_record_once(stream: Rig) -> None:
    answers: list[Any] = []

    def call(first: int, last: int) -> None:
        answers.append(stream.receive(kinesis(objects(first, last))))

    for turn in range(5):
        base = turn * 10
        calls = [(base + 1, base + 6), (base + 1, base + 10), (base + 1, base + 3)]
        threads = [threading.Thread(target=call, args=pair) for pair in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [{"batchItemFailures": []}] * 15
    seal(stream, "r1")
    assert ids(stream) == list(range(1, 51))


def test_a_run_seals_what_waited_at_its_start_over_several_manifests(
    stream: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "OBJECTS_AT_ONCE", 3)
    for number in range(1, 8):
        stream.receive(kinesis(objects(number, number)))
    first = seal(stream, "r1", part_bytes=1)
    assert (first.complete, first.rows) == (False, 3)
    stream.receive(kinesis(objects(8, 8)))
    assert not seal(stream, "r1").complete
    last = seal(stream, "r1")
    assert last.complete and ids(stream) == list(range(1, 8))
    assert seal(stream, "r2").rows == 1
    assert [len(one.parts) for one in stream.manifests()] == [3, 1, 1, 1]


def test_a_death_between_the_manifest_and_the_queue_doubles_nothing(stream: Rig) -> None:
    stream.receive(kinesis(objects(1, 3)))
    stream.receive(kinesis(objects(4, 6)))
    before = list(stream.table.query(source_pk(stream.config.id), "RECEIVED#"))
    seal(stream, "r1")
    for item in before:
        stream.table.put(item.pop("pk"), item.pop("sk"), item)
    stream.table.delete(source_pk(stream.config.id), SETTLED)
    stream.receive(kinesis(objects(7, 7)))
    seal(stream, "r2")
    assert ids(stream) == list(range(1, 8))


def test_sealed_objects_and_those_of_dead_calls_are_removed(stream: Rig) -> None:
    bucket, prefix = stream.config.raw_bucket, f"{stream.config.id}/_received/"
    stream.receive(kinesis([*objects(1, 3), (4, b"no")]))
    waiting = stream.positions.objects()
    orphan = f"{prefix}clicks/shard/1-2-x.jsonl.gz"
    stream.s3.put_object(Bucket=bucket, Key=orphan, Body=b"x")
    now = datetime.now(UTC)
    assert sweep(stream.config, stream.intake()._storage, stream.positions, now) == 0
    later = now.replace(year=now.year + 1)
    assert sweep(stream.config, stream.intake()._storage, stream.positions, later) == 1
    listed = stream.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert {one["Key"] for one in listed} == waiting
    seal(stream, "r1")
    listed = stream.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    assert [one["Key"].endswith(".rejected.jsonl.gz") for one in listed] == [True]


def test_an_object_that_somebody_deleted_is_counted_and_holds_up_nothing(stream: Rig) -> None:
    stream.receive(kinesis(objects(1, 3)))
    (key,) = stream.positions.objects()
    stream.s3.delete_object(Bucket=stream.config.raw_bucket, Key=key)
    stream.receive(kinesis(objects(4, 5)))
    seal(stream, "r1")
    assert ids(stream) == [4, 5] and stream.manifests()[0].quarantined == 3
