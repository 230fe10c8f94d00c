"""Lost replies, failures, throttles, stale reads, slow roles and taken names, kind by kind."""

from __future__ import annotations

import pytest
from crashing.faults import RULES, blamed
from crashing.lives import Lives
from crashing.samples import SAMPLES

pytestmark = pytest.mark.aws


@pytest.mark.parametrize("kind", [sample.kind for sample in SAMPLES])
@pytest.mark.parametrize("fault", RULES)
def test_a_bad_day_ends_in_the_same_world_and_is_nobodys_fault(
    lives: Lives, kind: str, fault: str
) -> None:
    for outcome in lives.live(kind, lambda _: RULES[fault]()):
        assert not outcome.verdict, f"{outcome.step.operation}: {outcome.verdict}"
        assert blamed(outcome.met) == [], outcome.step.operation
