"""Receipt rules in a set that belongs to somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from weir.aws.calls import Calls
from weir.aws.errors import Conflict, Invalid, NotYet
from weir.aws.ses import ReceiptRule, RuleSet, stopped_by
from weir.aws.session import AwsSession, Target
from weir.resource import Resource
from weir_local.aws.server import LocalAws

STOP = {"StopAction": {"Scope": "RuleSet"}}


def rule(name: str, *actions: dict[str, Any], enabled: bool = True, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Enabled": enabled, "Actions": list(actions), **more}


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ([], ""),
        ([rule("all", STOP)], "all"),
        ([rule("off", STOP, enabled=False)], ""),
        ([rule("goes on", {"AddHeaderAction": {}})], ""),
        ([rule("elsewhere", STOP, Recipients=["x.example"])], ""),
        (
            [rule("one of ours", STOP, Recipients=["x.example", "orders@weir.example"])],
            "one of ours",
        ),
        ([rule("domain", STOP, Recipients=["weir.example"])], "domain"),
        ([rule("first", STOP), rule("second", STOP)], "first"),
    ],
)
def test_an_earlier_rule_that_stops_is_named(before: list[dict[str, Any]], name: str) -> None:
    assert stopped_by(before, ["orders@weir.example"]) == name


@pytest.mark.aws
def test_a_region_where_ses_receives_nothing_is_said_to_be_one(adapters_aws: LocalAws) -> None:
    elsewhere = AwsSession(Target(region="sa-east-1", endpoint_url=adapters_aws.endpoint))
    with pytest.raises(Invalid, match="SES receives no mail in sa-east-1"):
        ReceiptRule(elsewhere).observe(["weir-any"])


@pytest.mark.aws
def test_a_rule_set_of_ours_leaves_the_active_one_and_stays_for_rules_of_others(
    session: AwsSession,
) -> None:
    ses, sets = Calls(session, "ses"), RuleSet(session)
    ours = Resource("ses.RuleSet", "rule-set", "weir-tests-set", {"Active": True}, tagged=False)
    ses("CreateReceiptRuleSet", RuleSetName="theirs")
    ses("SetActiveReceiptRuleSet", RuleSetName="theirs")
    assert sets.create(ours, {}).attributes["ruleSet"] == "theirs"
    ses("SetActiveReceiptRuleSet")
    seen = sets.observe([ours.name])[ours.name]
    assert seen.properties == {"Active": False}
    rules = ReceiptRule(session)
    wanted = Resource(
        "ses.ReceiptRule",
        "receipt-rule",
        "weir-tests-rule",
        {"Recipients": ["A@weir.example"], "Enabled": True, "Actions": [STOP]},
        tagged=False,
    )
    with pytest.raises(NotYet, match="no receipt rule set of SES is active"):
        rules.create(wanted, {})
    active = sets.create(ours, {})
    assert active.attributes["ruleSet"] == ours.name
    made = rules.create(wanted, {})
    assert made.attributes["ruleSet"] == ours.name
    assert rules.create(wanted, {}).settled is False
    with pytest.raises(Conflict, match="has rules of others \\(weir-tests-rule\\) and stays"):
        sets.delete(active)
    rules.delete(made)
    rules.delete(made)
    sets.delete(active)
    sets.delete(active)
    assert sets.observe([ours.name]) == {}
    ses("DeleteReceiptRuleSet", RuleSetName="theirs")
