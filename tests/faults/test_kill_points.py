"""Whatever the operator was doing with a kind when it was killed, a restart brings the same world."""

from __future__ import annotations

import pytest
from crashing.lives import DELETE, Lives
from crashing.samples import BY_KIND, SAMPLES
from crashing.workers import AFTER

from weir.aws.registry import adapter_classes
from weir.aws.session import is_write

pytestmark = pytest.mark.aws


def test_every_kind_has_a_sample() -> None:
    assert set(BY_KIND) == set(adapter_classes())


@pytest.mark.parametrize("kind", [sample.kind for sample in SAMPLES])
def test_killed_at_any_call_it_comes_to_the_same_world(lives: Lives, kind: str) -> None:
    tally = lives.kill_everywhere(kind, thorough=False)
    assert tally.points >= 2 * sum(bool(step.calls) for step in lives.steps(kind))
    assert (tally.orphans, tally.duplicates, tally.differences) == (0, 0, 0), str(tally)


@pytest.mark.parametrize("kind", ["iam.Role", "lambda.Function", "sqs.Queue"])
def test_an_owner_that_is_made_anew_takes_what_a_killed_one_left(lives: Lives, kind: str) -> None:
    create, *_, delete = lives.steps(kind)
    first = next(i for i, call in enumerate(create.calls, 1) if is_write(call.partition(":")[2]))
    life = lives.begin(BY_KIND[kind])
    assert life.do("create", lives.workers.killing(first, AFTER)) is None
    life.status.unlink(missing_ok=True)
    assert life.do("create", uid="uid-2")["met"] == []
    life.do(DELETE, uid="uid-2")
    assert not life.judged(delete)
    life.end()
