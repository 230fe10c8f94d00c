"""What a Platform says, against the real API server and the local AWS under the published policy."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from rig import Rig, open_key_policy

from weir.blueprint.facts import PlatformFacts
from weir.kube.keys import SQL_DONE, Key
from weir.reconcile.headroom import Headroom, near_note
from weir.reconcile.notices import text_of, topics_of
from weir_local.stack import CLUSTER_ID, REGION

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


def other_platform(rig: Rig, name: str, **changes: object) -> Key:
    spec = rig.get(Key("Platform", "", rig.platform_name))["spec"]
    return rig.apply("Platform", name, {**spec, **changes})


def forget(rig: Rig, key: Key) -> None:
    """Delete a Platform that must not take a round of AWS."""
    obj = rig.get(key)
    rig.kube.set_finalizers(obj, [])
    rig.kube.delete(rig.kube.get(key) or obj)


def test_credentials_of_another_account_are_refused_before_anything_is_touched(rig: Rig) -> None:
    key = other_platform(rig, "elsewhere", accountId="999999999999")
    rig.silence()
    rig.look(key)
    said = rig.condition(key)
    assert said["reason"] == "Invalid"
    assert "999999999999" in said["message"]
    assert rig.aws_writes() == []
    assert rig.condition(key, "Stalled")["status"] == "True"
    forget(rig, key)


def test_a_platform_in_use_stays_and_says_by_whom(rig: Rig) -> None:
    key = other_platform(rig, "inuse", redshift=None)
    rig.settle(key)
    user = rig.apply(
        "DataSource",
        "inuser",
        {
            "platform": "inuse",
            "source": {
                "restApi": {"endpoint": "https://api.example.com/x", "schedule": "rate(1 hour)"}
            },
            "schema": {"fields": [{"name": "id", "type": "integer"}]},
            "suspend": True,
        },
    )
    rig.settle(user, key)
    rig.kube.delete(rig.get(key))
    rig.look(key)
    said = rig.condition(key)
    assert said["reason"] == "InUse"
    assert "inuser" in said["message"]
    rig.delete(user, key)
    rig.settle(key, until=lambda: rig.kube.get(key) is None)
    retained = [
        note for who, reason, note in rig.told.said if (who, reason) == (str(key), "Retained")
    ]
    assert any("s3.Bucket" in note for note in retained)


def test_without_an_admin_secret_the_sql_is_shown_until_it_is_said_to_be_done(rig: Rig) -> None:
    redshift = dict(rig.get(Key("Platform", "", rig.platform_name))["spec"]["redshift"])
    redshift.pop("adminSecretArn")
    key = other_platform(rig, "byhand", redshift=redshift)
    rig.settle(key, until=lambda: rig.condition(key)["reason"] == "ManualSqlNeeded")
    said = rig.condition(key)
    assert "CREATE SCHEMA IF NOT EXISTS" in said["message"]
    assert rig.condition(key, "Synced")["status"] == "True"
    mark = re.search(rf'{SQL_DONE}="([0-9a-f]+)"', said["message"])
    assert mark is not None
    rig.annotate(key, **{SQL_DONE: mark[1]})
    rig.settle(key)
    rig.silence()
    assert rig.look(key).outcome == "converged"
    assert (rig.aws_writes(), rig.kube.writes) == ([], [])
    rig.delete(key)


def test_a_key_of_ones_own_is_taken_once_its_policy_lets_everybody_in(rig: Rig) -> None:
    kms = rig.aws.admin_session().client("kms")
    tags = [{"TagKey": "weir.dev/cluster", "TagValue": CLUSTER_ID}]
    arn = kms.create_key(Tags=tags)["KeyMetadata"]["Arn"]
    key = other_platform(rig, "ownkey", redshift=None, kms={"keyArn": arn})
    rig.settle(key, until=lambda: rig.condition(key)["reason"] == "KeyPolicyIncomplete")
    for service in (f"logs.{REGION}", "events", "cloudwatch"):
        assert f"{service}.amazonaws.com" in rig.condition(key)["message"]
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=open_key_policy())
    rig.annotate(key, **{"weir.dev/reconcile-at": "now"})
    rig.settle(key)
    rig.delete(key)


def test_quotas_are_measured_once_a_day_and_a_near_one_is_told(rig: Rig) -> None:
    key = Key("Platform", "", rig.platform_name)
    rig.settle(key)
    status = rig.get(key)["status"]
    quotas = {one["name"]: one for one in status["quotas"]}
    assert quotas["iam-roles"]["counts"] == "account"
    assert quotas["iam-roles"]["used"] > 0 < quotas["iam-roles"]["limit"]
    assert quotas["cloudwatch-alarms"]["counts"] == "weir"
    assert status["quotasChecked"]
    rig.silence()
    rig.look(key)
    assert not [call for call in rig.calls if call.operation == "GetAccountSummary"]
    rig.clock[0] += timedelta(days=2)
    rig.look(key)
    assert len([call for call in rig.calls if call.operation == "GetAccountSummary"]) == 1


def test_what_is_told_of_quotas_says_which_and_what_to_do() -> None:
    roles = Headroom("iam-roles", 800, 1000, whole=True)
    assert roles.near and not Headroom("glue-jobs", 799, 1000, whole=False).near
    assert "iam-roles (800 of 1000)" in near_note([roles])
    assert Headroom.from_status(roles.to_status()) == roles


def test_a_test_notification_proves_each_topic_once(rig: Rig) -> None:
    admin = rig.aws.admin_session()
    kms, sns = admin.client("kms"), admin.client("sns")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    topic = sns.create_topic(Name=f"weir-{CLUSTER_ID}-pager", Attributes={"KmsMasterKeyId": arn})[
        "TopicArn"
    ]
    key = other_platform(
        rig, "proved", redshift=None, notifications={"onFailure": [{"sns": topic}]}
    )
    rig.settle(key, until=lambda: rig.condition(key)["reason"] == "TopicNotProved")
    message = rig.condition(key)["message"]
    assert f"a test notification to {topic} was refused" in message
    assert "nobody would hear of failure" in message
    assert f"kms:GenerateDataKey on {arn}" in message
    own = {one["arn"] for one in rig.get(key)["status"]["topics"]}
    assert len(own) == 2 and topic not in own
    kms.tag_resource(KeyId=arn, Tags=[{"TagKey": "weir.dev/cluster", "TagValue": CLUSTER_ID}])
    rig.silence()
    rig.annotate(key, **{"weir.dev/reconcile-at": "now"})
    rig.settle(key)
    assert [one for one in rig.aws_writes() if one == "sns:Publish"] == ["sns:Publish"]
    assert {one["arn"] for one in rig.get(key)["status"]["topics"]} == own | {topic}
    rig.silence()
    rig.annotate(key, **{"weir.dev/reconcile-at": "again"})
    rig.settle(key, until=lambda: rig.get(key)["status"].get("reconcileAt") == "again")
    assert rig.aws_writes() == []
    rig.delete(key)


def test_a_test_notification_says_that_it_is_one_and_whose() -> None:
    facts = make_facts("analytics")
    subject, text = text_of(facts, "failure and quality")
    assert subject == "Weir: test notification of Platform analytics"
    for word in ("This is a test", "Platform analytics", "cluster prod", "failure and quality"):
        assert word in text
    assert len(text_of(make_facts("a" * 200), "failure")[0]) == 100
    own, both = "arn:own", "arn:both"
    facts = replace(facts, topics={"failure": (own, both), "quality": (both,), "success": ()})
    assert dict(topics_of(facts)) == {own: "failure", both: "failure and quality"}


def make_facts(platform: str) -> PlatformFacts:
    return PlatformFacts("prod", platform, REGION, "111122223333", {}, "arn:key", {})
