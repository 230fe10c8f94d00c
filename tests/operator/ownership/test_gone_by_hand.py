"""What somebody deleted by hand: made again, unless it held data; and an account that was emptied."""

from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, child_of, loaded, source

from weir.aws.registry import adapters
from weir.kube.keys import Key
from weir.reconcile.steps import platform_entries

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


def said(rig: Rig, key: Key, reason: str) -> list[str]:
    return [note for who, why, note in rig.told.said if (who, why) == (str(key), reason)]


def force(rig: Rig, key: Key, text: str, **more: str) -> None:
    rig.annotate(key, **{"weir.dev/reconcile-at": text, **more})


@pytest.fixture
def sandbox(rig: Rig, other: str) -> Any:
    """A Platform of its own, without a warehouse, that may be spoiled."""
    spec = rig.get(Key("Platform", "", rig.platform_name))["spec"]
    grants = [{"namespaces": {"names": [other]}, "allow": ["adopt"]}]
    key = rig.apply("Platform", "sandbox", {**spec, "redshift": None, "grants": grants})
    rig.settle(key)
    yield key
    rig.annotate(key)
    rig.delete(key)


def test_what_holds_no_data_is_made_again_and_told(rig: Rig) -> None:
    key = source(rig, "holed")
    rig.settle(key)
    names = {line["kind"]: line["name"] for line in rig.resources(key).values()}
    session = rig.aws.admin_session()
    session.client("lambda").delete_function(FunctionName=names["lambda.Function"])
    rig.services.worlds.known()[rig.platform_name].inventory.drop(
        "lambda.Function", names["lambda.Function"]
    )
    rig.silence()
    rig.settle(key)
    found = session.client("lambda").get_function(FunctionName=names["lambda.Function"])
    assert found["Configuration"]["State"] == "Active"
    assert rig.condition(key)["status"] == "True"
    rig.delete(key)


def test_a_state_table_that_is_gone_is_not_made_anew_silently(rig: Rig, sandbox: Key) -> None:
    entries = platform_entries(rig.get(sandbox))
    table = entries["state"].name
    dynamodb = rig.aws.admin_session().client("dynamodb")
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)
    force(rig, sandbox, "gone")
    rig.settle(sandbox, until=lambda: rig.condition(sandbox)["reason"] == "DataGone")
    message = rig.condition(sandbox)["message"]
    assert table in message
    assert "restore-table-to-point-in-time" in message
    assert 'weir.dev/recreate="state"' in message
    assert said(rig, sandbox, "DataGone")
    assert rig.condition(sandbox, "Stalled")["status"] == "True"
    assert table not in dynamodb.list_tables()["TableNames"]
    rig.look(sandbox)
    assert table not in dynamodb.list_tables()["TableNames"]
    force(rig, sandbox, "again", **{"weir.dev/recreate": "state"})
    rig.settle(sandbox)
    assert table in dynamodb.list_tables()["TableNames"]


def test_what_comes_back_is_taken_back(rig: Rig, sandbox: Key) -> None:
    bucket = platform_entries(rig.get(sandbox))["bucket-quarantine"].name
    s3 = rig.aws.admin_session().client("s3")
    tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    s3.delete_bucket(Bucket=bucket)
    force(rig, sandbox, "gone")
    rig.settle(sandbox, until=lambda: rig.condition(sandbox)["reason"] == "DataGone")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    force(rig, sandbox, "back")
    rig.settle(sandbox)


def test_a_key_whose_deletion_was_scheduled_or_whose_alias_is_gone_is_mended(
    rig: Rig, sandbox: Key
) -> None:
    entry = platform_entries(rig.get(sandbox))["kms-key"]
    kms = rig.aws.admin_session().client("kms")
    kms.schedule_key_deletion(KeyId=entry.arn, PendingWindowInDays=7)
    force(rig, sandbox, "leaving")
    rig.settle(sandbox, until=lambda: rig.get(sandbox)["status"].get("reconcileAt") == "leaving")
    rig.settle(sandbox)
    assert kms.describe_key(KeyId=entry.arn)["KeyMetadata"]["KeyState"] == "Enabled"
    kms.delete_alias(AliasName=entry.name)
    force(rig, sandbox, "nameless")
    rig.settle(sandbox, until=lambda: rig.get(sandbox)["status"].get("reconcileAt") == "nameless")
    rig.settle(sandbox)
    assert kms.describe_key(KeyId=entry.name)["KeyMetadata"]["Arn"] == entry.arn


