"""What a deletion waits for, and how an object gets away when it can wait no more."""

from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, child_of, loaded, source

from weir.kube.keys import FINALIZER, Key
from weir.reconcile.engine import Reconciler
from weir_local.aws.bootstrap import OPERATOR

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

ABANDON = {"weir.dev/abandon": "true"}


def functions(rig: Rig, part: str) -> list[str]:
    """Functions on AWS with this part in their names."""
    pages = rig.aws.admin_session().client("lambda").get_paginator("list_functions").paginate()
    names = [one["FunctionName"] for page in pages for one in page["Functions"]]
    return [name for name in names if part in name]


def owner_tags(rig: Rig, name: str) -> dict[str, str]:
    client = rig.aws.admin_session().client("lambda")
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return dict(client.list_tags(Resource=arn)["Tags"])


def said(rig: Rig, key: Key, reason: str) -> list[str]:
    """What events with this reason said of an object."""
    return [note for who, why, note in rig.told.said if (who, why) == (str(key), reason)]


def other(rig: Rig) -> str:
    """The namespace of further Platforms: a namespace has one Glue database in an account."""
    return f"{rig.namespace}-b"


def second(rig: Rig) -> dict[str, Any]:
    """The spec of another Platform, without a warehouse."""
    spec = rig.get(Key("Platform", "", rig.platform_name))["spec"]
    grants = [{"namespaces": {"names": [other(rig)]}, "allow": ["adopt"]}]
    return {**spec, "redshift": None, "grants": grants}


def test_an_abandoned_object_goes_and_the_next_of_its_name_takes_everything_back(rig: Rig) -> None:
    key = source(rig, "abandoned", **loaded("abandoned"))
    rig.settle(key, child_of(key))
    uid = rig.get(key)["metadata"]["uid"]
    (function,) = functions(rig, "abandoned-ingest")
    rig.annotate(key, **ABANDON)
    rig.silence()
    rig.delete(key, child_of(key))
    assert rig.kube.get(child_of(key)) is None
    assert [one for one in rig.aws_writes() if ":Delete" in one] == []
    (note,) = said(rig, key, "LeftBehind")
    assert "lambda.Function" in note
    assert said(rig, child_of(key), "LeftBehind")
    assert owner_tags(rig, function)["weir.dev/uid"] == uid
    source(rig, "abandoned", **loaded("abandoned"))
    rig.settle(key, child_of(key))
    assert owner_tags(rig, function)["weir.dev/uid"] == rig.get(key)["metadata"]["uid"] != uid
    rig.delete(key, child_of(key))
    assert functions(rig, "abandoned") == []


def test_without_its_platform_an_object_says_so_and_can_be_abandoned(rig: Rig) -> None:
    spec = second(rig)
    lost = rig.apply("Platform", "lost", spec)
    rig.settle(lost)
    key = source(rig, "orphaned", platform="lost", namespace=other(rig))
    rig.settle(key, lost)
    rig.kube.set_finalizers(rig.get(lost), [])
    rig.kube.delete(rig.get(lost))
    rig.kube.delete(rig.get(key))
    rig.look(key)
    held = rig.condition(key)
    assert held["reason"] == "PlatformNotFound"
    assert "weir.dev/abandon" in held["message"]
    assert said(rig, key, "PlatformNotFound")
    rig.annotate(key, **ABANDON)
    rig.look(key)
    assert rig.kube.get(key) is None
    assert functions(rig, "orphaned-ingest")
    rig.apply("Platform", "lost", spec)
    rig.settle(lost)
    source(rig, "orphaned", platform="lost", namespace=other(rig))
    rig.settle(key, lost)
    rig.delete(key, lost)
    rig.delete(lost)
    assert functions(rig, "orphaned") == []


