"""Orders on a real Kafka broker end as rows in the warehouse, each once."""

from __future__ import annotations

import gzip
import io
import json
import time
from datetime import UTC, datetime

import fastavro
import pytest
import yaml

from e2e.running import Object, Running, condition, is_ready, until
from weir_local.kafka import Broker
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

NAME, TOPIC, TABLE = "shop-orders", "orders", "shop.orders"
WAIT_SECONDS = 240
GONE = 50
MORE = range(100, 160)


def example() -> Object:
    found: Object = yaml.safe_load((ROOT / "examples/stream/kafka.yaml").read_text())
    return found


def avro(order: int, customer: str, cents: int) -> bytes:
    """An order as the example's schema has it."""
    schema = json.loads(example()["spec"]["source"]["stream"]["avroSchema"])
    schema["fields"][2]["type"] = "bytes"
    order_bytes = cents.to_bytes(8, "big", signed=True)
    record = {"orderId": order, "customer": customer, "amount": order_bytes}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
    return buffer.getvalue()


def key(order: int) -> bytes:
    """An order's key as the example's schema has it: a long alone."""
    schema = example()["spec"]["source"]["stream"]["kafka"]["key"]["avroSchema"]
    buffer = io.BytesIO()
    fastavro.schemaless_writer(
        buffer, fastavro.parse_schema(json.loads(schema)), {"orderId": order}
    )
    return buffer.getvalue()


def orders(running: Running) -> list[tuple[object, ...]]:
    rows = running.query(f"select orderId, customer, amount from {TABLE} order by 1")
    return [(row["orderid"], row["customer"], str(row["amount"])) for row in rows]


def loaded(running: Running, expected: list[tuple[object, ...]]) -> None:
    def there() -> bool:
        running.run(NAME)
        return orders(running) == expected

    until(there, f"{TABLE} is not {expected}", WAIT_SECONDS)


@pytest.fixture(scope="module")
def reading(running: Running, kafka: Broker) -> Object:
    """The source, once the topic is read."""
    running.secret("kafka", json.dumps({"username": kafka.user, "password": kafka.password}))
    running.secret("kafka-ca", json.dumps({"certificate": kafka.ca_pem}))
    kafka.create_topic(TOPIC, 2)
    resource = example()
    resource["spec"]["source"]["stream"]["kafka"]["bootstrapServers"] = [kafka.bootstrap]
    running.apply(resource)
    found: Object = running.wait("dsrc", NAME, is_ready, WAIT_SECONDS)
    return found


def test_orders_of_every_partition_are_loaded_and_merged_by_key(
    running: Running, kafka: Broker, reading: Object
) -> None:
    first = [(key(1), avro(1, "Ann", 1050), []), (key(GONE), avro(GONE, "Di", 1), [])]
    kafka.produce(TOPIC, first, partition=0)
    kafka.produce(TOPIC, [(key(2), b"\xff", []), (key(2), avro(2, "Bo", 700), [])], partition=1)
    loaded(running, [(1, "Ann", "10.50"), (2, "Bo", "7.00"), (GONE, "Di", "0.01")])


def test_a_topic_that_grows_is_loaded_whole_and_each_record_once_though_workers_are_killed(
    running: Running, kafka: Broker, reading: Object
) -> None:
    function = running.resource("dsrc", NAME, "receive")["name"]
    kafka.grow_topic(TOPIC, 4)
    changed = [(key(2), avro(2, "Bo", 800), []), (key(3), avro(3, "Cleo", 5), [])]
    kafka.produce(TOPIC, changed, partition=1)
    # A record without a value: the order of its key is deleted.
    kafka.produce(TOPIC, [(key(GONE), None, [])], partition=0)
    killed = 0
    for number in MORE:
        kafka.produce(TOPIC, [(None, avro(number, "Dee", number), [])], partition=number % 4)
        if number % 6 == 0:
            # In the midst of a batch, mostly: a window of one second gathers it.
            time.sleep(0.4)
            killed += running.kill_workers(function)
    assert killed > 0
    more = [(number, "Dee", f"{number / 100:.2f}") for number in MORE]
    loaded(running, [(1, "Ann", "10.50"), (2, "Bo", "8.00"), (3, "Cleo", "0.05"), *more])
    rows = running.landed(NAME)
    assert sorted(row.get("orderId", 0) for row in rows) == [0, 1, 2, 2, 3, GONE, *MORE]
    assert {row["_stream"]["partition"] for row in rows} == {0, 1, 2, 3}