def test_an_emptied_account_is_built_again_with_an_event(
    rig: Rig, sandbox: Key, other: str
) -> None:
    key = source(rig, "wiped", platform="sandbox", namespace=other)
    rig.settle(key, sandbox)
    for one in (key, sandbox):
        wipe(rig, one)
        force(rig, one, "wiped")
    rig.settle(sandbox)
    assert said(rig, sandbox, "AccountEmptied")
    rig.settle(key, sandbox)
    name = next(
        line["name"] for line in rig.resources(key).values() if line["kind"] == "lambda.Function"
    )
    rig.aws.admin_session().client("lambda").get_function(FunctionName=name)
    rig.delete(key, sandbox)


def wipe(rig: Rig, key: Key) -> None:
    """Delete everything of an object behind the operator's back, as its own adapters would."""
    world = rig.services.worlds.known()["sandbox"]
    made = adapters(world.session)
    for line in reversed(list(rig.resources(key).values())):
        adapter = made[line["kind"]]
        seen = adapter.observe([line["name"]]).get(line["name"])
        if seen is None or line["state"] == "External":
            continue
        if line["kind"] == "dynamodb.Table":
            rig.aws.admin_session().client("dynamodb").update_table(
                TableName=line["name"], DeletionProtectionEnabled=False
            )
        if line["kind"] == "s3.Bucket":
            empty(rig, line["name"])
        adapter.delete(seen)


def empty(rig: Rig, bucket: str) -> None:
    s3 = rig.aws.admin_session().client("s3")
    there = s3.list_object_versions(Bucket=bucket)
    for one in [*there.get("Versions", []), *there.get("DeleteMarkers", [])]:
        version = {} if one["VersionId"] in (None, "null") else {"VersionId": one["VersionId"]}
        s3.delete_object(Bucket=bucket, Key=one["Key"], **version)


def test_a_catalog_table_that_is_made_again_knows_the_partitions_of_its_folder(rig: Rig) -> None:
    """A source that was deleted and came back shows what it wrote before."""
    spec = {
        **loaded("parted"),
        "destination": {"prefix": "parted/", "partitionBy": ["year", "month"]},
    }
    key = source(rig, "parted", **spec)
    rig.settle(key, child_of(key))
    bucket = platform_entries(rig.get(Key("Platform", "", rig.platform_name)))["bucket-processed"]
    s3 = rig.aws.admin_session().client("s3")
    for folder in ("year=2025/month=12", "year=2026/month=01", "year=2026/month=02", "other=1"):
        s3.put_object(Bucket=bucket.name, Key=f"parted/{folder}/part-0.parquet", Body=b"x")
    rig.delete(key, child_of(key))
    source(rig, "parted", **spec)
    rig.settle(key, child_of(key))
    table = next(
        line["name"]
        for line in rig.resources(child_of(key)).values()
        if line["kind"] == "glue.Table"
    )
    database, _, name = table.partition(".")
    glue = rig.aws.admin_session().client("glue")
    found = glue.get_partitions(DatabaseName=database, TableName=name)["Partitions"]
    assert sorted(one["Values"] for one in found) == [
        ["2025", "12"],
        ["2026", "01"],
        ["2026", "02"],
    ]
    assert found[0]["StorageDescriptor"]["Location"].startswith(f"s3://{bucket.name}/parted/year=")
    parameters = glue.get_table(DatabaseName=database, Name=name)["Table"]["Parameters"]
    assert "weir.partitions" not in parameters
    rig.delete(key, child_of(key))
