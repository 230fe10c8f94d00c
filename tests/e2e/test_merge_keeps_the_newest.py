"""Loads out of order never let old rows replace new ones, and a manifest counts once."""

from __future__ import annotations

import json

import pytest

from e2e import declared
from e2e.running import Object, Running, is_ready, last_run, until
from e2e.source_server import Paged, SourceServer

pytestmark = pytest.mark.e2e

SELECT = "select id, state, amount from sales.orders order by id"


@pytest.fixture(scope="module")
def merged(running: Running, server: SourceServer, orders: Object) -> Object:
    """The Pipeline after a second load, some of whose rows are older than the table's."""
    server.serve("/orders", Paged(declared.LATE_ORDERS, declared.ORDERS_KEY))
    return running.run("orders")


def test_an_older_row_that_comes_later_is_stale(running: Running, merged: Object) -> None:
    rows = {row["id"]: (row["state"], float(row["amount"])) for row in running.query(SELECT)}
    assert rows == {1: ("paid", 10.5), 5: ("paid", 50.0), 6: ("open", 60.125)}


def test_a_deleted_row_is_remembered_beside_the_table(running: Running, merged: Object) -> None:
    assert running.query("select id from sales._weir_deleted_orders") == [{"id": 2}]


def test_the_table_follows_a_shape_that_has_grown(running: Running, merged: Object) -> None:
    rows = running.query("select id, amount, channel from sales.orders order by id")
    assert [(row["id"], str(row["amount"]), row["channel"]) for row in rows] == [
        (1, "10.500", None),
        (5, "50.000", None),
        (6, "60.125", "web"),
    ]
    source = running.wait("dsrc", "orders", lambda obj: len(frozen(obj)) == 5, 60)
    assert frozen(source)["amount"]["widenedFrom"] == "decimal(10,2)"
    assert frozen(source)["channel"]["added"] == 2
    stated = {item["name"] for item in source["spec"]["schema"]["fields"]}
    assert "channel" not in stated, "the spec is the user's"
    running.wait("pipe", "orders", is_ready, 60)


def frozen(source: Object) -> dict[str, Object]:
    fields = (source["status"].get("schema") or {}).get("fields") or []
    return {item["name"]: item for item in fields}


def test_the_account_tells_inserted_updated_stale_and_deleted(merged: Object) -> None:
    (load,) = [stage for stage in last_run(merged)["account"] if stage["kind"] == "load"]
    assert load["rowsIn"] == 3
    assert (load["inserted"], load["updated"], load["stale"]) == (1, 1, 1)
    assert (load["deletions"], load["deleted"]) == (1, 1)


def test_the_same_manifest_again_changes_nothing(running: Running, merged: Object) -> None:
    before = running.query(SELECT)
    manifests = running.keys("raw", "default/orders/_manifests/")
    assert len(manifests) >= 2
    bucket = running.bucket("raw")
    queue = running.aws("sqs")
    url = queue.get_queue_url(QueueName=running.resource("plat", "default", "manifests")["name"])
    for key in manifests:
        event = {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
        }
        queue.send_message(QueueUrl=url["QueueUrl"], MessageBody=json.dumps(event))
    trigger = running.resource("plat", "default", "trigger")["name"]
    until(lambda: _waiting(queue, url["QueueUrl"]) == 0, "the trigger does not take the events")
    answer = running.aws("lambda").invoke(FunctionName=trigger, Payload=b'{"sweep": true}')
    assert "FunctionError" not in answer, answer["Payload"].read()
    machine = running.resource("pipe", "orders", "machine")["arn"]
    steps = running.aws("stepfunctions")
    until(
        lambda: (
            not steps.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
        ),
        "the pipeline still runs",
    )
    assert running.query(SELECT) == before
    now = running.get("pipe", "orders")
    assert last_run(now)["run"] == last_run(merged)["run"]


def _waiting(queue: object, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = queue.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)