def test_where_aws_does_not_answer_the_deletion_says_so_and_can_be_abandoned(rig: Rig) -> None:
    spec = second(rig)
    far = rig.apply("Platform", "far", spec)
    rig.settle(far)
    key = source(rig, "unreachable", platform="far", namespace=other(rig))
    rig.settle(key, far)
    rig.apply("Platform", "far", {**spec, "endpointUrl": "http://127.0.0.1:9"})
    rig.kube.delete(rig.get(key))
    rig.look(key)
    held = rig.condition(key)
    assert held["reason"] == "Transient"
    assert "did not answer" in held["message"]
    assert said(rig, key, "Transient")
    assert FINALIZER in rig.get(key)["metadata"]["finalizers"]
    rig.annotate(key, **ABANDON)
    rig.look(key)
    assert rig.kube.get(key) is None
    rig.apply("Platform", "far", spec)
    source(rig, "unreachable", platform="far", namespace=other(rig))
    rig.settle(key, far)
    rig.delete(key, far)
    rig.delete(far)


def test_without_credentials_the_deletion_names_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = second(rig)
    bare = rig.apply("Platform", "bare", spec)
    rig.settle(bare)
    key = source(rig, "unsigned", platform="bare", namespace=other(rig))
    rig.settle(key, bare)
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        rig.services.worlds.forget("bare")
        rig.kube.delete(rig.get(key))
        rig.look(key)
        assert "no AWS credentials" in rig.condition(key)["message"]
    rig.services.worlds.forget("bare")
    rig.settle(key, bare, until=lambda: rig.kube.get(key) is None)
    rig.delete(bare)


def test_a_denied_call_is_named_while_a_deletion_waits(rig: Rig) -> None:
    key = source(rig, "denied")
    rig.settle(key)
    function = functions(rig, "denied-ingest")[0]
    iam = rig.aws.admin_session().client("iam")
    document = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", '
        '"Action": "lambda:DeleteFunction", "Resource": "*"}]}'
    )
    user = OPERATOR
    iam.put_user_policy(UserName=user, PolicyName="deny", PolicyDocument=document)
    try:
        rig.kube.delete(rig.get(key))
        rig.settle(key, until=lambda: rig.condition(key)["reason"] == "AccessDenied")
        assert "lambda:DeleteFunction" in rig.condition(key)["message"]
        assert said(rig, key, "AccessDenied")
    finally:
        iam.delete_user_policy(UserName=user, PolicyName="deny")
    rig.settle(key, until=lambda: rig.kube.get(key) is None)
    assert function not in functions(rig, "denied")


def test_a_platform_in_use_can_be_abandoned_and_its_users_say_so(rig: Rig) -> None:
    spec = second(rig)
    busy = rig.apply("Platform", "busy", spec)
    rig.settle(busy)
    key = source(rig, "user", platform="busy", namespace=other(rig))
    rig.settle(key, busy)
    before = rig.resources(busy)
    rig.kube.delete(rig.get(busy))
    rig.look(busy)
    assert rig.condition(busy)["reason"] == "InUse"
    assert rig.resources(busy) == before
    assert said(rig, busy, "InUse")
    rig.annotate(busy, **ABANDON)
    rig.look(busy)
    assert rig.kube.get(busy) is None
    rig.look(key)
    assert rig.condition(key)["reason"] == "PlatformNotFound"
    rig.apply("Platform", "busy", spec)
    rig.settle(key, busy)
    rig.delete(key, busy)
    rig.delete(busy)


def test_an_object_that_can_t_be_read_any_more_can_be_abandoned(rig: Rig) -> None:
    """It was stored under other definitions; its resources are on its status all the same."""
    key = source(rig, "unread")
    rig.settle(key)
    rig.kube.delete(rig.get(key))
    rig.refresh()
    rig.services.store.put({**rig.get(key), "spec": {"source": "of another version"}})
    Reconciler(rig.services).reconcile(key)
    assert rig.condition(key)["reason"] == "Unreadable"
    rig.annotate(key, **ABANDON)
    rig.refresh()
    rig.services.store.put({**rig.get(key), "spec": {"source": "of another version"}})
    assert Reconciler(rig.services).reconcile(key).outcome == "deleted"
    assert rig.kube.get(key) is None
    assert said(rig, key, "LeftBehind")
    source(rig, "unread")
    rig.settle(key)
    rig.delete(key)
