"""A whole installation under the published policies: it comes to rest, and goes without a trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from installation import Installation, Part, all_at_once, as_listed, one_by_one

from weir.aws.dynamodb import TABLE
from weir.aws.kms import KEY
from weir.aws.s3 import BUCKET, OBJECT
from weir.aws.scheduler import FIELDS
from weir.aws.sns import TOPIC
from weir.aws.sqs import FIELDS as QUEUE
from weir.aws.states import SETTINGS
from weir.reconcile.plan import Verb
from weir_local.aws.server import LocalAws

pytestmark = pytest.mark.aws

REGION = "eu-central-1"


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, credentials: None
) -> Iterator[Installation]:
    """An installation on an account of its own."""
    with LocalAws(tmp_path_factory.mktemp("convergence"), region=REGION) as aws:
        yield Installation(aws, tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def parts(installed: Installation) -> list[Part]:
    """Platform, source and pipeline, applied."""
    return installed.create()


def test_every_kind_of_adapter_has_a_part_in_it(installed: Installation, parts: list[Part]) -> None:
    kinds = {resource.kind for part in parts for resource in part.resources}
    assert kinds == set(installed.adapters)


def test_nothing_is_left_to_do_however_one_looks(
    installed: Installation, parts: list[Part]
) -> None:
    for part in parts:
        plan = installed.plan(part, one_by_one(installed.adapters, part.resources))
        left = [action for action in plan.actions if action.verb is not Verb.NONE]
        assert [(a.kind, a.name, a.changes, a.tag_changes) for a in left] == []


UNSEEN = {
    "cloudwatch.Dashboard": {"DashboardBody"},
    "dynamodb.Table": TABLE,
    "events.Rule": {"Targets"},
    "kms.Key": KEY,
    "lambda.Function": {"ReservedConcurrentExecutions"},
    "s3.Bucket": BUCKET,
    "s3.Object": OBJECT,
    "scheduler.Schedule": set(FIELDS) - {"State"},
    "sns.Topic": TOPIC,
    "sqs.Queue": set(QUEUE),
    "states.StateMachine": SETTINGS,
}
"""What a listing of each kind can't tell."""


def test_a_listing_says_what_a_deep_look_says_and_names_what_it_did_not_see(
    installed: Installation, parts: list[Part]
) -> None:
    resources = [resource for part in parts for resource in part.resources]
    deep = one_by_one(installed.adapters, resources)
    listed = all_at_once(installed.adapters, resources)
    assert set(listed) == set(deep)
    for key, full in deep.items():
        assert listed[key] == as_listed(full, listed[key]), key
        assert listed[key].unseen == UNSEEN.get(key[0], set()), key


STAYS = {"bucket-artifacts", "schema-weir", "load-ledger"}
"""The versioned bucket still has versions; the ledger says what was loaded, whoever comes next."""


def test_all_that_was_made_goes_but_what_holds_something(
    installed: Installation, parts: list[Part]
) -> None:
    for part in reversed(parts):
        result = installed.delete(part)
        assert [str(problem.error) for problem in result.problems] == []
        assert result.entries == []
    resources = [one for part in parts for one in part.resources if not one.external]
    left = one_by_one(installed.adapters, resources)
    assert {one.logical_id for one in resources if one.key in left} == STAYS
