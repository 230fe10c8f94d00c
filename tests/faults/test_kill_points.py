"""Whatever the operator was doing with a kind when it was killed, a restart brings the same world."""

from __future__ import annotations

import pytest
from crashing.lives import Lives
from crashing.samples import BY_KIND, SAMPLES

from weir.aws.registry import adapter_classes

pytestmark = pytest.mark.aws


def test_every_kind_has_a_sample() -> None:
    assert set(BY_KIND) == set(adapter_classes())


@pytest.mark.parametrize("kind", [sample.kind for sample in SAMPLES])
def test_killed_at_any_call_it_comes_to_the_same_world(lives: Lives, kind: str) -> None:
    tally = lives.kill_everywhere(kind, thorough=False)
    assert tally.points >= 2 * len(lives.steps(kind))
    assert (tally.orphans, tally.duplicates, tally.differences) == (0, 0, 0), str(tally)
