"""Another account, another Platform, another cluster: who has the warehouse, and where things are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rig import Rig, loaded, source

from weir.aws.redshift_data import Connection, Statements
from weir.kube.keys import Key
from weir.reconcile.steps import platform_entries
from weir_local.aws.bootstrap import OPERATOR

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


def said(rig: Rig, key: Key, reason: str) -> list[str]:
    return [note for who, why, note in rig.told.said if (who, why) == (str(key), reason)]


def spec_of(rig: Rig) -> dict[str, Any]:
    return dict(rig.get(Key("Platform", "", rig.platform_name))["spec"])


@pytest.fixture
def everywhere(rig: Rig) -> Iterator[None]:
    """The operator may do anything: act in other regions, sign in to the warehouse as itself."""
    iam = rig.aws.admin_session().client("iam")
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName=OPERATOR, PolicyName="everywhere", PolicyDocument=document)
    yield
    iam.delete_user_policy(UserName=OPERATOR, PolicyName="everywhere")


def replace_platform(rig: Rig, key: Key, spec: dict[str, Any]) -> None:
    """Somebody deletes a Platform by force and applies it anew."""
    rig.kube.set_finalizers(rig.get(key), [])
    if rig.kube.get(key) is not None:
        rig.kube.delete(rig.get(key))
    rig.refresh()
    rig.look(key)
    rig.apply("Platform", key.name, spec)


@pytest.mark.usefixtures("everywhere")
def test_a_platform_that_leads_elsewhere_stops_its_users_until_somebody_says_go(
    rig: Rig, other: str
) -> None:
    grants = [{"namespaces": {"names": [other]}}]
    here = {**spec_of(rig), "redshift": None, "grants": grants}
    there = {**here, "region": "eu-west-1"}
    moved = rig.apply("Platform", "moved", here)
    rig.settle(moved)
    key = source(rig, "stayer", platform="moved", namespace=other)
    rig.settle(key, moved)
    before = rig.resources(key)
    replace_platform(rig, moved, there)
    rig.settle(moved)
    rig.silence()
    rig.look(key)
    held = rig.condition(key)
    assert held["reason"] == "AccountChanged"
    assert f"{here['accountId']}/{here['region']}" in held["message"]
    assert f'weir.dev/account="{here["accountId"]}/eu-west-1"' in held["message"]
    assert (rig.aws_writes(), rig.resources(key)) == ([], before)
    rig.annotate(moved, **{"weir.dev/account": f"{here['accountId']}/eu-west-1"})
    rig.settle(key, moved)
    assert said(rig, key, "LeftBehind")
    assert all(":eu-west-1:" in line["arn"] for line in arns(rig, key))
    lambdas = rig.aws.admin_session().client("lambda", region_name=here["region"])
    old = next(line["name"] for line in before.values() if line["kind"] == "lambda.Function")
    assert lambdas.get_function(FunctionName=old)
    replace_platform(rig, moved, here)
    rig.settle(moved)
    rig.annotate(key, **{"weir.dev/account": f"{here['accountId']}/{here['region']}"})
    rig.settle(key, moved)
    rig.delete(key, moved)
    rig.delete(moved)


def arns(rig: Rig, key: Key) -> list[dict[str, str]]:
    """Resources whose ARN has a region."""
    return [
        line for line in rig.resources(key).values() if line.get("arn", ":::").split(":")[3] != ""
    ]


@pytest.mark.usefixtures("everywhere")
def test_while_it_is_deleted_nothing_is_touched_in_another_region_either(
    rig: Rig, other: str
) -> None:
    grants = [{"namespaces": {"names": [other]}}]
    here = {**spec_of(rig), "redshift": None, "grants": grants}
    swapped = rig.apply("Platform", "swapped", here)
    rig.settle(swapped)
    key = source(rig, "goner", platform="swapped", namespace=other)
    rig.settle(key, swapped)
    replace_platform(rig, swapped, {**here, "region": "eu-central-1"})
    rig.settle(swapped)
    rig.silence()
    rig.kube.delete(rig.get(key))
    rig.look(key)
    assert rig.condition(key)["reason"] == "AccountChanged"
    assert rig.aws_writes() == []
    rig.annotate(key, **{"weir.dev/abandon": "true"})
    rig.look(key)
    assert rig.kube.get(key) is None
    replace_platform(rig, swapped, here)
    rig.settle(swapped)
    source(rig, "goner", platform="swapped", namespace=other)
    rig.settle(key, swapped)
    rig.delete(key, swapped)
    rig.delete(swapped)


def warehouse(rig: Rig) -> tuple[Statements, Connection]:
    """The warehouse, as its administrator."""
    spec = spec_of(rig)["redshift"]
    session = rig.services.worlds.known()[rig.platform_name].session
    connection = Connection(
        "serverless", spec["workgroup"], spec["database"], spec["adminSecretArn"]
    )
    return Statements(session), connection


def test_a_database_belongs_to_the_platform_that_claimed_it_first(rig: Rig, platform: Key) -> None:
    sql, connection = warehouse(rig)
    rows = sql.query(connection, 'SELECT tag, value FROM "weir_owner"."claim"')
    tags = {row["tag"]: row["value"] for row in rows}
    assert (tags["weir.dev/kind"], tags["weir.dev/name"]) == ("Platform", platform.name)
    second = rig.apply("Platform", "second", {**spec_of(rig), "grants": []})
    taken = f"belongs to {platform}"
    rig.settle(second, until=lambda: taken in rig.condition(second)["message"])
    assert rig.condition(second)["reason"] == "Conflict"
    assert platform_entries(rig.get(second))["schema-weir"].state == "Waiting"
    rig.annotate(second, **{"weir.dev/adopt": "true"})
    rig.look(second)
    assert taken in rig.condition(second)["message"]
    elsewhere = {**tags, "weir.dev/cluster": "elsewhere"}
    claim(rig, elsewhere)
    rig.annotate(platform, **{"weir.dev/reconcile-at": "claimed"})
    rig.look(platform)
    assert "of cluster elsewhere" in rig.condition(platform)["message"]
    claim(rig, tags)
    rig.annotate(platform, **{"weir.dev/reconcile-at": "mine again"})
    rig.settle(platform)
    rig.delete(second)
    assert sql.query(connection, 'SELECT tag, value FROM "weir_owner"."claim"') == rows


def claim(rig: Rig, tags: dict[str, str]) -> None:
    sql, connection = warehouse(rig)
    values = ", ".join(f"('{tag}', '{value}')" for tag, value in sorted(tags.items()))
    sql.execute(
        connection,
        ['DELETE FROM "weir_owner"."claim"', f'INSERT INTO "weir_owner"."claim" VALUES {values}'],
    )


@pytest.mark.parametrize("way", ["by its name", "by adopt"])
def test_a_schema_that_was_there_before_is_taken_by_who_may_have_it(
    rig: Rig, platform: Key, way: str
) -> None:
    schema = f"legacy_{way.rpartition(' ')[2]}"
    sql, connection = warehouse(rig)
    sql.execute(connection, [f"CREATE SCHEMA {schema}"])
    before = spec_of(rig)
    rig.apply(
        "Platform",
        platform.name,
        {**before, "grants": [{"namespaces": {"names": [rig.namespace]}}]},
    )
    name = f"legacy-{schema[-4:]}"
    load = {**loaded(name), "redshift": {"schema": schema, "table": "t"}}
    key = source(rig, name, **load)
    rig.settle(key, until=lambda: rig.condition(key)["reason"] == "Conflict")
    assert "was there before Weir" in rig.condition(key)["message"]
    assert said(rig, platform, "ForeignSchema")
    assert rig.condition(platform)["status"] == "True"
    grant: dict[str, Any] = {"namespaces": {"names": [rig.namespace]}}
    if way == "by adopt":
        grant |= {"allow": ["adopt"], "adoptNames": ["legacy_*"]}
    else:
        grant["redshift"] = {"schemas": [schema]}
    rig.apply("Platform", platform.name, {**before, "grants": [grant]})
    child = Key("Pipeline", key.namespace, key.name)
    rig.settle(key, child)
    rig.delete(key, child)
    rig.apply("Platform", platform.name, before)
    rig.settle(platform)


@pytest.mark.usefixtures("everywhere")
def test_sql_by_hand_is_believed_once_it_is_seen(rig: Rig, other: str) -> None:
    redshift = {k: v for k, v in spec_of(rig)["redshift"].items() if k != "adminSecretArn"}
    grants = [{"namespaces": {"names": [other]}}]
    manual = rig.apply(
        "Platform", "manual", {**spec_of(rig), "redshift": redshift, "grants": grants}
    )
    rig.settle(manual, until=lambda: rig.condition(manual)["reason"] == "ManualSqlNeeded")
    key = source(
        rig,
        "handmade",
        platform="manual",
        namespace=other,
        **{**loaded("handmade"), "redshift": {"schema": "handmade", "table": "t"}},
    )
    rig.settle(manual, until=lambda: "handmade" in rig.condition(manual)["message"])
    message = rig.condition(manual)["message"]
    mark = message.partition('weir.dev/sql-done="')[2].partition('"')[0]
    rig.annotate(manual, **{"weir.dev/sql-done": mark})
    rig.look(manual)
    said_of = rig.condition(manual)
    assert said_of["reason"] == "ManualSqlNeeded"
    assert "schema handmade" in said_of["message"]
    statements = message.partition("adminSecretArn): ")[2].rstrip(";").split("; ")
    sql, connection = warehouse(rig)
    for statement in statements:
        if "CREATE" in statement or "handmade" in statement:
            sql.execute(connection, [statement])
    rig.annotate(manual, **{"weir.dev/sql-done": mark, "weir.dev/reconcile-at": "done"})
    rig.settle(manual)
    assert rig.get(manual)["status"]["sqlDone"] == mark
    rig.silence()
    rig.look(manual)
    assert rig.aws_writes() == []
    child = Key("Pipeline", key.namespace, key.name)
    rig.delete(key, child, manual)
    rig.delete(manual)


def test_an_adopted_bucket_belongs_to_the_platform_that_claimed_it_first(rig: Rig) -> None:
    s3 = rig.aws.admin_session().client("s3")
    shared = "weir-local-shared-raw"
    s3.create_bucket(Bucket=shared)
    spec = {
        **spec_of(rig),
        "redshift": None,
        "grants": [],
        "buckets": {"raw": {"name": shared, "adopt": True}},
    }
    first, second = (rig.apply("Platform", name, spec) for name in ("first", "late"))
    rig.settle(first)
    rig.settle(second, until=lambda: f"belongs to {first}" in rig.condition(second)["message"])
    assert rig.condition(second)["reason"] == "Conflict"
    assert s3.list_objects_v2(Bucket=shared)["KeyCount"] == 1
    rig.delete(first)
    rig.annotate(second, **{"weir.dev/reconcile-at": "free"})
    rig.settle(second)
    rig.delete(second)
    assert s3.list_objects_v2(Bucket=shared)["KeyCount"] == 0
