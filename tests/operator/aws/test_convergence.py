"""A whole installation under the published policies: it comes to rest, and goes without a trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from installation import Installation, Part, all_at_once, as_listed, one_by_one

from weir.aws.base import ServiceAdapter
from weir.aws.dynamodb import TABLE
from weir.aws.kinesis import UNLISTED
from weir.aws.kms import KEY
from weir.aws.s3 import BUCKET, OBJECT
from weir.aws.scheduler import FIELDS
from weir.aws.sns import TOPIC
from weir.aws.sqs import FIELDS as QUEUE
from weir.aws.states import SETTINGS
from weir.reconcile.apply import Applied, Applier, Entry
from weir.reconcile.inventory import Inventory
from weir.reconcile.plan import Verb
from weir.resource import Adapter, Observed
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


ADOPTED_ONLY = {"s3.Claim"}
"""Comes with a bucket that is adopted: tests/operator/ownership has those."""


def test_every_kind_of_adapter_has_a_part_in_it(installed: Installation, parts: list[Part]) -> None:
    kinds = {resource.kind for part in parts for resource in part.resources}
    assert kinds == set(installed.adapters) - ADOPTED_ONLY


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
    "kinesis.Stream": set(UNLISTED),
    "kms.Key": KEY,
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
    # Of a rule set one asks whether any is active: that is so by whatever name.
    assert {key for key in listed if key[0] != "ses.RuleSet"} | set(deep) == set(deep)
    assert set(listed) >= set(deep)
    for key, full in deep.items():
        assert listed[key] == as_listed(full, listed[key]), key
        assert listed[key].unseen == UNSEEN.get(key[0], set()), key


class Listing:
    """An adapter that never looks deeply unasked, with a note of every other call."""

    def __init__(self, adapter: Adapter, calls: list[tuple[str, str]]) -> None:
        assert isinstance(adapter, ServiceAdapter)
        self.kind, self.traits = adapter.kind, adapter.traits
        self._adapter, self._calls = adapter, calls

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        return self._adapter.listing(list(names))

    def __getattr__(self, verb: str) -> Any:
        self._calls.append((verb, self.kind))
        return getattr(self._adapter, verb)


def applied_again(
    installed: Installation, part: Part, entries: Sequence[Entry]
) -> tuple[Applied, list[tuple[str, str]]]:
    """Apply as a process that has just begun does: it knows the status, and lists."""
    calls: list[tuple[str, str]] = []
    kinds: Any = {kind: Listing(one, calls) for kind, one in installed.adapters.items()}
    applier = Applier(kinds, Inventory(kinds, 600, lambda: 0.0), installed.pool)
    return applier.apply(part.owner, part.resources, part.owner.tags, entries), calls


def test_every_kind_is_found_as_it_was_wanted_by_its_listing_and_its_mark_alone(
    installed: Installation, parts: list[Part]
) -> None:
    for part in parts:
        assert [one.name for one in part.entries if one.state == "Ready" and not one.mark] == []
        result, calls = applied_again(installed, part, part.entries)
        assert (result.done, result.problems) == ([], [])
        assert calls == []
        assert result.entries == part.entries


def test_every_kind_applied_again_writes_nothing_where_no_mark_tells_of_it(
    installed: Installation, parts: list[Part]
) -> None:
    for part in parts:
        unmarked = [replace(one, mark="") for one in part.entries]
        result, calls = applied_again(installed, part, unmarked)
        assert (result.done, result.problems) == ([], [])
        assert {verb for verb, _ in calls} <= {"observe"}
        assert result.entries == part.entries


STAYS = {"bucket-artifacts", "bucket-raw", "schema-weir", "load-ledger"}
"""The versioned bucket still has versions, and the raw one what SES has tried a receipt rule with; the
ledger says what was loaded, whoever comes next."""


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
