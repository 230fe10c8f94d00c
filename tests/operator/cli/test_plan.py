"""``weir plan`` says what the operator would do, and does nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weir.cli.documents import read_files
from weir.cli.manifests import manifests
from weir.cli.stored import NoServer, Server, merge_patch
from weir.kube.client import path_of
from weir.kube.keys import Key
from weir_contract.state import pipeline_pk
from weir_local.aws.server import LocalAws
from weir_local.cluster import run

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

Source = Callable[..., dict[str, Any]]
CALLS = {
    "create": ("create",),
    "update": ("update",),
    "adopt": ("update",),
    "replace": ("delete", "create"),
    "delete": ("delete",),
}
"""What a plan says -> the calls that do it."""
UNKNOWN_TEXT = "(known after apply)"


def announced(planned: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """The changes that a plan says will be made: call, kind and name."""
    return Counter(
        (call, line["kind"], line["name"])
        for one in planned["objects"]
        for line in one["actions"]
        for call in CALLS.get(line["action"], ())
    )


def unannounced(
    done: list[tuple[str, str, str]], said: Counter[tuple[str, str, str]]
) -> list[tuple[str, str, str]]:
    """Changes that were made and not announced. A name may have had an unknown in it."""
    patterns = {(call, kind): [] for call, kind, _ in said}
    for call, kind, name in said:
        rule = re.escape(name).replace(re.escape(UNKNOWN_TEXT), "[^/]+")
        patterns[call, kind].append(re.compile(rule))
    return [
        (call, kind, name)
        for call, kind, name in done
        if not any(rule.fullmatch(name) for rule in patterns.get((call, kind), ()))
    ]


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


def test_what_only_aws_can_tell_is_unknown_wherever_it_goes(
    desk, platform, source: Source, build: Path
) -> None:
    """A key's ARN is in configurations, and their hash in names."""
    options = ("--cluster-id", "desk", "--artifacts", str(build))
    planned = desk.plan(platform, source(), options=options)
    names = {line["id"]: line["name"] for one in planned["objects"][1:] for line in one["actions"]}
    assert names["config"].endswith(f"/customers-{UNKNOWN_TEXT}.json")
    assert UNKNOWN_TEXT not in names["ingest"]
    told = json.dumps(planned)
    assert "arn:aws:unknown" not in told


def test_after_apply_the_plan_is_empty_and_apply_did_what_it_said(
    desk, platform, source: Source, build: Path
) -> None:
    options = ("--cluster-id", "desk", "--artifacts", str(build))
    said = announced(desk.plan(platform, source(), options=options))
    desk.writes.done.clear()
    desk.apply(platform, source())
    created = [one for one in desk.writes.done if one[0] == "create"]
    assert unannounced(created, said) == []
    twice = [one for one, count in Counter(created).items() if count > 1]
    assert len(created) == sum(said.values()), twice
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
    assert found["error"]["reason"] == "SourceNotFound"
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


