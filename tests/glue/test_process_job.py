"""The whole job against S3, DynamoDB and Glue: plan in, Parquet and result out."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from weir_contract.codec import dumps, loads
from weir_contract.manifest import Manifest, Part, part_key
from weir_contract.pipelines import (
    Destination,
    IcebergTable,
    Input,
    Load,
    PipelineConfig,
    Stage,
)
from weir_contract.rows import DeletionMark, Field, PartitionField, RowContract
from weir_contract.runs import RunPlan, RunResult, imbalances
from weir_glue.common.errors import OutputRefused
from weir_glue.common.plan import read_work, resolve_contract
from weir_glue.iceberg.table import recover, table_of
from weir_glue.jobs import process
from weir_glue.jobs.run import Run
from weir_local.aws import sparkjars
from weir_local.aws.sparkjobs import JVM_OPTIONS

pytestmark = [pytest.mark.spark, pytest.mark.aws]

LANDED = "2024-03-05T06:07:08Z"
BY_DAY = tuple(PartitionField(name, None, name) for name in ("year", "month", "day"))
RECORDS = [
    '{"id":1,"name":" Ada ","email":"ada@example.com","amount":12345678901234567.89}',
    '{"id":2,"name":"N/A","email":"bob@example.com","amount":1}',
    '{"id":2,"name":"Bob","email":"bob@example.com","amount":2}',
    '{"id":"x","name":"Misfit","email":"m@example.com","amount":3}',
    '{"id":4,"name":"Negative","email":"n@example.com","amount":-4}',
    '{"id":5,"name":"Five"',
    '{"id":6,"name":"Six","email":"six@filtered.org","amount":6}',
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


CONTRACTS = "weir-glue-contracts"
MANIFEST = Manifest("ns/kept", 9, 1, "r", "2024-03-05T00:00:00Z", "2024-03-05T00:00:00Z", "raw")


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A local AWS of this module's own; gives the environment that reaches it."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    place = tmp_path_factory.mktemp("aws")
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            env={**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)},
            stdout=log,
            stderr=log,
            cwd=place,
        )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield environment
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def clients(aws: dict[str, str]) -> Any:
    session = boto3.Session("test", "test", region_name="us-east-1")

    def client(name: str) -> Any:
        return session.client(name, endpoint_url=aws["AWS_ENDPOINT_URL"])

    return client


@pytest.fixture(scope="module")
def zones(clients: Any) -> dict[str, str]:
    s3 = clients("s3")
    names = {zone: f"weir-glue-{zone}" for zone in ("raw", "processed", "quarantine", "artifacts")}
    for name in names.values():
        s3.create_bucket(Bucket=name)
    clients("dynamodb").create_table(
        TableName=CONTRACTS,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    glue = clients("glue")
    glue.create_database(DatabaseInput={"Name": "ns"})
    glue.create_table(
        DatabaseName="ns",
        TableInput={
            "Name": "customers",
            "PartitionKeys": [{"Name": item.name, "Type": "string"} for item in BY_DAY],
            "StorageDescriptor": {
                "Columns": [{"Name": "id", "Type": "bigint"}],
                "Location": f"s3://{names['processed']}/customers/",
            },
        },
    )
    clients("secretsmanager").create_secret(Name="pii", SecretString="k" * 32)
    return names


CONTRACT = RowContract(
    (
        Field("customerId", "id", "integer", nullable=False),
        Field("customerName", "name", "string"),
        Field("customerEmail", "email", "string"),
        Field("amount", "amount", "decimal(20,2)"),
    ),
    keys=("customerId",),
)
STAGES = (
    Stage(
        "tidy",
        "clean",
        {
            "trim": True,
            "nullValues": ["N/A"],
            "deduplicate": {"keys": ["customerId"], "keepLatestBy": "amount"},
        },
    ),
    Stage(
        "enrich",
        "transform",
        {
            "steps": [
                {"derive": {"domain": "split(customerEmail, '@')[1]"}},
                {"filter": "domain = 'example.com'"},
            ]
        },
    ),
    Stage("check", "validate", {"rules": ['ColumnValues "amount" >= 0', 'IsUnique "customerId"']}),
    Stage(
        "publish",
        "write",
        write=Destination(
            "weir-glue-processed",
            "curated/",
            (PartitionField("name", "customerName"),),
            mode="overwritePartitions",
        ),
    ),
    Stage("protect", "clean", {"pii": [{"column": "customerEmail", "action": "hash"}]}),
)


def land(clients: Any, zones: dict[str, str], sequence: int, records: list[str]) -> str:
    """Land records as ingestion does; the manifest's URI."""
    body = gzip.compress("".join(record + "\n" for record in records).encode())
    key = part_key("ns/src", "2024-03-05", f"land-{sequence}", 0)
    s3 = clients("s3")
    s3.put_object(Bucket=zones["raw"], Key=key, Body=body)
    part = Part(key, len(records), len(body), hashlib.sha256(body).hexdigest())
    manifest = Manifest(
        "ns/src",
        sequence,
        1,
        f"land-{sequence}",
        LANDED,
        LANDED,
        zones["raw"],
        (part,) if records else (),
    )
    s3.put_object(Bucket=zones["raw"], Key=manifest.key, Body=dumps(manifest).encode())
    return f"s3://{zones['raw']}/{manifest.key}"


