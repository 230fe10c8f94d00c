"""The four functions by their entry points, one after another as the state machines call them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from told_metrics import metrics_in
from weir_contract.codec import dumps, loads
from weir_contract.manifest import manifest_key
from weir_contract.pipelines import (
    Destination,
    Input,
    Load,
    PipelineConfig,
    Stage,
    Unload,
    Warehouse,
)
from weir_contract.rest import Paginator
from weir_contract.rows import RowContract
from weir_contract.runs import OutputFile, RunPlan, RunRecord, RunResult, StageAccount
from weir_contract.sources import RequestLimits, RestApi
from weir_contract.state import BODY, pipeline_pk, run_sk, source_pk, subscriber_sk
from weir_lambdas.api_ingestion.handler import handler as ingest
from weir_lambdas.common import aws as clients
from weir_lambdas.common.errors import (
    ConfigInvalid,
    SourceForbidden,
    SourceRateLimited,
    SourceUnauthorized,
    SourceUnavailable,
)
from weir_lambdas.redshift_loader.handler import handler as loader
from weir_lambdas.run_control.handler import handler as control
from weir_lambdas.trigger.handler import handler as trigger

ID = "shop/orders"


class Context:
    """Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture
def environment(ministack: str, monkeypatch: pytest.MonkeyPatch, bucket: str, table: Any) -> Any:
    """What Lambda sets, pointing at the local AWS."""
    for name, value in {
        "AWS_ENDPOINT_URL": ministack,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "WEIR_STATE_TABLE": table.name,
        "WEIR_RAW_BUCKET": bucket,
    }.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    yield monkeypatch
    clients.client.cache_clear()


@pytest.fixture
def machine(aws: Any) -> str:
    definition = '{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":300,"End":true}}}'
    created = aws("stepfunctions").create_state_machine(
        name=f"m{uuid4().hex}", definition=definition, roleArn="arn:aws:iam::000000000000:role/x"
    )
    return str(created["stateMachineArn"])


def pipeline(bucket: str, table: str) -> PipelineConfig:
    return PipelineConfig(
        platform="default",
        namespace="shop",
        name="orders",
        inputs=(Input("orders", ID, RowContract()),),
        stages=(
            Stage("warehouse", "load", load=Load("shop", "orders", "merge", keys=("id",))),
            Stage("export", "unload", unload=Unload("select 1", bucket, "out/")),
        ),
        processed=Destination(bucket, "p/"),
        raw_bucket=bucket,
        quarantine_bucket=bucket,
        artifacts_bucket=bucket,
        state_table=table,
        glue_database="db",
        region="us-east-1",
        warehouse=Warehouse("dev", workgroup="warehouse", copy_role_arn="arn:aws:iam::0:role/copy"),
    )


def test_an_error_that_is_tried_again_stands_in_the_ledger_until_the_source_answers(
    environment: Any, api: Any, source: Any, table: Any, storage: Any, bucket: str
) -> None:
    answers = [(500, {}, b""), (429, {}, b""), (200, {}, b'[{"id":1}]')]
    api.answer = lambda call, http: answers[len(api.calls) - 1]
    config = source(RestApi(api.url, limits=RequestLimits(max_attempts=1)))
    storage.put(bucket, "config/source.json", dumps(config).encode(), "application/json")
    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/config/source.json")
    seen = []
    for error in (SourceUnavailable, SourceRateLimited, None):
        with pytest.raises(error) if error else nullcontext():
            ingest({"run": "run-1", "execution": "arn:x:run-1"}, Context())
        seen.append(loads(RunRecord, table.get(source_pk(ID), run_sk("run-1"))[BODY]))
    assert [one.state for one in seen] == ["Running", "Running", "Succeeded"]
    assert [one.failure and one.failure.error for one in seen] == [
        "SourceUnavailable",
        "SourceRateLimited",
        None,
    ]
    assert seen[0].failure is not None and "500: the source failed" in seen[0].failure.message
    assert {one.started for one in seen} == {seen[0].started}


