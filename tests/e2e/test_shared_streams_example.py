"""Streams and clusters of others, with schemas of registries, from ``kubectl apply`` to rows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import pytest
import yaml

from confluent_registry import Registry
from e2e.running import Object, Running, condition, is_ready, last_run, until
from weir_local.kafka import Broker
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 240
FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "level", "type": "string"},
]
READING = {"type": "record", "name": "Reading", "fields": FIELDS}
LEVELS = [(n, f"level {n}") for n in range(6)]
SOURCES, TOPICS = ("telemetry", "payments"), ("payments", "refunds")
GLUE_HEADER = b"\x03\x00"


def example(name: str) -> Object:
    found: Object = yaml.safe_load((ROOT / f"examples/stream/{name}.yaml").read_text())
    return found


def avro(number: int, level: str) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, READING, {"id": number, "level": level})
    return buffer.getvalue()


def payment(number: int, cents: int) -> bytes:
    """A message of the example's descriptors, with its index as Glue's serializers write it."""
    return bytes([0, 0x08, number, 0x10, cents]) + b"\x1a\x03EUR"


def levels(running: Running) -> list[tuple[int, str]]:
    rows = running.query("select id, level from shared.readings order by 1")
    return [(row["id"], row["level"]) for row in rows]


def payments(running: Running) -> list[tuple[int, int, str]]:
    sql = "select paymentId, amountCents, currency from shared.payments order by 1"
    return [
        (int(row["paymentid"]), int(row["amountcents"]), row["currency"])
        for row in running.query(sql)
    ]


def payment_header(running: Running) -> bytes:
    """What stands in front of a record whose schema the Glue Schema Registry has."""
    fields = [
        {"name": "id", "type": "long"},
        {"name": "amount_cents", "type": "long"},
        {"name": "currency", "type": "string"},
    ]
    schema = {"type": "record", "name": "Payment", "fields": fields}
    made = running.aws("glue").create_schema(
        RegistryId={"RegistryName": "shop"},
        SchemaName="payment",
        DataFormat="AVRO",
        Compatibility="NONE",
        SchemaDefinition=json.dumps(schema),
    )
    return GLUE_HEADER + bytes.fromhex(made["SchemaVersionId"].replace("-", ""))


@pytest.fixture(scope="module")
def telemetry(running: Running) -> Iterator[str]:
    """The ARN of another team's stream."""
    kinesis = running.aws("kinesis")
    kinesis.create_stream(StreamName="telemetry", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="telemetry", WaiterConfig={"Delay": 1})
    summary = kinesis.describe_stream_summary(StreamName="telemetry")
    yield summary["StreamDescriptionSummary"]["StreamARN"]
    kinesis.delete_stream(StreamName="telemetry", EnforceConsumerDeletion=True)


@pytest.fixture(scope="module")
def schemas() -> Iterator[Registry]:
    """A schema registry with Confluent's API."""
    with Registry() as registry:
        yield registry


@pytest.fixture(scope="module")
def shop(running: Running) -> Iterator[str]:
    """The ARN of a schema registry of Glue."""
    glue = running.aws("glue")
    yield glue.create_registry(RegistryName="shop")["RegistryArn"]
    glue.delete_registry(RegistryId={"RegistryName": "shop"})


@pytest.fixture(scope="module")
def cluster(running: Running, kafka: Broker) -> Iterator[str]:
    """The ARN of an MSK cluster."""
    arn = kafka.declare_msk(running.stack.session(), "shop")
    for topic in TOPICS:
        kafka.create_topic(topic, 1)
    yield arn
    running.aws("kafka").delete_cluster(ClusterArn=arn)


def read_by_fan_out(telemetry: str, schemas: Registry) -> Object:
    resource = example("fan-out")
    stream = resource["spec"]["source"]["stream"]
    stream["kinesis"]["streamArn"] = telemetry
    stream["registry"]["confluent"]["url"] = schemas.url
    stream["batch"] = {"window": "1s", "retries": 1}
    resource["spec"]["schema"] = {
        "type": "json",
        "keys": ["id"],
        "fields": [
            {"name": "id", "type": "integer", "nullable": False},
            {"name": "level", "type": "string", "maxLength": 20},
        ],
    }
    target = {"schema": "shared", "table": "readings", "mode": "merge", "keys": ["id"]}
    resource["spec"]["redshift"] = target
    return resource


