"""Who takes what over: adoption, retained things, moves and renames, new incarnations, clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from rig import Rig, child_of, loaded, source

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.kube.keys import Key
from weir.reconcile import wanted as blueprints
from weir.reconcile.engine import Reconciler
from weir.reconcile.steps import need_platform, platform_entries, view_of
from weir.reconcile.view import parse
from weir.resource import TAG_UID
from weir_contract.state import BODY, CHECKPOINT, CONTRACT, PK, SK, pipeline_pk, source_pk

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

ADOPT = {"weir.dev/adopt": "true"}


@contextmanager
def granted(rig: Rig, *grants: dict[str, Any]) -> Iterator[None]:
    """The Platform's grants are these for a while."""
    key = Key("Platform", "", rig.platform_name)
    spec = rig.get(key)["spec"]
    rig.apply("Platform", rig.platform_name, {**spec, "grants": list(grants)})
    rig.refresh()
    try:
        yield
    finally:
        rig.apply("Platform", rig.platform_name, spec)
        rig.refresh()


def grant(namespace: str, *allow: str, **more: Any) -> dict[str, Any]:
    found = {"namespaces": {"names": [namespace]}, **more}
    return {**found, "allow": list(allow)} if allow else found


def log_group(rig: Rig, key: Key) -> str:
    lines = rig.resources(key).values()
    return next(line["name"] for line in lines if line["kind"] == "logs.LogGroup")


def group_tags(rig: Rig, name: str) -> dict[str, str]:
    logs = rig.aws.admin_session().client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    arn = next(one["logGroupArn"] for one in groups if one["logGroupName"] == name)
    return dict(logs.list_tags_for_resource(resourceArn=arn)["tags"])


def said(rig: Rig, key: Key, reason: str) -> list[str]:
    return [note for who, why, note in rig.told.said if (who, why) == (str(key), reason)]


def test_what_was_there_before_is_taken_over_by_grant_and_name_and_stays_at_the_end(
    rig: Rig,
) -> None:
    key = source(rig, "adopter")
    rig.settle(key)
    name = log_group(rig, key)
    rig.delete(key)
    logs = rig.aws.admin_session().client("logs")
    logs.create_log_group(logGroupName=name, tags={"cost": "theirs"})
    source(rig, "adopter", annotations=ADOPT)
    with granted(rig, grant(rig.namespace, "adopt", adoptNames=["something-else-*"])):
        rig.settle(key, until=lambda: "adopt for this name" in rig.condition(key)["message"])
        assert rig.condition(key)["reason"] == "Conflict"
        assert "weir.dev/uid" not in group_tags(rig, name)
    with granted(rig, grant(rig.namespace, "adopt", adoptNames=["/aws/lambda/weir-*"])):
        rig.settle(key)
    assert any(name in note for note in said(rig, key, "Adopted"))
    assert group_tags(rig, name)["weir.dev/adopted"] == "true"
    rig.delete(key)
    assert any(name in note and "was there before" in note for note in said(rig, key, "Retained"))
    assert group_tags(rig, name)["cost"] == "theirs"
    source(rig, "adopter")
    rig.settle(key)
    assert group_tags(rig, name)["weir.dev/adopted"] == "true"
    rig.delete(key)
    logs.delete_log_group(logGroupName=name)


def test_what_another_owner_holds_is_never_taken_over_and_is_free_when_that_one_goes(
    rig: Rig,
) -> None:
    key = source(rig, "rival")
    rig.settle(key)
    name = log_group(rig, key)
    rig.delete(key)
    theirs = {
        "weir.dev/cluster": "elsewhere",
        "weir.dev/kind": "DataSource",
        "weir.dev/namespace": "them",
        "weir.dev/name": "rival",
    }
    logs = rig.aws.admin_session().client("logs")
    logs.create_log_group(logGroupName=name, tags=theirs)
    source(rig, "rival", annotations=ADOPT)
    theirs_is = "belongs to DataSource them/rival of cluster elsewhere"
    rig.settle(key, until=lambda: theirs_is in rig.condition(key)["message"])
    message = rig.condition(key)["message"]
    assert rig.condition(key)["reason"] == "Conflict"
    assert any(message in note for note in said(rig, key, "Conflict"))
    logs.delete_log_group(logGroupName=name)
    rig.annotate(key, **{"weir.dev/reconcile-at": "gone"})
    rig.settle(key)
    rig.delete(key)


def state_table(rig: Rig) -> str:
    entries = platform_entries(rig.get(Key("Platform", "", rig.platform_name)))
    return entries["state"].name


def items(rig: Rig, pk: str) -> dict[str, dict[str, Any]]:
    """A partition of the state table by sort key."""
    table = rig.aws.admin_session().client("dynamodb")
    found = table.query(
        TableName=state_table(rig),
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
    )["Items"]
    return {one[SK]["S"]: one for one in found}


def put(rig: Rig, pk: str, sk: str, **values: Any) -> None:
    table = rig.aws.admin_session().client("dynamodb")
    table.put_item(TableName=state_table(rig), Item={PK: {"S": pk}, SK: {"S": sk}, **values})


def remove(rig: Rig, pk: str, sk: str) -> None:
    table = rig.aws.admin_session().client("dynamodb")
    table.delete_item(TableName=state_table(rig), Key={PK: {"S": pk}, SK: {"S": sk}})


