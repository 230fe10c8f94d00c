"""Files that a partner puts into a bucket end as rows in the warehouse, each once."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml

from e2e.running import RUN_SECONDS, Object, Running, condition, is_ready, last_run, until
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

NAME, BUCKET, TABLE = "partner-orders", "weir-example-partner-drop", "partners.orders"
HEADER = "orderId;customer;orderedOn;amount\n"
FIRST = HEADER + "1;Jürgen;02.01.2026;10.50\n2;Ann;03.01.2026;7.00\nbroken line\n"
SECOND = HEADER + "2;Ann;03.01.2026;8.00\n3;Cleo;04.01.2026;1.25\n"


def put(running: Running, key: str, body: bytes) -> None:
    running.aws("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def table(running: Running) -> list[tuple[object, ...]]:
    rows = running.query(f"select orderId, customer, amount from {TABLE} order by orderId")
    return [(row["orderid"], row["customer"], str(row["amount"])) for row in rows]


@pytest.fixture(scope="module")
def landed(running: Running) -> Object:
    """The Pipeline after the file that was there before the source."""
    s3 = running.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    put(running, "orders/2026/01/first.csv", FIRST.encode("iso-8859-1"))
    put(running, "orders/readme.txt", b"not an order")
    running.apply(yaml.safe_load((ROOT / "examples/files/datasource.yaml").read_text()))
    return running.wait_run("pipe", NAME)


def test_a_file_that_was_there_before_is_loaded(running: Running, landed: Object) -> None:
    assert table(running) == [(1, "Jürgen", "10.50"), (2, "Ann", "7.00")]
    source = running.get("dsrc", NAME)
    assert is_ready(source), condition(source, "Ready")


def test_a_broken_line_is_in_quarantine_with_its_file_and_line(
    running: Running, landed: Object
) -> None:
    (key,) = [one for one in running.keys("quarantine", f"default/{NAME}/") if "stage=land" in one]
    bucket = running.bucket("quarantine")
    body = running.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    (row,) = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert row["record"] == "broken line"
    assert row["reason"] == "orders/2026/01/first.csv, line 4: 1 fields instead of 4"
    run = last_run(running.get("dsrc", NAME))
    assert run["rows"] == 2 and run["quarantined"] == 1


def test_a_new_file_is_loaded_by_its_event_and_merged(running: Running, landed: Object) -> None:
    put(running, "orders/2026/02/second.csv.gz", gzip.compress(SECOND.encode()))
    running.wait_run("pipe", NAME, after=last_run(landed)["run"])
    expected = [(1, "Jürgen", "10.50"), (2, "Ann", "8.00"), (3, "Cleo", "1.25")]
    until(lambda: table(running) == expected, "the second file is not in the table", RUN_SECONDS)


def test_the_same_content_again_changes_nothing(running: Running, landed: Object) -> None:
    before = table(running)
    put(running, "orders/2026/02/copy.csv", SECOND.encode())
    running.run(NAME)
    assert table(running) == before


def test_a_bucket_that_is_not_granted_is_refused_with_the_reason(
    running: Running, landed: Object
) -> None:
    resource = yaml.safe_load((ROOT / "examples/files/datasource.yaml").read_text())
    resource["metadata"]["name"] = "not-granted"
    resource["spec"]["source"]["files"]["bucket"] = "somebody-elses"
    del resource["spec"]["redshift"]
    running.apply(resource)
    found = running.wait(
        "dsrc", "not-granted", lambda obj: condition(obj, "Ready").get("status") == "False"
    )
    assert "grants[].externalArns" in condition(found, "Ready")["message"]
    running.kubectl("delete", "dsrc", "not-granted")
