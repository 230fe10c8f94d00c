"""A source that receives mails, in a rule set that is its owner's, under the published policy."""

from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, source

from weir.kube.keys import Key

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

SET, DOMAIN = "corporate", "weir.example"
STOP = {"StopAction": {"Scope": "RuleSet"}}


def receiving(rig: Rig, name: str, *recipients: str) -> Key:
    return source(
        rig,
        name,
        source={"email": {"receive": {"recipients": list(recipients)}}},
        schema={"fields": [{"name": "id", "type": "integer"}]},
        suspend=False,
    )


def granted(rig: Rig, mail: dict[str, Any] | None = None, *recipients: str) -> None:
    """Give the namespace recipients, and the Platform its way with rule sets."""
    platform = rig.get(Key("Platform", "", rig.platform_name))
    platform["spec"]["grants"][0]["mailRecipients"] = list(recipients)
    platform["spec"]["mail"] = mail or {}
    rig.kube.replace(platform)
    rig.refresh()


def ses(rig: Rig) -> Any:
    return rig.aws.admin_session().client("ses")


def rules(rig: Rig) -> list[str]:
    return [one["Name"] for one in ses(rig).describe_active_receipt_rule_set().get("Rules", [])]


def message(rig: Rig, key: Key) -> str:
    return str(rig.condition(key)["message"])


def again(rig: Rig, key: Key, around: Key, reason: str) -> None:
    """Look until the object says a reason."""
    rig.settle(key, around, until=lambda: rig.condition(key)["reason"] == reason)


@pytest.fixture
def platform(rig: Rig) -> Key:
    granted(rig, None, f"*@{DOMAIN}", DOMAIN)
    return Key("Platform", "", rig.platform_name)


def test_a_recipient_that_is_not_granted_is_refused(rig: Rig, platform: Key) -> None:
    key = receiving(rig, "greedy", f"orders@{DOMAIN}", "payroll@other.example")
    again(rig, key, platform, "RecipientNotGranted")
    assert "payroll@other.example" in message(rig, key)
    assert "orders@" not in message(rig, key)
    rig.delete(key)


def test_what_is_missing_is_said_until_the_rule_stands_behind_those_of_others(
    rig: Rig, platform: Key
) -> None:
    client = ses(rig)
    key = receiving(rig, "orders", f"Orders@{DOMAIN}")
    rig.settle(
        key, platform, until=lambda: "no receipt rule set of SES is active" in message(rig, key)
    )
    assert "spec.mail.createRuleSet" in message(rig, key)
    assert f"ses.Identity {DOMAIN} is needed and does not exist: SES has not verified" in message(
        rig, key
    )
    assert f"inbound-smtp.{rig.aws.region}.amazonaws.com" in message(rig, key)
    client.verify_domain_dkim(Domain=DOMAIN)
    client.create_receipt_rule_set(RuleSetName=SET)
    client.set_active_receipt_rule_set(RuleSetName=SET)
    others = {"Name": "corporate", "Enabled": True, "Actions": [STOP], "Recipients": [DOMAIN]}
    client.create_receipt_rule(RuleSetName=SET, Rule=others)
    rig.annotate(key, **{"weir.dev/reconcile-at": "1"})
    again(rig, key, platform, "MailsKeptAway")
    assert "receipt rule corporate of rule set corporate stands before" in message(rig, key)
    mine = rules(rig)[1]
    client.set_receipt_rule_position(RuleSetName=SET, RuleName="corporate", After=mine)
    rig.annotate(key, **{"weir.dev/reconcile-at": "2"})
    rig.settle(key, platform)
    rig.silence()
    assert rig.look(key).outcome == "converged"
    assert (rig.aws_writes(), rig.kube.writes) == ([], [])
    (found,) = [
        one for one in client.describe_active_receipt_rule_set()["Rules"] if one["Name"] == mine
    ]
    assert found["Recipients"] == [f"orders@{DOMAIN}"]
    assert found["ScanEnabled"] and found["Enabled"]
    action = found["Actions"][0]["S3Action"]
    assert action["ObjectKeyPrefix"] == f"{key.namespace}/orders/_mail/"
    assert "KmsKeyArn" not in action
    header = {"AddHeaderAction": {"HeaderName": "X-Seen", "HeaderValue": "yes"}}
    client.update_receipt_rule(RuleSetName=SET, Rule={**others, "Actions": [header]})