def test_rows_go_from_the_source_to_an_account(
    environment: Any,
    aws: Any,
    api: Any,
    source: Any,
    table: Any,
    storage: Any,
    bucket: str,
    machine: str,
) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"id":1,"n":"a"},{"id":2,"n":"b"}]')
    storage.put(
        bucket, "config/source.json", dumps(source(RestApi(api.url))).encode(), "application/json"
    )
    config = pipeline(bucket, table.name)
    storage.put(bucket, "config/pipe.json", dumps(config).encode(), "application/json")
    table.put(source_pk(ID), subscriber_sk(ID), {"stateMachineArn": machine, "onArrival": True})

    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/config/source.json")
    landed = ingest(
        {
            "run": "run-1",
            "scheduledTime": "2026-01-01T00:00:00Z",
            "input": {"requestedBy": "shop/pr"},
        },
        Context(),
    )
    assert (landed["rows"], landed["complete"]) == (2, True)
    record = loads(RunRecord, table.get(source_pk(ID), run_sk("run-1"))[BODY])
    assert record.requested_by == ("shop/pr",)

    key = manifest_key(ID, landed["sequence"])
    body = json.dumps({"detail": {"bucket": {"name": bucket}, "object": {"key": key}}})
    assert trigger({"Records": [{"messageId": "1", "body": body}]}, Context()) == {
        "batchItemFailures": []
    }
    execution = aws("stepfunctions").list_executions(stateMachineArn=machine)["executions"][0][
        "executionArn"
    ]

    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/config/pipe.json")
    begun = control({"action": "begin", "execution": execution, "input": {}}, Context())
    assert (begun["rows"], begun["workers"], begun["empty"]) == (2, 2, False)
    plan = loads(RunPlan, storage.get_uri(begun["planUri"]))
    result = RunResult(
        plan.run,
        plan.attempt,
        (StageAccount("land", "land", 2, 2),),
        files=(OutputFile(f"s3://{bucket}/p/f.parquet", 2, 100),),
        columns=("id", "n", "_weir_run", "_weir_sequence"),
        types=("integer", "string", "string", "integer"),
    )
    storage.put(
        bucket, plan.result_uri.split("/", 3)[3], dumps(result).encode(), "application/json"
    )

    prepared = loader({"action": "prepare", "stage": "warehouse", **begun}, Context())
    assert prepared["skip"] is False and prepared["workgroupName"] == "warehouse"
    assert prepared["sqls"][0].startswith("LOCK TABLE")
    copy = next(sql for sql in prepared["sqls"] if sql.startswith("COPY"))
    manifest = json.loads(storage.get_uri(copy.split("'")[1]))
    assert manifest["entries"][0]["meta"] == {"content_length": 100}
    assert loader({"action": "prepare", "stage": "export", **begun}, Context())["sqls"][
        0
    ].startswith("UNLOAD")
    cells = [{"longValue": value} for value in (2, 0, 2, 0, 0, 0, 1, 2, 0, 0)]
    counts = loader(
        {"action": "result", "stage": "warehouse", "records": [cells], **begun}, Context()
    )
    assert counts["inserted"] == 2

    said = control(
        {"action": "account", "execution": execution, **begun, "loads": {"warehouse": counts}},
        Context(),
    )
    assert said["rows"] == 2 and not said["qualityFailed"]
    released = control({"action": "release", "execution": execution}, Context())
    assert released == {"more": False, "handOver": False}
    record = loads(RunRecord, table.get(pipeline_pk(ID), run_sk(begun["run"]))[BODY])
    assert [stage.stage for stage in record.account] == ["land", "warehouse"]
    assert trigger({"sweep": True}, Context()) == {"found": 0}
    assert not list(table.query(pipeline_pk(ID), "PENDING#"))


def test_a_failed_landing_is_in_the_ledger_with_what_to_do(
    environment: Any, api: Any, source: Any, table: Any, storage: Any, bucket: str
) -> None:
    api.answer = lambda call, http: (401, {}, b"")
    storage.put(bucket, "c.json", dumps(source(RestApi(api.url))).encode(), "application/json")
    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/c.json")
    with pytest.raises(SourceUnauthorized) as caught:
        ingest({"run": "run-1"}, Context())
    cause = json.dumps({"errorType": "SourceUnauthorized", "errorMessage": str(caught.value)})
    error = {"Error": "SourceUnauthorized", "Cause": cause}
    said = ingest(
        {"action": "fail", "run": "run-1", "execution": "arn:e", "error": error}, Context()
    )
    assert said["subject"] == "Weir: DataSource shop/orders failed: SourceUnauthorized"
    assert "401" in said["message"] and "Check the credential" in said["message"]
    record = loads(RunRecord, table.get(source_pk(ID), run_sk("run-1"))[BODY])
    assert record.state == "Failed" and record.failure is not None
    assert record.failure.action.startswith("Check the credential")
    assert "Check the credential" not in record.failure.message


def test_each_call_of_a_warm_function_counts_its_own_also_where_it_fails(
    environment: Any, api: Any, source: Any, storage: Any, bucket: str, capsys: Any
) -> None:
    def answer(call: Any, _http: Any) -> Any:
        page = int(call.query["page"])
        return (200, {}, json.dumps([{"id": page}]).encode()) if page < 4 else (403, {}, b"")

    api.answer = answer
    config = source(RestApi(api.url, paginator=Paginator("pageNumber", page_size=1)))
    storage.put(bucket, "c.json", dumps(config).encode(), "application/json")
    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/c.json")
    with pytest.raises(SourceForbidden):
        ingest({"run": "run-1"}, Context())
    landed = {one[1]: one[2:4] for one in metrics_in(capsys.readouterr().out)}
    of_source = {"Namespace": "shop", "Source": "orders"}
    assert landed["RowsLanded"] == (of_source, 3.0) and landed["Landings"] == (of_source, 1.0)
    with pytest.raises(SourceForbidden):
        ingest({"run": "run-2"}, Context())
    assert metrics_in(capsys.readouterr().out) == []
    ingest({"action": "fail", "run": "run-2", "execution": "e", "error": {}}, Context())
    (failed,) = metrics_in(capsys.readouterr().out)
    assert failed[:4] == ("Weir", "LandingsFailed", of_source, 1.0)


def test_unknown_actions_and_configurations_are_refused_by_name(
    environment: Any, storage: Any, bucket: str, table: Any
) -> None:
    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/absent.json")
    with pytest.raises(ConfigInvalid, match="no such object"):
        control({"action": "begin", "execution": "x"}, Context())
    config = pipeline(bucket, table.name)
    storage.put(
        bucket, "p.json", dumps(replace(config, warehouse=None)).encode(), "application/json"
    )
    environment.setenv("WEIR_CONFIG", f"s3://{bucket}/p.json")
    with pytest.raises(ConfigInvalid, match="no action 'fly'"):
        control({"action": "fly", "execution": "x"}, Context())
    with pytest.raises(ConfigInvalid, match="no Redshift"):
        loader({"action": "prepare", "stage": "warehouse", "run": "r"}, Context())
    with pytest.raises(ConfigInvalid, match="no stage 'other'"):
        loader({"action": "prepare", "stage": "other", "run": "r"}, Context())
