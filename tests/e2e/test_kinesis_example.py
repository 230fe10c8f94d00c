"""Records of a Kinesis stream end as rows in the warehouse, each once, across a reshard."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import yaml

from e2e.running import Object, Running, condition, is_ready, until
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

NAME, TABLE = "clicks", "web.clicks"
POISON = b"\xff this is no JSON"
WAIT_SECONDS = 240


def put(running: Running, first: int, count: int, *more: bytes) -> None:
    """Clicks with these numbers, and what else, over all shards."""
    bodies = [
        json.dumps({"clickId": n, "page": f"/p/{n}", "clickedAt": "2026-01-31T10:00:00Z"}).encode()
        for n in range(first, first + count)
    ]
    records = [
        {"Data": body, "PartitionKey": str(n)} for n, body in enumerate([*bodies, *more], first)
    ]
    answer = running.aws("kinesis").put_records(StreamName=stream(running), Records=records)
    assert answer["FailedRecordCount"] == 0


def stream(running: Running) -> str:
    return running.resource("dsrc", NAME, "stream")["name"]


def mapping(running: Running) -> Any:
    name = running.resource("dsrc", NAME, "receive")["name"]
    (found,) = running.aws("lambda").list_event_source_mappings(FunctionName=name)[
        "EventSourceMappings"
    ]
    return found


def clicks(running: Running) -> list[int]:
    return [row["clickid"] for row in running.query(f"select clickId from {TABLE} order by 1")]


def loaded(running: Running, expected: list[int]) -> None:
    def there() -> bool:
        running.run(NAME)
        return clicks(running) == expected

    until(there, f"{TABLE} has not the clicks {expected[0]} to {expected[-1]}", WAIT_SECONDS)


@pytest.fixture(scope="module")
def reading(running: Running) -> Object:
    """The source, once its stream is there and read."""
    running.apply(yaml.safe_load((ROOT / "examples/stream/kinesis.yaml").read_text()))
    found: Object = running.wait("dsrc", NAME, is_ready, WAIT_SECONDS)
    return found


def test_records_before_and_after_a_reshard_are_loaded_each_once(
    running: Running, reading: Object
) -> None:
    put(running, 0, 30, POISON)
    loaded(running, list(range(30)))
    put(running, 30, 15)
    sharding = {"create": {"mode": "provisioned", "shards": 4, "retentionHours": 48}}
    running.patch("dsrc", NAME, {"spec": {"source": {"stream": {"kinesis": sharding}}}})
    running.wait("dsrc", NAME, is_ready, WAIT_SECONDS)
    summary = running.aws("kinesis").describe_stream_summary(StreamName=stream(running))
    assert summary["StreamDescriptionSummary"]["OpenShardCount"] == 4
    put(running, 45, 15)
    loaded(running, list(range(60)))


def test_a_record_that_is_no_json_is_in_quarantine_with_its_place(
    running: Running, reading: Object
) -> None:
    bucket = running.bucket("quarantine")
    rows = [
        json.loads(line)
        for key in running.keys("quarantine", f"default/{NAME}/")
        for line in gzip.decompress(
            running.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        ).splitlines()
    ]
    (row,) = rows
    assert "shardId-" in row["reason"], row


def test_the_stream_is_encrypted_and_watched(running: Running, reading: Object) -> None:
    summary = running.aws("kinesis").describe_stream_summary(StreamName=stream(running))
    described = summary["StreamDescriptionSummary"]
    assert described["EncryptionType"] == "KMS"
    assert described["RetentionPeriodHours"] == 48
    name = running.resource("dsrc", NAME, "alarm-lag")["name"]
    (alarm,) = running.aws("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("IteratorAge", 30 * 60 * 1000.0)


def test_a_suspended_stream_waits_and_goes_on_where_it_was(
    running: Running, reading: Object
) -> None:
    running.patch("dsrc", NAME, {"spec": {"suspend": True}})
    until(lambda: mapping(running)["State"] == "Disabled", "the mapping is not off", WAIT_SECONDS)
    before = mapping(running)["UUID"]
    put(running, 60, 5)
    running.patch("dsrc", NAME, {"spec": {"suspend": False}})
    until(lambda: mapping(running)["State"] == "Enabled", "the mapping is not on", WAIT_SECONDS)
    assert mapping(running)["UUID"] == before
    loaded(running, list(range(65)))


def test_the_stream_stays_when_the_source_goes(running: Running, reading: Object) -> None:
    name = stream(running)
    function = running.resource("dsrc", NAME, "receive")["name"]
    running.kubectl("delete", "dsrc", NAME, "--timeout=180s")
    found = running.aws("lambda").list_event_source_mappings(FunctionName=function)
    assert found["EventSourceMappings"] == []
    summary = running.aws("kinesis").describe_stream_summary(StreamName=name)
    assert summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    running.aws("kinesis").delete_stream(StreamName=name)


def test_a_stream_that_is_not_there_is_named(running: Running) -> None:
    resource = yaml.safe_load((ROOT / "examples/stream/fan-out.yaml").read_text())
    resource["metadata"]["name"] = "nowhere"
    running.apply(resource)
    found = running.wait(
        "dsrc", "nowhere", lambda obj: condition(obj, "Ready").get("status") == "False"
    )
    assert "stream/telemetry" in condition(found, "Ready")["message"]
    running.kubectl("delete", "dsrc", "nowhere", "--timeout=60s")
