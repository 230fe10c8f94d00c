"""Deleting everything leaves on AWS what holds data, and nothing else. Runs last: it ends the stack."""

from __future__ import annotations

import pytest

from e2e import listing
from e2e.running import Object, Running, named

pytestmark = pytest.mark.e2e

KEPT = {
    "kms.Key",
    "s3.Bucket",
    "dynamodb.Table",
    "redshift.Schema",
    "redshift.Table",
    "glue.Database",
}
"""What a Platform with deletionPolicy Retain leaves: all of it holds data, or opens it. A database of
the catalog does where it has an Iceberg table."""


@pytest.fixture(scope="module")
def everything(running: Running) -> Object:
    """The Platform as it was before it and all that used it were deleted."""
    platform = running.get("plat", "default")
    assert platform is not None
    running.kubectl("delete", "plat", "default", "--wait=false")
    running.wait(
        "plat", "default", lambda obj: bool(named(running.events("Platform", "default"), "InUse"))
    )
    for kind in ("prun", "dsrc"):
        running.kubectl("delete", kind, "--all", "--timeout=180s")
    running.wait_gone("plat", "default")
    return platform


def short(identity: str) -> str:
    """The last part of an ARN, a URL or a name: an alias names its key, an ARN has the key's id."""
    return identity.rpartition(":")[2].rpartition("/")[2]


def test_a_platform_in_use_stays_until_nobody_uses_it(running: Running, everything: Object) -> None:
    assert [running.all(kind) for kind in ("plat", "dsrc", "pipe", "prun")] == [[], [], [], []]


def test_only_what_holds_data_is_left(running: Running, everything: Object) -> None:
    kept = {
        short(identity)
        for line in everything["status"]["resources"]
        if line["kind"] in KEPT
        for identity in (line["name"], line.get("arn", ""))
    }
    left = listing.of_cluster(running)
    assert {short(one) for one in left} <= kept, left
    assert left, "the buckets with the data are gone"


def test_what_stays_is_told(running: Running, everything: Object) -> None:
    told = " ".join(named(running.events("Platform", "default"), "Retained"))
    for line in everything["status"]["resources"]:
        if line["kind"] in {"s3.Bucket", "dynamodb.Table"}:
            assert line["name"] in told
