"""Lost replies, failures, throttles, stale reads, slow roles and taken names, kind by kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crashing.faults import FAULTS, stale
from crashing.lives import Lives
from crashing.samples import SAMPLES

from weir_local.proxy import Rule

pytestmark = pytest.mark.aws

PASSING = ("Transient", "NotYet", "NotFound", "Throttled")
"""Outcomes that say: the same again later. No bad day of AWS is the user's to mend."""
STALE_READS = 3

RULES: dict[str, Callable[[], Rule]] = {
    **{fault.name: fault.rule for fault in FAULTS},
    "reads after writes are stale": lambda: stale(STALE_READS),
}


@pytest.mark.parametrize("kind", [sample.kind for sample in SAMPLES])
@pytest.mark.parametrize("fault", RULES)
def test_a_bad_day_ends_in_the_same_world_and_is_nobodys_fault(
    lives: Lives, kind: str, fault: str
) -> None:
    for outcome in lives.live(kind, lambda _: RULES[fault]()):
        assert not outcome.verdict, f"{outcome.step.operation}: {outcome.verdict}"
        blamed = [text for text in outcome.met if text.partition(":")[0] not in PASSING]
        assert blamed == [], outcome.step.operation