def test_a_change_by_hand_is_put_right_and_others_rules_stay(rig: Rig, platform: Key) -> None:
    client = ses(rig)
    key = Key("DataSource", receiving(rig, "orders", f"orders@{DOMAIN}").namespace, "orders")
    rig.settle(key, platform)
    before = client.describe_active_receipt_rule_set()["Rules"]
    (mine,) = [one for one in before if one["Name"] != "corporate"]
    client.update_receipt_rule(RuleSetName=SET, Rule={**mine, "Enabled": False})
    rig.annotate(key, **{"weir.dev/reconcile-at": "3"})
    rig.settle(key, until=lambda: rig.get(key)["status"].get("reconcileAt") == "3")
    assert client.describe_active_receipt_rule_set()["Rules"] == before


def test_the_younger_of_two_that_want_a_recipient_waits(rig: Rig, platform: Key) -> None:
    old = receiving(rig, "orders", f"orders@{DOMAIN}")
    rig.settle(old, platform)
    young = receiving(rig, "zz-everything", DOMAIN)
    again(rig, young, platform, "Conflict")
    assert f"the mails of {DOMAIN} are received by {old} (as orders@{DOMAIN})" in message(
        rig, young
    )
    rig.delete(old)
    rig.settle(young, platform)
    assert len(rules(rig)) == 2
    rig.delete(young)
    assert rules(rig) == ["corporate"]


def test_a_rule_goes_from_sets_that_were_active_before_too(rig: Rig, platform: Key) -> None:
    client = ses(rig)
    key = receiving(rig, "moved", f"moved@{DOMAIN}")
    rig.settle(key, platform)
    client.create_receipt_rule_set(RuleSetName="next")
    client.set_active_receipt_rule_set(RuleSetName="next")
    rig.annotate(key, **{"weir.dev/reconcile-at": "4"})
    rig.settle(key, until=lambda: rig.get(key)["status"].get("reconcileAt") == "4")
    assert len(rules(rig)) == 1
    rig.delete(key)
    assert rules(rig) == []
    left = client.describe_receipt_rule_set(RuleSetName=SET)["Rules"]
    assert [one["Name"] for one in left] == ["corporate"]


def test_a_platform_makes_a_rule_set_only_where_it_may_and_none_is_active(
    rig: Rig, platform: Key
) -> None:
    client = ses(rig)
    granted(rig, {"createRuleSet": True}, f"*@{DOMAIN}")
    key = receiving(rig, "made", f"made@{DOMAIN}")
    rig.settle(key, platform)
    assert client.describe_active_receipt_rule_set()["Metadata"]["Name"] == "next"
    client.set_active_receipt_rule_set()
    for number in ("5", "6"):
        rig.annotate(platform, **{"weir.dev/reconcile-at": number})
        rig.settle(
            platform, until=lambda n=number: rig.get(platform)["status"].get("reconcileAt") == n
        )
        rig.annotate(key, **{"weir.dev/reconcile-at": number})
        rig.settle(key, until=lambda n=number: rig.get(key)["status"].get("reconcileAt") == n)
    name = client.describe_active_receipt_rule_set()["Metadata"]["Name"]
    assert name.startswith("weir-")
    assert len(rules(rig)) == 1
    rig.delete(key)
    rig.settle(platform, until=lambda: "Rules" not in client.describe_active_receipt_rule_set())
    sets = [one["Name"] for one in client.list_receipt_rule_sets()["RuleSets"]]
    assert sorted(sets) == ["corporate", "next"]