def read_by_iam(cluster: str) -> Object:
    resource = example("msk")
    stream = resource["spec"]["source"]["stream"]
    stream["kafka"]["clusterArn"] = cluster
    stream["batch"] = {"window": "1s"}
    resource["spec"]["redshift"] = {
        "schema": "shared",
        "table": "payments",
        "mode": "merge",
        "keys": ["paymentId"],
    }
    return resource


@pytest.fixture(scope="module")
def reading(
    running: Running, telemetry: str, schemas: Registry, shop: str, cluster: str
) -> Iterator[None]:
    """Both sources, side by side, once their mappings are there."""
    pair = {"username": schemas.user, "password": schemas.password}
    running.secret("registry", json.dumps(pair))
    running.grant(telemetry, shop, cluster)
    running.apply(read_by_fan_out(telemetry, schemas), read_by_iam(cluster))
    for name in SOURCES:
        running.wait("dsrc", name, is_ready, WAIT_SECONDS)
    yield
    running.kubectl("delete", "dsrc", *SOURCES, "--timeout=180s")


@dataclass
class Seen:
    """What was seen in the warehouse, while both sources went through the same steps side by side."""

    levels: list[tuple[int, str]]
    levels_again: list[tuple[int, str]]
    backfilled: Object
    payments_backfilled: Object
    manifests: tuple[list[str], list[str]]
    payments: list[tuple[int, int, str]]
    payments_by_avro: list[tuple[int, int, str]]


def side_by_side(*steps: Callable[[], Object]) -> list[Object]:
    with ThreadPoolExecutor() as pool:
        return [step.result() for step in [pool.submit(step) for step in steps]]


@pytest.fixture(scope="module")
def seen(running: Running, reading: None, telemetry: str, schemas: Registry, kafka: Broker) -> Seen:
    """First come records of both; then the past of both once more, and Avro where Protobuf was."""
    number, header = schemas.register("reading", json.dumps(READING)), payment_header(running)
    bodies = [schemas.framed(number, avro(n, level)) for n, level in LEVELS]
    records = [{"Data": body, "PartitionKey": str(n)} for n, body in enumerate(bodies)]
    begin = datetime.now(UTC) - timedelta(minutes=1)
    put = running.aws("kinesis").put_records(StreamName="telemetry", Records=records)
    assert put["FailedRecordCount"] == 0
    kafka.produce("payments", [("1", header + payment(1, 100), [])])
    kafka.produce("refunds", [("2", header + payment(2, 50), [])])

    def there() -> bool:
        runs = side_by_side(*(partial(running.run, name) for name in SOURCES))
        # A table is there with the first rows.
        return all(last_run(one).get("rows") for one in runs) and (
            len(levels(running)) == len(LEVELS) and len(payments(running)) == 2
        )

    until(there, "what was put is not in the tables", WAIT_SECONDS)
    first = levels(running), payments(running)
    live = running.keys("raw", "default/telemetry/_manifests/")
    running.query("delete from shared.readings where id < 4")
    assert levels(running) == LEVELS[4:]
    running.query("delete from shared.payments")
    now = datetime.now(UTC)
    backfilled, payments_backfilled = side_by_side(
        *(partial(running.backfill, f"{name}-again", name, begin, now) for name in SOURCES)
    )
    avro_now = {"source": {"stream": {"format": "avro", "protobuf": None}}}
    running.patch("dsrc", "payments", {"spec": avro_now})
    running.wait("dsrc", "payments", is_ready, WAIT_SECONDS)
    # Zigzag: 3, 75, and three characters.
    kafka.produce("payments", [("3", header + b"\x06\x96\x01\x06EUR", [])])

    def loaded() -> bool:
        return len(payments(running)) == 3 or not running.run("payments")

    until(loaded, "what was put as Avro is not in the table", WAIT_SECONDS)
    after = running.keys("raw", "default/telemetry/_manifests/")
    return Seen(
        first[0],
        levels(running),
        backfilled,
        payments_backfilled,
        (live, after),
        first[1],
        payments(running),
    )


def test_a_stream_of_others_is_read_by_fan_out_with_schemas_of_a_confluent_registry(
    running: Running, seen: Seen, telemetry: str
) -> None:
    consumers = running.aws("kinesis").list_stream_consumers(StreamARN=telemetry)["Consumers"]
    assert len(consumers) == 1
    assert seen.levels == LEVELS


