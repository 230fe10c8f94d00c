"""``weir plan`` says what the operator would do, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weir.cli.stored import Server, merge_patch
from weir.kube.client import path_of
from weir.kube.keys import Key
from weir_local.aws.server import LocalAws
from weir_local.cluster import run

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

Source = Callable[..., dict[str, Any]]


def verbs(planned: dict[str, Any], kind: str) -> dict[str, str]:
    """Kind and id of each resource of an object that changes -> what happens to it."""
    for one in planned["objects"]:
        if one["kind"] == kind:
            return {
                f"{line['kind']} {line['id']}": line["action"]
                for line in one["actions"]
                if line["action"] != "none"
            }
    return {}


def test_a_plan_before_anything_exists_creates_everything(
    desk, platform, source: Source, build: Path, plan_aws: LocalAws
) -> None:
    options = ("--cluster-id", "desk", "--artifacts", str(build))
    planned = desk.plan(platform, source(), options=options)
    assert planned["exit"] == 2
    assert [one["kind"] for one in planned["objects"]] == ["Platform", "DataSource", "Pipeline"]
    child = planned["objects"][2]
    assert child["name"] == "customers" and not child["inFiles"]
    for one in planned["objects"]:
        assert {line["action"] for line in one["actions"]} <= {"create", "none"}
        assert any(line["permissions"] for line in one["actions"])
    assert "redshift.Schema schema-" in " ".join(verbs(planned, "Platform"))
    assert desk.kube.get(Key("Platform", "", "planned")) is None
    assert plan_aws.admin_session().client("s3").list_buckets()["Buckets"] == []


def test_a_new_platform_needs_the_cluster_id(desk, platform) -> None:
    planned = desk.plan(platform)
    assert planned["exit"] == 1
    assert "--artifacts" in planned["objects"][0]["error"]["message"]


def test_after_apply_the_plan_is_empty(desk, platform, source: Source) -> None:
    desk.apply(platform, source())
    planned = desk.plan(platform, source())
    assert planned["exit"] == 0, planned
    assert planned["changes"] is False
    text = desk.weir("plan", "-f", desk.file(source()), "-n", desk.namespace)
    assert text.exit_code == 0
    assert "No changes" in text.stdout


def test_a_changed_schedule_is_one_update_in_place(desk, source: Source) -> None:
    changed = source(
        source={
            "restApi": {
                "endpoint": "https://api.example.com/customers",
                "schedule": "rate(2 hours)",
            }
        }
    )
    planned = desk.plan(changed)
    assert planned["exit"] == 2
    assert verbs(planned, "DataSource")["scheduler.Schedule schedule"] == "update"
    text = desk.weir("plan", "-f", desk.file(changed), "-n", desk.namespace).stdout
    assert "ScheduleExpression: rate(1 hour) -> rate(2 hours)" in text


def test_columns_of_a_source_reach_the_plan_of_its_managed_pipeline(desk, source: Source) -> None:
    changed = source()
    changed["spec"]["schema"]["fields"].append({"name": "email", "type": "string"})
    planned = desk.plan(changed)
    found = verbs(planned, "Pipeline")
    assert found["redshift.Table target-warehouse"] == "update"
    assert found["glue.Table table-processed"] == "update"
    text = desk.weir("plan", "-f", desk.file(changed), "-n", desk.namespace).stdout
    assert '+ {"Name": "email", "Type": "string"}' in text
    assert '- {"Name": "customerid"' not in text


def test_what_is_no_longer_wanted_is_deleted_and_data_stays(desk, source: Source) -> None:
    """Without redshift there is no managed Pipeline: everything of it goes but its table."""
    planned = desk.plan(source(redshift=None))
    found = verbs(planned, "Pipeline")
    assert found["glue.Job process"] == "delete"
    assert found["states.StateMachine machine"] == "delete"
    assert found["redshift.Table target-warehouse"] == "retain"
    deleting = desk.plan(source(redshift=None, deletionPolicy="Delete"))
    lines = [line for one in deleting["objects"] for line in one["actions"] if line["losesData"]]
    assert "redshift.Table" in {line["kind"] for line in lines}


def test_a_new_user_shows_what_the_platform_holds_for_it(desk, source: Source) -> None:
    new = source(
        "orders", redshift={"schema": "orders", "table": "orders", "distkey": "customerId"}
    )
    planned = desk.plan(new)
    assert planned["exit"] == 2
    claimed = verbs(planned, "Platform")
    assert any(name.startswith("redshift.Schema") for name in claimed)
    assert verbs(planned, "DataSource")["lambda.Function ingest"] == "create"


def test_drift_shows_as_what_it_is_put_back_to(desk, source: Source, plan_aws: LocalAws) -> None:
    live = desk.kube.get(Key("DataSource", desk.namespace, "customers"))
    function = next(line["name"] for line in live["status"]["resources"] if line["id"] == "ingest")
    client = plan_aws.admin_session().client("lambda")
    memory = client.get_function_configuration(FunctionName=function)["MemorySize"]
    client.update_function_configuration(FunctionName=function, MemorySize=3008)
    text = desk.weir("plan", "-f", desk.file(source()), "-n", desk.namespace).stdout
    assert f"MemorySize: 3008 -> {memory}" in text
    client.update_function_configuration(FunctionName=function, MemorySize=memory)


def test_a_permission_that_was_taken_away_shows_as_gained(
    desk, source: Source, plan_aws: LocalAws
) -> None:
    live = desk.kube.get(Key("DataSource", desk.namespace, "customers"))
    role = next(
        line["name"] for line in live["status"]["resources"] if line["id"] == "machine-role"
    )
    iam = plan_aws.admin_session().client("iam")
    document = iam.get_role_policy(RoleName=role, PolicyName="weir")["PolicyDocument"]
    less = {**document, "Statement": [s for s in document["Statement"] if "lambda" not in str(s)]}

    iam.put_role_policy(RoleName=role, PolicyName="weir", PolicyDocument=json.dumps(less))
    planned = desk.plan(source())
    found = next(one for one in planned["objects"] if one["kind"] == "DataSource")
    gained = [one for line in found["actions"] for one in line["permissions"]]
    assert gained and all(one["text"].startswith("lambda:InvokeFunction on ") for one in gained)
    assert {tuple(one["actions"]) for one in gained} == {("lambda:InvokeFunction",)}
    iam.put_role_policy(RoleName=role, PolicyName="weir", PolicyDocument=json.dumps(document))


def test_what_nobody_owns_is_a_conflict_until_it_is_adopted(
    desk, source: Source, plan_aws: LocalAws
) -> None:
    live = desk.kube.get(Key("DataSource", desk.namespace, "customers"))
    group = next(
        line["name"] for line in live["status"]["resources"] if line["id"] == "ingest-logs"
    )
    logs = plan_aws.admin_session().client("logs")
    arn = f"arn:aws:logs:{plan_aws.region}:{plan_aws.account}:log-group:{group}"
    tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
    logs.untag_resource(resourceArn=arn, tagKeys=list(tags))
    planned = desk.plan(source())
    assert planned["exit"] == 2
    assert verbs(planned, "DataSource")["logs.LogGroup ingest-logs"] == "conflict"
    willing = source()
    willing["metadata"]["annotations"] = {"weir.dev/adopt": "true"}
    assert verbs(desk.plan(willing), "DataSource")["logs.LogGroup ingest-logs"] == "adopt"
    logs.tag_resource(resourceArn=arn, tags=tags)


def test_what_the_server_refuses_is_an_error_and_exits_1(desk, source: Source) -> None:
    planned = desk.plan(source(redshift={"schema": "sales", "table": "t", "mode": "merge"}))
    assert planned["exit"] == 1
    assert planned["objects"][0]["error"]["reason"] in {"Refused", "UnknownColumn"}


def test_a_pipeline_whose_source_is_missing_cannot_be_planned(desk) -> None:
    pipeline = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "alone"},
        "spec": {
            "platform": "planned",
            "sources": [{"name": "nobody"}],
            "destination": {"prefix": "alone/"},
            "stages": [{"name": "clean", "clean": {"nulls": "drop"}}],
        },
    }
    planned = desk.plan(pipeline)
    assert planned["exit"] == 1
    found = next(one for one in planned["objects"] if one["kind"] == "Pipeline")
    assert found["error"]["reason"] == "UnknownSource"
    assert "nobody" in found["error"]["message"]


def test_markdown_has_a_table_and_a_diff(desk, source: Source) -> None:
    changed = source()
    changed["spec"]["schema"]["fields"].append({"name": "email", "type": "string"})
    result = desk.weir("plan", "-f", desk.file(changed), "-n", desk.namespace, "-o", "markdown")
    assert result.exit_code == 2
    assert "| | Resource | Name | Why |" in result.stdout
    assert "```diff" in result.stdout
    assert "<details><summary>Pipeline" in result.stdout
    assert len(result.stdout.encode()) < 65_536


def test_without_a_cluster_the_files_must_hold_everything(
    desk, platform, source: Source, build: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    file = desk.file(platform, source())
    result = desk.weir(
        "plan", "-f", file, "--cluster-id", "other", "--artifacts", str(build), "-o", "text"
    )
    assert "planned without a cluster" in result.stderr
    assert "NotGranted" in result.stdout
    assert result.exit_code == 1


def test_a_platform_of_another_account_is_refused(desk, platform, build: Path) -> None:
    other = {
        **platform,
        "metadata": {"name": "elsewhere"},
        "spec": {**platform["spec"], "accountId": "123456789012"},
    }
    options = ("--cluster-id", "desk", "--artifacts", str(build))
    planned = desk.plan(other, options=options)
    assert planned["exit"] == 1
    assert (
        "the credentials are of account 000000000000" in planned["objects"][0]["error"]["message"]
    )


def test_what_can_never_change_is_refused_by_the_server(desk, platform) -> None:
    moved = {**platform, "spec": {**platform["spec"], "accountId": "123456789012"}}
    planned = desk.plan(moved)
    assert planned["exit"] == 1
    assert planned["objects"][0]["error"]["reason"] == "Refused"
    assert "accountId" in planned["objects"][0]["error"]["message"]


def test_a_field_that_the_manifest_drops_goes_and_one_that_another_has_set_stays(
    desk, source: Source
) -> None:
    """As kubectl's three-way merge has it."""
    key = Key("DataSource", desk.namespace, "customers")
    live = desk.kube.get(key)
    desk.kube.request(
        "PATCH",
        path_of(key),
        {"spec": {"suspend": True}},
        content_type="application/merge-patch+json",
    )
    stored = Server(desk.kube).applied(
        {**source(redshift=None), "metadata": {"name": "customers", "namespace": desk.namespace}}
    )
    assert "redshift" in live["spec"] and "redshift" not in stored["spec"]
    assert stored["spec"]["suspend"] is True
    assert "redshift" in desk.kube.get(key)["spec"]
    desk.kube.request(
        "PATCH",
        path_of(key),
        {"spec": {"suspend": None}},
        content_type="application/merge-patch+json",
    )


