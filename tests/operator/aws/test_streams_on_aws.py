"""Streams, consumers and mappings, where AWS takes its time and has its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from weir.aws.base import ServiceAdapter
from weir.aws.errors import Conflict, Invalid, NotYet
from weir.aws.kinesis import Consumer, Stream
from weir.aws.mappings import EventSourceMapping
from weir.aws.session import AwsSession
from weir.reconcile.diff import changes
from weir.resource import Observed, Resource

pytestmark = pytest.mark.aws

TAGS = {"weir.dev/cluster": "test", "weir.dev/name": "clicks"}
STEPS = 6


def stream(name: str, **properties: Any) -> Resource:
    mode = {"StreamModeDetails": {"StreamMode": "PROVISIONED"}, "ShardCount": 1}
    return Resource("kinesis.Stream", "stream", name, {**mode, **properties})


def brought(adapter: ServiceAdapter, resource: Resource) -> list[Observed]:
    """What was seen after each update, until nothing differs."""
    seen: list[Observed] = []
    for _ in range(STEPS):
        there = adapter.observe([resource.name])[resource.name]
        left = changes(resource, there, adapter.traits)
        if not left:
            return seen
        try:
            seen.append(adapter.update(resource, there, left, TAGS))
        except NotYet:
            continue
    raise AssertionError(f"{resource.name} is not as wanted after {STEPS} updates: {left}")


@pytest.fixture
def made(session: AwsSession, name: str) -> Iterator[str]:
    """A stream of one shard."""
    adapter = Stream(session)
    adapter.create(stream(name), TAGS)
    yield name
    adapter.delete(adapter.observe([name])[name])


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "weir-test-" + request.node.name.replace("_", "-")[:60].lower()


def test_shards_are_doubled_step_by_step_until_there_are_as_many(
    session: AwsSession, made: str
) -> None:
    adapter = Stream(session)
    counts = [one.properties["ShardCount"] for one in brought(adapter, stream(made, ShardCount=5))]
    assert counts == [2, 4, 5]
    counts = [one.properties["ShardCount"] for one in brought(adapter, stream(made, ShardCount=1))]
    assert counts[-1] == 1
    assert len(counts) >= 3


def test_mode_and_retention_are_changed_in_place(session: AwsSession, made: str) -> None:
    adapter = Stream(session)
    on_demand = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "RetentionPeriodHours": 72}
    brought(adapter, Resource("kinesis.Stream", "stream", made, on_demand))
    seen = adapter.observe([made])[made]
    assert seen.properties["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert seen.properties["RetentionPeriodHours"] == 72
    brought(adapter, stream(made, RetentionPeriodHours=24))
    assert adapter.observe([made])[made].properties["RetentionPeriodHours"] == 24


def test_a_stream_of_somebody_else_is_not_taken(session: AwsSession, made: str) -> None:
    with pytest.raises(Conflict):
        Stream(session).create(stream(made), {**TAGS, "weir.dev/name": "other"})


def test_a_stream_is_found_by_its_arn_and_none_by_another(session: AwsSession, made: str) -> None:
    adapter = Stream(session)
    arn = adapter.observe([made])[made].attributes["arn"]
    assert adapter.observe([arn, f"{arn}x"]).keys() == {arn}


def test_a_consumer_is_of_its_stream(session: AwsSession, made: str) -> None:
    arn = Stream(session).observe([made])[made].attributes["arn"]
    adapter = Consumer(session)
    resource = Resource("kinesis.Consumer", "consumer", f"{arn}|reader")
    seen = adapter.create(resource, TAGS)
    assert seen.attributes["arn"].startswith(f"{arn}/consumer/reader:")
    assert adapter.create(resource, TAGS).attributes["arn"] == seen.attributes["arn"]
    adapter.delete(adapter.observe([resource.name])[resource.name])
    with pytest.raises(Invalid, match=r"no streamArn\|consumerName"):
        adapter.observe([arn])


def listed(session: AwsSession, **fields: Any) -> Observed:
    """A mapping as AWS lists one of function ``receive``."""
    function = session.arn("lambda", "function:receive")
    return EventSourceMapping(session)._observed({"UUID": "u", "FunctionArn": function, **fields})


def test_a_mapping_has_the_name_of_its_stream_also_through_a_consumer(session: AwsSession) -> None:
    arn = session.arn("kinesis", "stream/clicks")
    assert listed(session, EventSourceArn=arn).name == f"receive|{arn}"
    assert listed(session, EventSourceArn=f"{arn}/consumer/r:17").name == f"receive|{arn}"


@pytest.mark.parametrize(
    "cluster",
    [
        {"EventSourceArn": "arn:aws:kafka:eu-central-1:111122223333:cluster/shop/1"},
        {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["b:9092"]}}},
    ],
)
def test_a_mapping_of_kafka_has_the_name_of_its_topic(
    session: AwsSession, cluster: dict[str, Any]
) -> None:
    assert listed(session, Topics=["orders"], **cluster).name == "receive|kafka:orders"


def test_a_mapping_that_aws_gives_back_in_another_order_is_no_change(session: AwsSession) -> None:
    access = [
        {"Type": "VPC_SUBNET", "URI": "subnet:a"},
        {"Type": "SASL_SCRAM_512_AUTH", "URI": "arn:secret"},
    ]
    servers = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["b:1", "a:1"]}}
    wanted = {
        "FunctionName": "receive",
        "Enabled": True,
        "Topics": ["orders"],
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": "2026-01-31T00:00:00Z",
        "SourceAccessConfigurations": access,
        "SelfManagedEventSource": servers,
        "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::q"}},
    }
    given = {
        **{key: value for key, value in wanted.items() if key not in ("Enabled", "FunctionName")},
        "State": "Enabled",
        "SourceAccessConfigurations": access[::-1],
        "DestinationConfig": {"OnSuccess": {}, **wanted["DestinationConfig"]},
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:1", "b:1"]}},
    }
    resource = Resource("lambda.EventSourceMapping", "mapping", "receive|kafka:orders", wanted)
    adapter = EventSourceMapping(session)
    assert changes(resource, listed(session, **given), adapter.traits) == ()
    moved = replace(resource, properties={**wanted, "Topics": ["payments"]})
    (change,) = changes(moved, listed(session, **given), adapter.traits)
    assert change.path in adapter.traits.immutable


def test_a_problem_of_a_mapping_is_told(session: AwsSession) -> None:
    arn = session.arn("kinesis", "stream/clicks")
    trouble = "PROBLEM: Lambda failed to assume your function execution role."
    seen = listed(session, EventSourceArn=arn, State="Enabled", LastProcessingResult=trouble)
    assert seen.detail == trouble
    assert seen.attributes["problem"] == f"{arn}: Lambda's pollers say: {trouble[9:]}"
    well = listed(session, EventSourceArn=arn, State="Enabled", LastProcessingResult="OK")
    assert (well.detail, well.attributes["problem"]) == ("", "")