def test_a_backfill_brings_what_a_stream_keeps_and_moves_nothing_of_the_sources_own(
    seen: Seen,
) -> None:
    assert seen.backfilled["status"]["progress"]["rows"] == len(LEVELS)
    assert seen.levels_again == LEVELS
    before, after = seen.manifests
    assert before == after


def test_what_lambda_gave_up_on_while_the_registry_was_away_is_loaded_once_it_is_back(
    running: Running, seen: Seen, schemas: Registry
) -> None:
    function = running.resource("dsrc", "telemetry", "receive")["name"]
    listed = running.aws("lambda").list_event_source_mappings(FunctionName=function)
    (mapping,) = listed["EventSourceMappings"]
    number = schemas.register("reading", json.dumps(READING | {"doc": "Nobody asked for it yet."}))
    late = [(n, f"level {n}") for n in range(6, 9)]
    bodies = [schemas.framed(number, avro(n, level)) for n, level in late]
    records = [{"Data": body, "PartitionKey": "late"} for body in bodies]
    schemas.failures += [401] * 10_000
    running.aws("kinesis").put_records(StreamName="telemetry", Records=records)
    given_up = f"aws/lambda/{mapping['UUID']}/"

    def told() -> bool:
        flowing = condition(running.get("dsrc", "telemetry"), "Flowing")
        words = "SourceUnauthorized", "answered 401: records of shard"
        return flowing["status"] == "False" and all(one in flowing["message"] for one in words)

    until(told, "the registry's answer does not stand on the source", 60.0)
    until(lambda: bool(running.keys("quarantine", given_up)), "Lambda gave up on nothing")
    schemas.failures.clear()

    def there() -> bool:
        running.run("telemetry")
        return levels(running) == [*LEVELS, *late]

    until(there, "what Lambda gave up on is not in the table", WAIT_SECONDS)


def test_topics_of_msk_are_read_by_iam_as_protobuf_and_as_avro_with_a_registry_of_glue(
    seen: Seen,
) -> None:
    assert seen.payments == [(1, 100, "EUR"), (2, 50, "EUR")]
    assert seen.payments_by_avro == [*seen.payments, (3, 75, "EUR")]


def test_a_backfill_enters_msk_by_iam_as_the_pollers_do(seen: Seen) -> None:
    assert seen.payments_backfilled["status"]["progress"]["rows"] == len(seen.payments)


def test_a_role_that_may_no_longer_read_is_told_on_the_source_until_that_is_put_right(
    running: Running, seen: Seen
) -> None:
    iam, role = running.aws("iam"), running.resource("dsrc", "payments", "receive-role")["name"]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    left = [one for one in document["Statement"] if one["Sid"] != "ReadTopics"]
    changed = json.dumps({**document, "Statement": left})

    def deny() -> None:
        """Again and again: the operator puts it right with each drift round."""
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=changed)

    function = running.resource("dsrc", "payments", "receive")["name"]

    def denied() -> list[bool]:
        listed = running.aws("lambda").list_event_source_mappings(FunctionName=function)
        told = [one["LastProcessingResult"] for one in listed["EventSourceMappings"]]
        return [one == f"PROBLEM: {words}" for one in told]

    words = "Cluster failed to authorize Lambda."

    def flowing() -> dict[str, Any]:
        return condition(running.get("dsrc", "payments"), "Flowing")

    def stands_on_the_source() -> bool:
        deny()
        told = flowing()
        return told["reason"] == "SourceUnread" and words in told["message"]

    def fails_the_run() -> bool:
        deny()
        until(lambda: all(denied()), "the pollers read on")
        done = running.weir("run", "payments")
        return done.returncode != 0 and words in done.stdout + done.stderr

    deny()
    until(lambda: all(denied()), "the pollers read on")
    until(stands_on_the_source, "it does not stand on the source", 60.0)
    assert flowing()["status"] == "False"
    until(fails_the_run, "a run says nothing of it")
    running.look_again("dsrc", "payments")
    until(lambda: not any(denied()), "the pollers do not read again")
    until(lambda: flowing()["reason"] != "SourceUnread", "it stands on the source still", 60.0)
    running.run("payments")


def test_every_example_of_a_stream_is_run_here_or_beside() -> None:
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_*_example.py")]
    for file in (ROOT / "examples/stream").glob("*.yaml"):
        named = (f'examples/stream/{file.name}"', f'example("{file.stem}")')
        assert any(name in text for text in texts for name in named), file.name