def test_a_merge_patch_drops_what_the_former_manifest_had() -> None:
    before = {"spec": {"a": 1, "b": {"c": 2, "d": 3}, "list": [1]}}
    wish = {"spec": {"b": {"c": 4}, "list": [2]}}
    assert merge_patch(before, wish) == {"spec": {"a": None, "b": {"c": 4, "d": None}, "list": [2]}}


def test_who_may_list_one_namespace_plans_without_the_platforms_part(
    desk, platform, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.apply(platform, source())
    space = ("-n", desk.namespace)

    def kubectl(*arguments: str) -> str:
        return str(run(desk.plane, "kubectl", *arguments).stdout)

    kubectl("create", "serviceaccount", "reader", *space)
    subject = f"--serviceaccount={desk.namespace}:reader"
    kinds = "datasources.weir.dev,dataschemas.weir.dev"
    kubectl(
        "create", "clusterrole", "see-platforms", "--verb=get,list", "--resource=platforms.weir.dev"
    )
    kubectl("create", "clusterrolebinding", "see-platforms", "--clusterrole=see-platforms", subject)
    kubectl(
        "create",
        "role",
        "plan",
        *space,
        "--verb=get,list,create,patch,update",
        f"--resource={kinds}",
    )
    kubectl("create", "role", "see", *space, "--verb=get,list", "--resource=pipelines.weir.dev")
    kubectl("create", "rolebinding", "see", *space, "--role=see", subject)
    kubectl("create", "rolebinding", "plan", *space, "--role=plan", subject)
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [
        {"name": "reader", "user": {"token": kubectl("create", "token", "reader", *space).strip()}}
    ]
    for context in config["contexts"]:
        context["context"]["user"] = "reader"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    planned = desk.plan(source())
    assert planned["exit"] == 0, planned
    assert [one["kind"] for one in planned["objects"]] == ["DataSource"]
    whole = desk.plan(platform)
    assert whole["exit"] == 1
    assert whole["objects"][0]["error"]["reason"] == "Forbidden"
    kubectl("delete", "clusterrolebinding,clusterrole", "see-platforms")