def test_a_record_of_another_schema_is_in_quarantine_with_its_place(
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
    assert row["reason"].startswith(f"partition 1 of the topic {TOPIC}, offset 0: "), row


def test_the_place_in_the_topic_is_a_column(running: Running, reading: Object) -> None:
    rows = running.query(f"select orderId, kafkaOffset from {TABLE} order by 1")
    assert [(row["orderid"], row["kafkaoffset"]) for row in rows[:3]] == [(1, 0), (2, 2), (3, 3)]


def test_a_backfill_reads_the_topic_again_and_moves_nothing_of_the_sources_own(
    running: Running, reading: Object
) -> None:
    sql = f"select orderId, customer, amount, kafkaOffset from {TABLE} order by 1"
    whole, live = running.query(sql), running.keys("raw", f"default/{NAME}/_manifests/")
    running.query(f"delete from {TABLE} where orderId <> 2")
    begin = datetime.fromisoformat(reading["metadata"]["creationTimestamp"])
    done = running.backfill("orders-again", NAME, begin, datetime.now(UTC))
    # Four orders came first, one of them changed and one deleted.
    assert done["status"]["progress"]["rows"] == 6 + len(MORE), done["status"]
    assert running.query(sql) == whole
    assert running.keys("raw", f"default/{NAME}/_manifests/") == live


def test_a_topic_that_is_deleted_and_made_anew_is_read_on(
    running: Running, kafka: Broker, reading: Object
) -> None:
    before = orders(running)
    kafka.delete_topic(TOPIC)
    kafka.create_topic(TOPIC, 2)
    for number in (901, 902):
        # Their offsets are those of orders that were committed long ago.
        kafka.produce(TOPIC, [(key(number), avro(number, "Eve", 100), [])], partition=number % 2)
    function = running.resource("dsrc", NAME, "receive")["name"]

    def found() -> bool:
        listed = running.aws("lambda").list_event_source_mappings(FunctionName=function)
        return "not found" not in listed["EventSourceMappings"][0]["LastProcessingResult"]

    until(found, "the pollers miss the topic still", WAIT_SECONDS)
    loaded(running, [*before, (901, "Eve", "1.00"), (902, "Eve", "1.00")])
    assert len(running.landed(NAME)) == 8 + len(MORE)


def test_brokers_that_are_not_granted_are_refused_with_the_reason(
    running: Running, reading: Object
) -> None:
    resource = example()
    resource["metadata"]["name"] = "not-granted-brokers"
    resource["spec"]["source"]["stream"]["kafka"]["bootstrapServers"] = ["10.0.0.9:9096"]
    del resource["spec"]["redshift"]
    running.apply(resource)
    found = running.wait(
        "dsrc", "not-granted-brokers", lambda obj: condition(obj, "Ready").get("status") == "False"
    )
    assert "grants[].egress" in condition(found, "Ready")["message"]
    running.kubectl("delete", "dsrc", "not-granted-brokers", "--timeout=60s")


def test_nothing_reads_the_topic_once_the_source_is_gone(running: Running, reading: Object) -> None:
    function = running.resource("dsrc", NAME, "receive")["name"]
    running.kubectl("delete", "dsrc", NAME, "--timeout=180s")
    found = running.aws("lambda").list_event_source_mappings(FunctionName=function)
    assert found["EventSourceMappings"] == []