def plan(
    clients: Any, zones: dict[str, str], run: str, manifests: list[str], **changes: Any
) -> tuple[str, str]:
    """Write configuration and plan; the plan's and the result's URI."""
    attempt = changes.pop("attempt", 1)
    values: dict[str, Any] = {
        "platform": "default",
        "namespace": "ns",
        "name": "pipe",
        "inputs": (Input("src", "ns/src", CONTRACT),),
        "stages": STAGES,
        "processed": Destination(zones["processed"], "customers/", BY_DAY, glue_table="customers"),
        "raw_bucket": zones["raw"],
        "quarantine_bucket": zones["quarantine"],
        "artifacts_bucket": zones["artifacts"],
        "state_table": CONTRACTS,
        "glue_database": "ns",
        "region": "us-east-1",
        "pii_key_secret": "pii",
    }
    config = PipelineConfig(**{**values, **changes})
    base = f"s3://{zones['artifacts']}/{run}-{attempt}"
    made = RunPlan(
        run, config.id, f"{base}/config.json", tuple(manifests), f"{base}/result.json", attempt
    )
    for name, message in (("config", config), ("plan", made)):
        clients("s3").put_object(
            Bucket=zones["artifacts"],
            Key=f"{run}-{attempt}/{name}.json",
            Body=dumps(message).encode(),
        )
    return f"{base}/plan.json", made.result_uri


