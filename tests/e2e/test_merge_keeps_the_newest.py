"""Loads out of order never let old rows replace new ones, and a manifest counts once."""

from __future__ import annotations

import json

import pytest

from e2e import declared
from e2e.running import Object, Running, is_ready, last_run, until
from e2e.source_server import Paged, SourceServer

pytestmark = pytest.mark.e2e

SELECT = "select id, state, amount from sales.orders order by id"
FOUND = "orders/runs/found.json"
READ = """
import json
import boto3
from pyspark.sql import SparkSession

rows = SparkSession.builder.getOrCreate().sql(
    "SELECT id, CAST(amount AS string) AS amount, channel, _weir_deleted_at IS NOT NULL AS deleted "
    "FROM {table} ORDER BY id"
)
body = json.dumps([row.asDict() for row in rows.collect()])
boto3.client("s3").put_object(Bucket="{bucket}", Key="{key}", Body=body.encode())
"""


@pytest.fixture(scope="module")
def merged(running: Running, server: SourceServer, orders: Object) -> Object:
    """The Pipeline after a second load, some of whose rows are older than the table's."""
    server.serve("/orders", Paged(declared.LATE_ORDERS, declared.ORDERS_KEY))
    return running.run("orders")


def test_an_older_row_that_comes_later_is_stale(running: Running, merged: Object) -> None:
    rows = {row["id"]: (row["state"], float(row["amount"])) for row in running.query(SELECT)}
    assert rows == {1: ("paid", 10.5), 5: ("paid", 50.0), 6: ("open", 600000000.25)}


def test_a_deleted_row_is_remembered_beside_the_table_in_a_shape_that_has_grown_with_it(
    running: Running, merged: Object
) -> None:
    (row,) = running.query("select id, version from sales._weir_deleted_orders")
    # Three digits before the point: more than the operator made the column for.
    assert (row["id"], str(row["version"])) == (2, "200.5")
    for name in ("orders", "_weir_deleted_orders"):
        (column,) = running.query(
            "select numeric_precision as digits from information_schema.columns where "
            f"table_schema = 'sales' and table_name = '{name}' and column_name = 'version'"
        )
        assert column["digits"] == 20, name


def test_the_table_follows_a_shape_that_has_grown(running: Running, merged: Object) -> None:
    rows = running.query("select id, amount, channel from sales.orders order by id")
    assert [(row["id"], str(row["amount"]), row["channel"]) for row in rows] == [
        (1, "10.50", None),
        (5, "50.00", None),
        (6, "600000000.25", "web"),
    ]
    source = running.wait("dsrc", "orders", lambda obj: len(frozen(obj)) == 6, 60)
    assert frozen(source)["amount"]["widenedFrom"] == "decimal(10,2)"
    assert frozen(source)["version"]["widenedFrom"] == "decimal(3,1)"
    assert frozen(source)["channel"]["added"] == 2
    stated = {item["name"] for item in source["spec"]["schema"]["fields"]}
    assert "channel" not in stated, "the spec is the user's"
    running.wait("pipe", "orders", is_ready, 60)


def frozen(source: Object) -> dict[str, Object]:
    fields = (source["status"].get("schema") or {}).get("fields") or []
    return {item["name"]: item for item in fields}


def test_the_account_tells_inserted_updated_stale_and_deleted(merged: Object) -> None:
    loads = [stage for stage in last_run(merged)["account"] if stage["kind"] == "load"]
    assert [load["stage"] for load in loads] == ["table", "warehouse"]
    for load in loads:
        assert load["rowsIn"] == 3
        assert (load["inserted"], load["updated"], load["stale"]) == (1, 1, 1)
        assert (load["deletions"], load["deleted"]) == (1, 1)


def test_spark_reads_the_iceberg_table_as_the_warehouse_has_it(
    running: Running, merged: Object
) -> None:
    database, table = running.resource("pipe", "orders", "table-processed")["name"].split(".")
    entry = running.aws("glue").get_table(DatabaseName=database, Name=table)["Table"]
    bucket, _, key = entry["Parameters"]["metadata_location"].removeprefix("s3://").partition("/")
    assert key.startswith("orders/table/metadata/")
    assert {column["Name"] for column in entry["StorageDescriptor"]["Columns"]} == {
        *("id", "state", "amount", "changed", "version", "channel"),
        *("_weir_run", "_weir_sequence", "_weir_landed", "_weir_deleted_at"),
    }
    found = read_by_a_job(running, bucket, f"glue_catalog.`{database}`.`{table}`")
    there = [(row["id"], row["amount"], row["channel"]) for row in found if not row["deleted"]]
    rows = running.query("select id, amount, channel from sales.orders order by id")
    assert there == [(row["id"], str(row["amount"]), row["channel"]) for row in rows]
    assert [row["id"] for row in found if row["deleted"]] == [2]


def read_by_a_job(running: Running, bucket: str, table: str) -> list[Object]:
    """A table's rows as a Glue job with the pipeline's role and settings reads them."""
    glue, s3 = running.aws("glue"), running.aws("s3")
    job = glue.get_job(JobName=running.resource("pipe", "orders", "process")["name"])["Job"]
    script = READ.format(table=table, bucket=bucket, key=FOUND)
    s3.put_object(Bucket=bucket, Key="orders/runs/read.py", Body=script.encode())
    name = "reads-orders"
    glue.create_job(
        Name=name,
        Role=job["Role"],
        Command={**job["Command"], "ScriptLocation": f"s3://{bucket}/orders/runs/read.py"},
        DefaultArguments=job["DefaultArguments"],
        GlueVersion=job["GlueVersion"],
        WorkerType=job["WorkerType"],
        NumberOfWorkers=job["NumberOfWorkers"],
    )
    run = glue.start_job_run(JobName=name)["JobRunId"]

    def state() -> str:
        answer = glue.get_job_run(JobName=name, RunId=run)["JobRun"]
        assert answer["JobRunState"] != "FAILED", answer.get("ErrorMessage")
        found: str = answer["JobRunState"]
        return found

    until(lambda: state() == "SUCCEEDED", "the job does not end")
    rows: list[Object] = json.loads(s3.get_object(Bucket=bucket, Key=FOUND)["Body"].read())
    return rows


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