def progress(rig: Rig, key: Key, sequence: int) -> None:
    """A source that has landed something, and holds its lease still."""
    put(
        rig,
        source_pk(key.id),
        CHECKPOINT,
        sequence={"N": str(sequence)},
        epoch={"N": "3"},
        cursor={"S": "2026-01-01"},
        holder={"S": "run-9"},
        lease_until={"N": "99"},
    )
    put(rig, source_pk(key.id), CONTRACT, **{BODY: {"S": json.dumps({"fields": []})}})
    put(rig, source_pk(key.id), "RUN#1", **{BODY: {"S": "{}"}})


def test_a_source_moves_to_another_namespace_with_cursor_schema_and_table(
    rig: Rig, other: str
) -> None:
    old = source(rig, "mover", **loaded("mover"))
    rig.settle(old, child_of(old))
    progress(rig, old, 7)
    moved = {"weir.dev/moved-from": old.id}
    with granted(rig, grant(rig.namespace, "move"), grant(other)):
        new = source(rig, "mover", namespace=other, annotations=moved, **loaded("mover"))
        rig.look(new)
        assert rig.condition(new)["reason"] == "Moving"
        assert str(old) in rig.condition(new)["message"]
        rig.delete(old, child_of(old))
        rig.look(new)
        assert rig.condition(new)["reason"] == "MoveNotGranted"
        assert other in rig.condition(new)["message"]
        assert rig.resources(new) == {}
    with granted(rig, grant(rig.namespace, "move"), grant(other, "move")):
        waiting = f"PENDING#{old.id}#{7:012d}"
        put(rig, pipeline_pk(old.id), waiting)
        rig.look(new)
        assert rig.condition(new)["reason"] == "MoveNotDrained"
        remove(rig, pipeline_pk(old.id), waiting)
        rig.settle(new, child_of(new))
        there = items(rig, source_pk(new.id))
        assert (there[CHECKPOINT]["sequence"], there[CHECKPOINT]["cursor"]) == (
            {"N": "7"},
            {"S": "2026-01-01"},
        )
        assert not {"holder", "lease_until"} & set(there[CHECKPOINT])
        assert CONTRACT in there
        assert "RUN#1" not in there
        assert CHECKPOINT in items(rig, source_pk(old.id))
        assert rig.get(new)["status"]["movedFrom"] == old.id
        assert len(said(rig, new, "Moved")) == 1
        rig.look(new)
        assert len(said(rig, new, "Moved")) == 1
        table = next(
            line
            for line in rig.resources(child_of(new)).values()
            if line["kind"] == "redshift.Table"
        )
        assert table["name"].endswith("|sales.mover")
        rig.delete(new, child_of(new))


def test_a_rename_needs_no_grant_and_never_overwrites_progress(rig: Rig) -> None:
    old = Key("DataSource", rig.namespace, "before")
    progress(rig, old, 5)
    new = source(rig, "after", annotations={"weir.dev/moved-from": "before"})
    put(rig, source_pk(new.id), CHECKPOINT, sequence={"N": "9"})
    rig.settle(new)
    there = items(rig, source_pk(new.id))
    assert there[CHECKPOINT]["sequence"] == {"N": "9"}
    assert CONTRACT in there
    rig.delete(new)


def test_a_new_incarnation_takes_everything_back_with_no_write_but_the_uid(rig: Rig) -> None:
    """A restore, a rebuilt cluster: the object comes without its status, and with another uid."""
    key = source(rig, "restored", **loaded("restored"))
    rig.settle(key, child_of(key))
    for one in (child_of(key), key):
        obj = rig.get(one)
        rig.kube.set_finalizers(obj, [])
        rig.kube.delete(rig.kube.get(one) or obj)
    rig.refresh()
    source(rig, "restored", **loaded("restored"))
    rig.silence()
    for _ in range(10):  # The Platform has its own to do while the Pipeline is not there.
        rig.look(key)
        rig.look(child_of(key))
    assert rig.condition(key)["status"] == "True"
    writes = set(rig.aws_writes())
    assert writes, "the tags name the former incarnation"
    assert {one for one in writes if "Tag" not in one} == set()
    uid = rig.get(key)["metadata"]["uid"]
    assert group_tags(rig, log_group(rig, key))[TAG_UID] == uid
    rig.silence()
    rig.look(key)
    assert rig.aws_writes() == []
    rig.delete(key, child_of(key))


def test_two_clusters_with_the_same_names_have_nothing_in_common(rig: Rig, platform: Key) -> None:
    key = source(rig, "twin", **loaded("twin"))
    rig.settle(key, child_of(key))
    mine = {
        (line["kind"], line["name"])
        for one in (platform, key, child_of(key))
        for line in rig.resources(one).values()
        if line["state"] != "External" and not line["kind"].startswith("redshift.")
    }
    options = replace(rig.services.options, cluster="other-cluster")
    services = replace(rig.services, options=options)
    view = view_of(services)
    found, obj = need_platform(view, rig.platform_name)
    whole = blueprints.context_of(services, view, found, obj, "")
    drawn = [blueprints.platform_wanted(whole, obj)]
    context = blueprints.context_of(services, view, found, obj, rig.namespace)
    child = rig.get(child_of(key))
    model = parse(DataSource, rig.get(key))
    drawn.append(blueprints.source_wanted(context, model, rig.get(key)))
    drawn.append(
        blueprints.pipeline_wanted(context, parse(Pipeline, child), {"twin": model}, child)
    )
    theirs = {one.key for wanted in drawn for one in wanted.resources}
    assert len(mine) > 30
    assert mine & theirs == set()
    assert Reconciler(rig.services).reconcile(key).outcome in ("converged", "suspended")
    rig.delete(key, child_of(key))
