"""The two functions of a stream by their entry points, with what Lambda sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from lambdas.streams.rig import BASE, MAPPING, Rig, kinesis
from weir_contract.codec import dumps
from weir_contract.moments import iso
from weir_contract.sources import Registry
from weir_contract.state import run_sk, source_pk
from weir_lambdas.common import aws as clients
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import SourceUnavailable
from weir_lambdas.stream_processor.handler import handler as ingest
from weir_lambdas.stream_processor.receive import handler as receive


class Context:
    """Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture
def deployed(
    ministack: str, monkeypatch: pytest.MonkeyPatch, aws: Any, stream_rig: Callable[..., Rig]
) -> Iterator[Callable[..., Rig]]:
    """Makes a source whose configuration is where the functions read it."""

    def deploy(**settings: Any) -> Rig:
        created = aws("stepfunctions").create_state_machine(
            name=f"m{uuid4().hex}",
            definition='{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":300,"End":true}}}',
            roleArn="arn:aws:iam::000000000000:role/x",
        )
        rig = stream_rig(machine=str(created["stateMachineArn"]), **settings)
        rig.clock = SystemClock()
        key = f"config/{uuid4().hex}.json"
        body = dumps(rig.config).encode()
        rig.s3.put_object(Bucket=rig.config.raw_bucket, Key=key, Body=body)
        for name, value in {
            "AWS_ENDPOINT_URL": ministack,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "WEIR_CONFIG": f"s3://{rig.config.raw_bucket}/{key}",
            "WEIR_MAPPINGS": f"{MAPPING},",
        }.items():
            monkeypatch.setenv(name, value)
        return rig

    clients.client.cache_clear()
    yield deploy
    clients.client.cache_clear()


def objects(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(n, json.dumps({"id": n}).encode()) for n in range(first, last + 1)]


def test_records_go_from_lambdas_events_to_a_manifest(
    deployed: Callable[..., Rig], aws: Any
) -> None:
    rig = deployed(seal_bytes=1)
    for _ in range(2):
        assert receive(kinesis(objects(1, 3)), Context()) == {"batchItemFailures": []}
    assert rig.config.stream is not None
    listed = aws("stepfunctions").list_executions(stateMachineArn=rig.config.stream.machine)
    (execution,) = listed["executions"]
    rig.give_up(kinesis(objects(4, 5)), "a", timestamp=iso(rig.clock.now()))
    arrival = {"execution": execution["executionArn"], "input": {"arrival": True}}
    landed = ingest(arrival, Context())
    assert landed | {"bytes": 0} == {
        "run": execution["name"],
        "sequence": 1,
        "rows": 3,
        "bytes": 0,
        "complete": True,
    }
    ingest({"run": "r2", "scheduledTime": "2026-11-23T08:00:00Z"}, Context())
    ingest({"run": "r3", "scheduledTime": "2026-11-23T08:05:00Z"}, Context())
    assert [row["id"] for row in rig.records()] == [1, 2, 3, 4, 5]
    told = ingest(
        {"action": "fail", "run": "r4", "error": {"Error": "LeaseHeld", "Cause": "busy"}}, Context()
    )
    assert told["subject"] == "Weir: DataSource shop/clicks failed: LeaseHeld"
    record = rig.table.get(source_pk(rig.config.id), run_sk("r4"))
    assert record is not None and '"Failed"' in record["body"]


def test_what_keeps_records_from_being_received_fails_the_run_until_they_are(
    deployed: Callable[..., Rig], aws: Any
) -> None:
    nowhere = Registry("confluent", "http://registry.invalid")
    rig = deployed(registry=nowhere, format="avro")
    assert rig.config.stream is not None
    for _ in range(2):
        receive(kinesis([(0, b"no header"), (1, b"\x00\x00\x00\x00\x07\x02")]), Context())
    listed = aws("stepfunctions").list_executions(stateMachineArn=rig.config.stream.machine)
    assert len(listed["executions"]) == 1
    told = "reached: records of shard shardId-000000000000 of the stream clicks wait from"
    for number in range(2):
        with pytest.raises(SourceUnavailable, match=told):
            ingest({"run": f"r{number}", "input": {"arrival": True}}, Context())
    assert [one.quarantined for one in rig.manifests()] == [1]
    receive(kinesis([(1, b"no header")]), Context())
    assert ingest({"run": "r3", "input": {"arrival": True}}, Context())["complete"]


def test_what_keeps_a_given_up_batch_from_being_taken_fails_the_run_after_the_landing(
    deployed: Callable[..., Rig],
) -> None:
    nowhere = Registry("confluent", "http://registry.invalid")
    rig = deployed(registry=nowhere, format="avro")
    data = b"\x00\x00\x00\x00\x07\x02"
    failed = {"batchItemFailures": [{"itemIdentifier": str(BASE + 1)}]}
    assert receive(kinesis([(1, data)]), Context()) == failed
    assert receive(kinesis([(0, b"no header")]), Context()) == {"batchItemFailures": []}
    rig.give_up(kinesis([(1, data)]), "a", timestamp=iso(rig.clock.now()))
    with pytest.raises(SourceUnavailable, match="schema registry could not be reached"):
        ingest({"run": "r1"}, Context())
    assert [one.quarantined for one in rig.manifests()] == [1]
