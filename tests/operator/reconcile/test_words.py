"""What plans, conditions and events say is of use to who does not know the code."""

from __future__ import annotations

import pytest

from weir.reconcile.apply import Entry
from weir.reconcile.guards import data_halt
from weir.reconcile.look import drift_note
from weir.reconcile.plan import Action, Verb, decide
from weir.reconcile.planner import foreseen
from weir.resource import Observed, Owner, Resource, Traits, spoken, titled

OWNER = Owner("c1", "DataSource", "team", "orders", "uid-1")
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:weir/admin-AbCdEf"
TABLE = f"serverless:main|dev|{SECRET}|sales.orders"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TABLE, "sales.orders (database dev of workgroup main)"),
        (f"provisioned:big|dev|{SECRET}|sales", "sales (database dev of cluster big)"),
        ("weir-c1-team-orders", "weir-c1-team-orders"),
        ("serverless:main", "serverless:main"),
        ("state|SOURCE#team/orders|PROFILE", "state|SOURCE#team/orders|PROFILE"),
    ],
)
def test_a_table_is_called_by_its_name_and_not_by_how_it_is_reached(name: str, said: str) -> None:
    assert spoken(name) == said
    assert titled("redshift.Table", name) == f"redshift.Table {said}"


def test_drift_of_a_table_names_the_table_alone() -> None:
    action = Action(Verb.CREATE, "redshift.Table", "target", TABLE)
    assert SECRET not in drift_note(action)
    assert "sales.orders" in drift_note(action)


@pytest.mark.parametrize(
    ("tags", "does"),
    [
        ({"weir.dev/cluster": "c1", "weir.dev/kind": "DataSource"}, "delete that one"),
        ({}, "weir.dev/adopt"),
    ],
)
def test_a_conflict_says_what_to_do(tags: dict[str, str], does: str) -> None:
    wanted = Resource("iam.Role", "role", "role", {"Path": "/weir/"})
    action = decide(OWNER, wanted, Observed("role", {}, tags=tags), Traits(), OWNER.tags)
    assert action.verb is Verb.CONFLICT
    assert does in action.reason


def test_what_cannot_be_taken_over_says_what_to_do() -> None:
    wanted = Resource("iam.Role", "role", "role", {"Path": "/weir/"})
    there = Observed("role", {"Path": "/"})
    traits = Traits(immutable=frozenset({"Path"}))
    action = decide(OWNER, wanted, there, traits, OWNER.tags, adopt=True)
    assert action.verb is Verb.CONFLICT
    assert "another Path" in action.reason
    assert "delete it, or give this one another name" in action.reason


def test_what_is_needed_and_missing_says_what_to_do() -> None:
    wanted = Resource("secretsmanager.Secret", "secret", "weir/team/key", external=True)
    action = decide(OWNER, wanted, None, Traits(), OWNER.tags)
    assert action.reason == (
        "secretsmanager.Secret weir/team/key is needed and does not exist: create it, or correct "
        "its name"
    )


def test_a_plan_says_of_data_that_is_gone_what_the_operator_says() -> None:
    said = data_halt([Entry("redshift.Table", "target", TABLE)]).message
    missing = Action(Verb.MISSING, "redshift.Table", "target", TABLE, reason="is needed")
    other = Action(Verb.MISSING, "s3.Bucket", "raw", "raw", reason="is needed")
    lost = {("redshift.Table", TABLE): said}
    assert foreseen(missing, lost).reason == said
    assert foreseen(other, lost) == other
    assert 'weir.dev/recreate="target"' in said
    assert SECRET not in said