def read(clients: Any, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body: bytes = clients("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


@pytest.fixture(scope="module")
def run_job(aws: dict[str, str]) -> Any:
    """Run the job's script as Glue does: a process with a plan, and settings from outside."""
    list(sparkjars.warm())
    jars = ":".join(str(jar) for jar in sparkjars.jars())
    conf = {
        "spark.master": "local[2]",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": aws["AWS_ENDPOINT_URL"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "com.amazonaws.auth.EnvironmentVariableCredentialsProvider"
        ),
    }
    submit = f'--driver-class-path {jars} --driver-java-options "{JVM_OPTIONS}" '
    submit += " ".join(f"--conf {key}={value}" for key, value in conf.items()) + " pyspark-shell"

    def run(plan_uri: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, process.__file__, "--JOB_NAME", "x", "--WEIR_PLAN", plan_uri],
            env={**os.environ, **aws, "PYSPARK_SUBMIT_ARGS": submit},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    return run


def test_dirty_records_become_rows_an_account_and_quarantine(
    clients: Any, zones: dict[str, str], run_job: Any
) -> None:
    manifests = [
        land(clients, zones, 1, RECORDS[:4]),
        land(clients, zones, 2, RECORDS[4:]),
        land(clients, zones, 11, ['{"op":"D","id":9,"amount":"n/a"}', '{"op":"D","id":null}']),
    ]
    contract = replace(CONTRACT, deletion=DeletionMark("op", ("D",)))
    load = Load("shop", "customers", "merge", keys=("customerId",), deletes="hard")
    plan_uri, result_uri = plan(
        clients,
        zones,
        "run-a",
        manifests,
        inputs=(Input("src", "ns/src", contract),),
        stages=(*STAGES, Stage("warehouse", "load", load=load)),
    )
    orphan = "customers/year=2024/month=03/day=05/run-a-0-00000.parquet"
    other = "customers/year=2024/month=03/day=05/run-b-1-00000.parquet"
    replaced = "curated/name=Ada/run-b-1-00000.parquet"
    for key in (orphan, other, replaced):
        clients("s3").put_object(Bucket=zones["processed"], Key=key, Body=b"old")

    done = run_job(plan_uri)
    assert done.returncode == 0, done.stderr[-4000:]

    result = loads(RunResult, read(clients, result_uri))
    assert imbalances(result.accounts) == ()
    assert [(item.stage, item.rows_in, item.rows_out) for item in result.accounts] == [
        ("land", 9, 8),
        ("cast", 8, 6),
        ("deletions", 6, 5),
        ("tidy", 5, 4),
        ("enrich", 4, 3),
        ("check", 3, 2),
        ("publish", 2, 2),
        ("protect", 2, 2),
        ("processed", 2, 2),
    ]
    assert result.columns == (
        "customerId",
        "customerName",
        "customerEmail",
        "amount",
        "domain",
        "_weir_run",
        "_weir_sequence",
    )
    assert result.types[:5] == ("integer", "string", "string", "decimal(20,2)", "string")
    assert result.sequences == {"ns/src": 11}
    [deletions] = result.deletions
    gone = pq.read_table(BytesIO(read(clients, deletions.uri)))
    assert tuple(gone.column_names) == result.columns
    [deletion] = gone.to_pylist()
    assert (deletion["customerId"], deletion["amount"]) == (9, None)
    assert deletion["_weir_sequence"] == 11
    assert result.quality_failed
    [file] = result.files
    assert file.uri.endswith("customers/year=2024/month=03/day=05/run-a-1-00000.parquet")
    stored = read(clients, file.uri)
    assert (file.rows, file.bytes) == (2, len(stored))
    table = pq.read_table(BytesIO(stored))
    assert tuple(table.column_names) == result.columns
    rows = {row["customerId"]: row for row in table.to_pylist()}
    assert str(rows[1]["amount"]) == "12345678901234567.89"
    assert rows[1]["customerName"] == "Ada"
    assert rows[2]["customerName"] == "Bob"
    assert len(rows[1]["customerEmail"]) == 64
    assert (rows[1]["_weir_run"], rows[1]["_weir_sequence"]) == ("run-a", 1)

    keys = {
        item["Key"] for item in clients("s3").list_objects_v2(Bucket=zones["processed"])["Contents"]
    }
    assert keys == {
        other,
        file.uri.removeprefix(f"s3://{zones['processed']}/"),
        "customers/_weir_deletions/run-a-1-00000.parquet",
        "curated/name=Ada/run-a-1-00000.parquet",
        "curated/name=Bob/run-a-1-00001.parquet",
    }
    [partition] = clients("glue").get_partitions(DatabaseName="ns", TableName="customers")[
        "Partitions"
    ]
    assert partition["Values"] == ["2024", "03", "05"]
    columns = {item["Name"]: item["Type"] for item in partition["StorageDescriptor"]["Columns"]}
    assert columns == {
        "customerid": "bigint",
        "customername": "string",
        "customeremail": "string",
        "amount": "decimal(20,2)",
        "domain": "string",
        "_weir_run": "string",
        "_weir_sequence": "bigint",
    }

    assert result.quarantine_uri == "s3://weir-glue-quarantine/ns/pipe/run=run-a/"
    assert sum(result.quarantine_reasons.values()) == 4
    assert "customerId: is missing in a deletion" in result.quarantine_reasons
    assert "the record is no JSON object" in result.quarantine_reasons
    lines = []
    for item in clients("s3").list_objects_v2(Bucket=zones["quarantine"])["Contents"]:
        if item["Key"].endswith(".json.gz"):
            text = gzip.decompress(read(clients, f"s3://{zones['quarantine']}/{item['Key']}"))
            lines += [json.loads(line) for line in text.decode().splitlines()]
    assert sorted((line["stage"], line["record"]) for line in lines) == sorted(
        [
            ("cast", RECORDS[3]),
            ("cast", '{"op":"D","id":null}'),
            ("check", RECORDS[4]),
            ("land", RECORDS[5]),
        ]
    )
    assert {line["stage"]: line["replayable"] for line in lines} == {
        "cast": True,
        "check": True,
        "land": True,
    }


def test_an_empty_landing_gives_an_account_and_no_file(
    clients: Any,
    zones: dict[str, str],
    aws: dict[str, str],
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in aws.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    plan_uri, result_uri = plan(clients, zones, "run-e", [land(clients, zones, 3, [])])
    Run(spark, read_work(plan_uri)).execute()
    result = loads(RunResult, read(clients, result_uri))
    assert result.files == ()
    assert len(result.accounts) == 8
    assert all(item.rows_in == item.rows_out == 0 for item in result.accounts)


def test_a_column_that_is_stated_later_is_read_beside_the_frozen_ones(
    clients: Any, zones: dict[str, str], aws: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    frozen = RowContract(
        fields=(
            Field("id", "old", "integer"),
            Field("gone", "gone", "date"),
            Field("price", "price", "decimal(38,2)", widened_from="integer"),
            Field("extra", "extra key", "json", added=7),
        )
    )
    clients("dynamodb").put_item(
        TableName=CONTRACTS,
        Item={"pk": {"S": "SOURCE#ns/kept"}, "sk": {"S": "CONTRACT"}, "body": {"S": dumps(frozen)}},
    )
    stated = (
        Field("id", "id"),
        Field("age", "age"),
        Field("at", "at", "timestamp"),
        Field("price", "price", "integer"),
    )
    item = Input("src", "ns/kept", RowContract(fields=stated, keys=("id",)))
    plan_uri, _ = plan(
        clients,
        zones,
        "run-later",
        [land(clients, zones, 9, RECORDS[:1])],
        inputs=(Input("src", "ns/src", CONTRACT), item),
    )
    work = read_work(plan_uri)
    manifest = replace(MANIFEST, inferred={"id": "string", "age": "number"})
    found = resolve_contract(work.config, item, [manifest])
    assert [(f.name, f.path, f.type) for f in found.fields] == [
        ("id", "id", "integer"),
        ("age", "age", "number"),
        ("at", "at", "timestamp"),
        ("price", "price", "decimal(38,2)"),
        ("extra", "extra key", "json"),
    ]
    assert found.keys == ("id",)
    open_input = replace(item, contract=RowContract())
    assert resolve_contract(work.config, open_input, [manifest]).types == frozen.types


def test_a_run_that_can_not_go_on_says_why_in_its_last_line(
    clients: Any, zones: dict[str, str], run_job: Any
) -> None:
    stages = (Stage("bad", "transform", {"steps": [{"derive": {"x": "reflect('a', 'b')"}}]}),)
    plan_uri, _ = plan(
        clients, zones, "run-f", [land(clients, zones, 4, RECORDS[:1])], stages=stages
    )
    done = run_job(plan_uri)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ExpressionRefused: stage bad, step 1 (derive)")


def test_an_entry_that_was_made_anew_finds_the_tables_newest_metadata(
    clients: Any,
    zones: dict[str, str],
    aws: dict[str, str],
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    to = Destination(zones["processed"], "lost/", glue_table="lost", iceberg=IcebergTable("append"))
    table = table_of(spark, "ns", to)
    glue = clients("glue")

    def location() -> str | None:
        entry = glue.get_table(DatabaseName="ns", Name="lost")["Table"]
        found: str | None = entry["Parameters"].get("metadata_location")
        return found

    def committed(name: str) -> str:
        key = f"lost/table/metadata/{name}.metadata.json"
        clients("s3").put_object(Bucket=zones["processed"], Key=key, Body=b"{}")
        return f"s3://{zones['processed']}/{key}"

    with pytest.raises(OutputRefused, match="made by the Pipeline's reconciliation"):
        recover(table)
    made = {
        "Name": "lost",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"table_type": "ICEBERG", "tag:team": "blue"},
        "StorageDescriptor": {"Location": to.location},
    }
    glue.create_table(DatabaseName="ns", TableInput=made)
    recover(table)
    assert location() is None

    committed("00002-a")
    newest = committed("00010-b")
    rival = committed("00010-c")
    with pytest.raises(OutputRefused, match="are of the same version"):
        recover(table)
    assert location() is None

    bucket, _, key = rival.removeprefix("s3://").partition("/")
    clients("s3").delete_object(Bucket=bucket, Key=key)
    recover(table)
    assert location() == newest
    entry = glue.get_table(DatabaseName="ns", Name="lost")["Table"]
    assert entry["Parameters"]["tag:team"] == "blue"
    committed("00011-d")
    recover(table)
    assert location() == newest
