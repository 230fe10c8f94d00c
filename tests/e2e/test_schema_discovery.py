"""A source's shape: discovered by a crawler where asked, told on the object when it changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from e2e import declared
from e2e.running import RUN_SECONDS, Object, Running, condition, is_ready, last_run, until
from e2e.source_server import Answer, SourceServer
from weir_contract.metadata import metadata_key
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

CRAWLED, BUCKET = "till-receipts", "weir-example-till-drop"
RECEIPTS = "receiptId,till,total,open\n1,A1,10.50,true\n2,B2,7.25,false\n3,A1,1.00,true\n"
CHANGING = "changing"
SECRET_ROW = {"id": 1, "name": "Ada Nobody-Must-See", "email": "ada@example.com"}


def shape(obj: Object | None) -> dict[str, Any]:
    found: dict[str, Any] = ((obj or {}).get("status") or {}).get("discovered") or {}
    return found


def land_again(running: Running, source: Object) -> None:
    """Start the source's state machine, as its schedule does."""
    (arn,) = [
        line["arn"]
        for line in source["status"]["resources"]
        if line["kind"] == "states.StateMachine"
    ]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    running.aws("stepfunctions").start_execution(
        stateMachineArn=arn, input=json.dumps({"scheduledTime": now})
    )


@pytest.fixture(scope="module")
def changing(running: Running, server: SourceServer) -> Object:
    """A source whose second landing has another shape than its first."""
    endpoint = server.serve("/changing", Answer.rows([SECRET_ROW, {**SECRET_ROW, "id": 2}]))
    source = declared.source(
        CHANGING,
        endpoint,
        schema={
            "fields": [
                {"name": "id", "type": "integer"},
                {"name": "name", "type": "string"},
                {"name": "email", "type": "string", "classification": "personal"},
            ]
        },
    )
    running.apply(source)
    first = running.wait("dsrc", CHANGING, lambda obj: bool(shape(obj).get("columns")), RUN_SECONDS)
    assert shape(first)["untaken"] == 0
    server.routes["/changing"] = lambda *_: Answer.rows(
        [{"id": "one", "name": "Ada Nobody-Must-See", "country": "pt"}]
    )
    land_again(running, first)
    running.wait("dsrc", CHANGING, lambda obj: shape(obj).get("sequence") == 2, RUN_SECONDS)
    found: Object = running.get("dsrc", CHANGING) or {}
    return found


def test_a_changed_shape_is_told_in_events_with_names_and_types_only(
    running: Running, changing: Object
) -> None:
    events = dict(running.events("DataSource", CHANGING))
    assert "new column country (string), which the schema lacks" in events["ColumnAdded"]
    assert "column id was integer and is string now" in events["ColumnTypeChanged"]
    assert "no record has a value for email" in events["ColumnMissing"]
    told = json.dumps([changing["status"], events])
    assert "Nobody-Must-See" not in told
    assert (shape(changing)["untaken"], shape(changing)["missing"]) == (1, 1)


def test_what_was_measured_is_beside_the_rows_without_personal_content(
    running: Running, changing: Object
) -> None:
    body = running.aws("s3").get_object(
        Bucket=running.bucket("raw"), Key=metadata_key(f"default/{CHANGING}", 1)
    )["Body"]
    text = body.read().decode()
    columns = {one["name"]: one for one in json.loads(text)["columns"]}
    assert (columns["id"]["min"], columns["id"]["max"], columns["id"]["distinct"]) == ("1", "2", 2)
    assert columns["name"]["max"] == "Ada Nobody-Must-See"
    assert "ada@example.com" not in text


def test_the_catalog_keeps_a_version_of_the_raw_table_for_each_change(
    running: Running, changing: Object
) -> None:
    glue = running.aws("glue")
    databases = [one["Name"] for one in glue.get_databases()["DatabaseList"]]
    (database,) = [one for one in databases if one.endswith("_default")]

    def versions() -> list[list[str]]:
        found = glue.get_table_versions(DatabaseName=database, TableName=f"raw__{CHANGING}")
        return [
            [column["Name"] for column in one["Table"]["StorageDescriptor"]["Columns"]]
            for one in found["TableVersions"]
        ]

    until(lambda: len(versions()) >= 2, "the raw table has no second version")
    assert versions()[-1] == ["email", "id", "name"]
    assert versions()[0] == ["country", "email", "id", "name"]


def test_a_crawler_tells_the_types_that_rows_are_loaded_by(running: Running) -> None:
    s3 = running.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket=BUCKET, Key="receipts/monday.csv", Body=RECEIPTS.encode())
    running.apply(yaml.safe_load((ROOT / "examples/discovery/datasource.yaml").read_text()))
    running.wait_run("pipe", CRAWLED)
    source = running.get("dsrc", CRAWLED)
    assert is_ready(source), condition(source, "Ready")
    frozen = {one["name"]: one["type"] for one in source["status"]["schema"]["fields"]}
    assert frozen == {
        "receiptId": "integer",
        "till": "string",
        "total": "number",
        "open": "boolean",
    }
    assert last_run(source)["rows"] == 3
    rows = running.query("select receiptid, till, total from shops.receipts order by receiptid")
    assert [(row["receiptid"], row["till"], float(row["total"])) for row in rows] == [
        (1, "A1", 10.5),
        (2, "B2", 7.25),
        (3, "A1", 1.0),
    ]