def namespaced(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def test_a_folder_with_its_own_namespace_is_planned_before_anything_of_it_is_applied(
    desk, platform, source: Source
) -> None:
    one = source(
        "first", redshift={"schema": "arrivals", "table": "first", "distkey": "customerId"}
    )
    one["metadata"]["namespace"] = "arriving"
    grants = [*platform["spec"]["grants"], {"namespaces": {"matchLabels": {"team": "new"}}}]
    opened = {**platform, "spec": {**platform["spec"], "grants": grants}}

    def planned(*objects: dict[str, Any]) -> dict[str, Any]:
        result = desk.weir("plan", "-f", desk.file(*objects), "-o", "json")
        everything = json.loads(result.stdout)["objects"]
        found = {each["kind"]: each for each in everything if each["namespace"] == "arriving"}
        assert "Namespace" not in result.stderr, "it is part of the plan"
        return found

    found = planned(opened, namespaced("arriving", team="new"), one)
    assert "error" not in found["DataSource"], found["DataSource"]["error"]
    assert "lambda.Function" in json.dumps(found["DataSource"]["actions"])
    assert "error" not in found["Pipeline"]
    strange = planned(opened, namespaced("arriving", team="old"), one)
    assert strange["DataSource"]["error"]["reason"] == "NotGranted"
    broken = {**one, "spec": {**one["spec"], "source": {}}}
    refused = planned(opened, namespaced("arriving", team="new"), broken)
    assert refused["DataSource"]["error"]["reason"] == "Refused"
    nowhere = planned(opened, one)
    assert 'namespaces "arriving" not found' in nowhere["DataSource"]["error"]["message"]


def test_a_namespace_that_gets_its_label_with_the_plan_is_planned_with_it(
    desk, platform, source: Source
) -> None:
    grants = [{"namespaces": {"matchLabels": {"team": "labelled"}}}]
    opened = {**platform, "spec": {**platform["spec"], "grants": grants}}
    before = desk.plan(opened, source())
    assert before["objects"][1]["error"]["reason"] == "NotGranted"
    after = desk.plan(opened, namespaced(desk.namespace, team="labelled"), source())
    assert "error" not in after["objects"][1]


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


EDITS: dict[str, dict[str, Any]] = {
    "a schedule": {
        "source": {
            "restApi": {
                "endpoint": "https://api.example.com/customers",
                "schedule": "rate(3 hours)",
            }
        }
    },
    "suspension": {"suspend": True},
    "no warehouse any more": {"redshift": None},
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_an_edit_does_what_its_plan_said_and_no_more(
    desk, platform, source: Source, edit: str
) -> None:
    """From the same start each: the object as the former edit left it is part of what there is."""
    changed = source(**EDITS[edit])
    planned = desk.plan(platform, changed)
    said = announced(planned)
    assert planned["exit"] == 2 and said
    desk.writes.done.clear()
    desk.apply(platform, changed)
    assert unannounced(desk.writes.done, said) == []
    assert said - Counter(desk.writes.done) == Counter()
    again = desk.plan(platform, changed)
    assert again["exit"] == 0, [verbs(again, kind) for kind in ("Platform", "DataSource")]


def test_a_column_is_added_and_one_that_goes_is_refused_before_anything_happens(
    desk, platform, source: Source
) -> None:
    """To another table, since what is added to a table stays."""

    def wide(*more: str) -> dict[str, Any]:
        fields = [{"name": "customerId", "type": "integer", "nullable": False}]
        fields += [{"name": name, "type": "string"} for name in more]
        return source("wide", schema={"fields": fields})

    desk.apply(platform, wide("a"))
    said = announced(desk.plan(platform, wide("a", "b")))
    desk.writes.done.clear()
    desk.apply(platform, wide("a", "b"))
    assert unannounced(desk.writes.done, said) == []
    assert said - Counter(desk.writes.done) == Counter()
    planned = desk.plan(platform, wide("a"))
    assert planned["exit"] == 2
    assert verbs(planned, "Pipeline")["redshift.Table target-warehouse"] == "conflict"
    reasons = [line["reason"] for one in planned["objects"] for line in one["actions"]]
    assert "can't be changed in place: column b is in the table" in " ".join(reasons)
    desk.delete(wide("a"))
    desk.settle()


def test_a_change_of_the_platform_shows_in_those_who_use_it(desk, platform, source: Source) -> None:
    desk.apply(platform, source())
    kept = {**platform, "spec": {**platform["spec"], "logRetentionDays": 90}}
    planned = desk.plan(kept)
    assert [one["kind"] for one in planned["objects"]] == ["Platform", "DataSource", "Pipeline"]
    assert [one["inFiles"] for one in planned["objects"]] == [True, False, False]
    for kind in ("DataSource", "Pipeline"):
        changed = verbs(planned, kind)
        assert {name.split()[0] for name in changed} == {"logs.LogGroup"}
    costs = [
        cost for one in planned["objects"] for line in one["actions"] for cost in line["costs"]
    ]
    assert "RetentionInDays: 30 -> 90" in costs


def test_a_stream_that_helm_renders_is_planned(desk, source: Source) -> None:
    stream = "---\n# Source: chart/templates/x.yaml\napiVersion: v1\nkind: Service\n"
    stream += "metadata: {name: x}\n---\n" + json.dumps(source())
    result = desk.weir("plan", "-f", "-", "-n", desk.namespace, stdin=stream)
    assert result.exit_code == 0, result.output
    assert "No changes" in result.stdout
    assert "left out, since Weir builds nothing on AWS from it: 1 Service" in result.stderr
    nothing = desk.weir("plan", "-f", "-", "-n", desk.namespace, stdin="kind: Service\n")
    assert nothing.exit_code == 1
    assert "no Platform, DataSchema, DataSource or Pipeline" in nothing.stderr


def test_no_secret_is_in_any_plan(desk, source: Source, plan_aws: LocalAws) -> None:
    secret = "s3cr3t-of-the-api"
    plan_aws.admin_session().client("secretsmanager").create_secret(
        Name=f"weir/{desk.namespace}/api_key", SecretString=secret
    )
    keyed = source(
        source={
            "restApi": {
                "endpoint": "https://api.example.com/customers",
                "schedule": "rate(1 hour)",
                "headers": {"X-Api-Key": "${SECRET:api_key}", "X-Other": "literal-token-value"},
            }
        }
    )
    for style in ("text", "json", "markdown"):
        result = desk.weir("plan", "-f", desk.file(keyed), "-n", desk.namespace, "-o", style)
        assert result.exit_code == 2, result.output
        assert secret not in result.output and "literal-token-value" not in result.output
        assert "weir-redshift-password" not in result.output


@pytest.fixture
def repository(desk, source: Source, tmp_path: Path) -> Callable[..., None]:
    """A Git repository with the source that is applied; a call writes a file, or takes it away."""

    def write(name: str, obj: dict[str, Any] | None) -> None:
        file = tmp_path / name
        if obj is None:
            file.unlink()
        else:
            file.write_text(json.dumps({**obj, "metadata": {**obj["metadata"]}}))

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    write("customers.json", source())
    git("add", ".")
    git("commit", "-qm", "one")
    return write


def diffed(desk, folder: Path, *options: str) -> dict[str, Any]:
    result = desk.weir(
        "plan", "-f", str(folder), "--diff", "main", "-n", desk.namespace, "-o", "json", *options
    )
    assert result.stdout, result.output
    return {**json.loads(result.stdout), "exit": result.exit_code, "said": result.stderr}


def test_a_revision_with_nothing_changed_plans_nothing(
    desk, repository: Callable[..., None], tmp_path: Path
) -> None:
    planned = diffed(desk, tmp_path)
    assert planned["exit"] == 0 and planned["objects"] == []
    assert "0 object(s) to apply, 0 to remove, 1 unchanged" in planned["said"]


def test_what_a_revision_had_and_the_working_tree_lacks_is_deleted(
    desk, repository: Callable[..., None], tmp_path: Path
) -> None:
    repository("customers.json", None)
    planned = diffed(desk, tmp_path)
    assert planned["exit"] == 2
    assert "1 file(s) are not committed" in planned["said"]
    found = {one["kind"]: one for one in planned["objects"]}
    assert found["DataSource"]["operation"] == "delete" and found["DataSource"]["inFiles"]
    assert found["Pipeline"]["operation"] == "delete"
    assert found["Pipeline"]["notes"] == ["its source goes"]
    assert verbs(planned, "Pipeline")["redshift.Table target-warehouse"] == "retain"
    assert verbs(planned, "DataSource")["lambda.Function ingest"] == "delete"
    assert any(action == "delete" for action in verbs(planned, "Platform").values())


def test_a_renamed_object_is_made_anew_and_the_former_one_goes(
    desk, source: Source, repository: Callable[..., None], tmp_path: Path
) -> None:
    renamed = {**source(), "metadata": {"name": "clients"}}
    repository("customers.json", renamed)
    planned = diffed(desk, tmp_path)
    notes = {one["name"]: one["notes"] for one in planned["objects"] if one["kind"] == "DataSource"}
    assert notes["customers"] == [f"moved to DataSource {desk.namespace}/clients"]
    assert "weir.dev/moved-from" in notes["clients"][0]
    text = desk.weir("plan", "-f", str(tmp_path), "--diff", "main", "-n", desk.namespace).stdout
    assert "+ lambda.Function" in text and "- lambda.Function" in text


def continuing(source: dict[str, Any], former: str) -> dict[str, Any]:
    annotations = {"weir.dev/moved-from": former}
    return {**source, "metadata": {"name": "clients", "annotations": annotations}}


def test_a_move_that_would_be_refused_is_so_in_the_plan(
    desk, platform, source: Source, plan_aws: LocalAws
) -> None:
    def error(former: str) -> dict[str, str]:
        objects = desk.plan(continuing(source(), former))["objects"]
        (found,) = [
            one for one in objects if (one["kind"], one["name"]) == ("DataSource", "clients")
        ]
        return found.get("error", {})

    assert error(f"{desk.namespace}/customers") == {}, "within a namespace one may rename"
    between = error("others/customers")
    assert between["reason"] == "MoveNotGranted"
    assert "does not let namespace others" in between["message"]
    table = desk.kube.get(Key("Platform", "", "planned"))["status"]["resources"]
    (name,) = [line["name"] for line in table if line["id"] == "state"]
    item = {"pk": {"S": pipeline_pk(f"{desk.namespace}/gone")}, "sk": {"S": "PENDING#1"}}
    state = plan_aws.admin_session().client("dynamodb")
    state.put_item(TableName=name, Item=item)
    waiting = error(f"{desk.namespace}/gone")
    state.delete_item(TableName=name, Key=item)
    assert waiting["reason"] == "MoveNotDrained"


def test_a_deletion_does_what_its_plan_said_and_no_more(desk, platform, source: Source) -> None:
    result = desk.weir(
        "plan", "--delete", "-f", desk.file(source()), "-n", desk.namespace, "-o", "json"
    )
    planned = json.loads(result.stdout)
    assert result.exit_code == 2
    # The Platform's dashboards and databases follow when the object is gone.
    said = announced(planned)
    desk.writes.done.clear()
    desk.delete(source())
    desk.settle()
    assert unannounced(desk.writes.done, said) == []
    assert said - Counter(desk.writes.done) == Counter()
    gone = desk.weir("plan", "--delete", "-f", desk.file(source()), "-n", desk.namespace)
    assert gone.exit_code == 0
    assert "is not in the cluster: nothing goes with it" in gone.stdout
    desk.apply(platform, source())


def test_a_platform_in_use_does_not_go_and_the_plan_says_who_holds_it(desk, platform) -> None:
    result = desk.weir("plan", "--delete", "-f", desk.file(platform), "-o", "json")
    planned = json.loads(result.stdout)
    assert result.exit_code == 1
    assert planned["objects"][0]["error"]["reason"] == "InUse"
    assert "customers" in planned["objects"][0]["error"]["message"]


def test_kubectl_weir_plan_is_the_same_command(desk, source: Source, build: Path) -> None:
    """Through the real kubectl, which finds kubectl-weir on the PATH."""
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        [
            str(desk.plane.bin_dir / "kubectl"),
            "weir", "plan", "-f", desk.file(source()), "-n", desk.namespace,
        ],
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No changes: AWS is as it should be." in done.stdout


def test_the_defaults_without_a_server_are_those_of_the_server(desk) -> None:
    """Every example, so that a plan without a cluster is the same plan."""
    folder = Path(__file__).parents[3] / "examples"
    found = manifests(list(read_files([folder])), None, desk.namespace).objects
    assert len(found) > 15
    for one in found:
        theirs = Server(desk.kube).applied({**one, "metadata": {**one["metadata"], "name": "new"}})
        assert NoServer().applied(one)["spec"] == theirs["spec"], one["metadata"]["name"]


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
