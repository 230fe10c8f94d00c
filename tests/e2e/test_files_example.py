"""Files that a partner puts into a bucket end as rows in the warehouse, each once."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator

import fastavro
import pytest
import yaml
from pyarrow import parquet

from e2e.running import RUN_SECONDS, Object, Running, condition, is_ready, last_run, until
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

NAME, BUCKET, TABLE = "partner-orders", "weir-example-partner-drop", "partners.orders"
HEADER = "orderId;customer;orderedOn;amount\n"
FIRST = HEADER + "1;Jürgen;02.01.2026;10.50\n2;Ann;03.01.2026;7.00\nbroken line\n"
SECOND = HEADER + "2;Ann;03.01.2026;8.00\n3;Cleo;04.01.2026;1.25\n"


LAKE = "lake-orders"
LAKE_HEADER = "orderId,country,orderedAt,amount\n"
LAKE_FIRST = (
    LAKE_HEADER
    + "1,DE,2026-01-02T10:00:00Z,10.50\n2,FR,2026-01-02T11:00:00Z,7.00\n"
    + "3,FR,2026-01-03T09:00:00Z,1.00\n"
)
LAKE_SECOND = (
    LAKE_HEADER
    + "1,DE,2026-01-01T10:00:00Z,9.00\n2,IT,2026-01-04T11:00:00Z,8.00\n"
    + "4,DE,2026-01-04T12:00:00Z,2.25\n"
)
DELETED, DATA = 2, 0
"""Of a manifest's entry, and of a file's content."""


def put(running: Running, key: str, body: bytes) -> None:
    running.aws("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


def table(running: Running) -> list[tuple[object, ...]]:
    rows = running.query(f"select orderId, customer, amount from {TABLE} order by orderId")
    return [(row["orderid"], row["customer"], str(row["amount"])) for row in rows]


@pytest.fixture(scope="module")
def landed(running: Running) -> Iterator[Object]:
    """The Pipeline after the file that was there before the source."""
    s3 = running.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    put(running, "orders/2026/01/first.csv", FIRST.encode("iso-8859-1"))
    put(running, "orders/readme.txt", b"not an order")
    put(running, "lake/orders/first.csv", LAKE_FIRST.encode())
    running.apply(yaml.safe_load((ROOT / "examples/files/datasource.yaml").read_text()))
    running.apply(*yaml.safe_load_all((ROOT / "examples/iceberg/datasource.yaml").read_text()))
    yield running.wait_run("pipe", NAME)
    for kind in ("pipe", "dsrc"):
        running.kubectl("delete", kind, LAKE, "--timeout=180s")


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


def test_files_of_the_lake_are_merged_by_key_in_an_iceberg_table(
    running: Running, landed: Object
) -> None:
    first = running.wait_run("pipe", LAKE)
    database, name = running.resource("pipe", LAKE, "table-processed")["name"].split(".")
    glue = running.aws("glue")

    def rows() -> tuple[Object, list[tuple[object, ...]]]:
        entry = glue.get_table(DatabaseName=database, Name=name)["Table"]
        metadata = json.loads(read(running, entry["Parameters"]["metadata_location"]))
        return metadata, sorted(rows_of(running, metadata))

    metadata, found = rows()
    assert found == [(1, "DE", "10.50"), (2, "FR", "7.00"), (3, "FR", "1.00")]
    (spec,) = [
        one for one in metadata["partition-specs"] if one["spec-id"] == metadata["default-spec-id"]
    ]
    assert [one["transform"] for one in spec["fields"]] == ["identity", "day"]
    put(running, "lake/orders/second.csv", LAKE_SECOND.encode())
    running.wait_run("pipe", LAKE, after=last_run(first)["run"])
    metadata, found = rows()
    # An older state of order 1 came later; order 2 has moved to another partition.
    assert found == [(1, "DE", "10.50"), (2, "IT", "8.00"), (3, "FR", "1.00"), (4, "DE", "2.25")]
    assert len(metadata["snapshots"]) >= 2, "the table can't be read as it was"


def rows_of(running: Running, metadata: Object) -> list[tuple[object, ...]]:
    """What the table's newest snapshot has (Apache Iceberg, *Table Spec*: Manifests, Manifest Lists)."""
    (snapshot,) = [
        one
        for one in metadata["snapshots"]
        if one["snapshot-id"] == metadata["current-snapshot-id"]
    ]
    found: list[tuple[object, ...]] = []
    for manifest in avro(running, snapshot["manifest-list"]):
        for entry in avro(running, manifest["manifest_path"]):
            if entry["status"] == DELETED:
                continue
            file = entry["data_file"]
            assert file["content"] == DATA, "the table has files of deletions"
            table = parquet.ParquetFile(io.BytesIO(read(running, file["file_path"]))).read()
            found += [
                (row["orderid"], row["country"], str(row["amount"])) for row in table.to_pylist()
            ]
    return found


def avro(running: Running, uri: str) -> list[Object]:
    return list(fastavro.reader(io.BytesIO(read(running, uri))))


def read(running: Running, uri: str) -> bytes:
    bucket, _, key = uri.partition("://")[2].partition("/")
    body: bytes = running.aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


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
