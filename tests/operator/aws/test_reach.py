"""An endpoint that does not answer is asked by one at a time."""

from __future__ import annotations

import pytest

from weir.aws.errors import Transient
from weir.aws.reach import FIRST_PAUSE, LONGEST_PAUSE, PROBE, Reach


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def left(reach: Reach, service: str) -> float:
    """Seconds for which a service is left alone; 0 where it may be asked."""
    try:
        reach.enter(service)
    except Transient as error:
        return error.retry_after or 0.0
    return 0.0


def test_where_nothing_has_ever_answered_one_silent_service_speaks_for_all():
    clock = Clock()
    reach = Reach(clock)
    reach.enter("sts")
    clock.now += 120
    reach.silent("sts", 50.0)
    assert left(reach, "sts") == FIRST_PAUSE
    assert left(reach, "iam") == FIRST_PAUSE
    assert not reach.answered


def test_a_service_that_is_silent_alone_is_left_alone_alone():
    clock = Clock()
    reach = Reach(clock)
    reach.heard("iam")
    clock.now += 1
    began = clock.now
    clock.now += 120
    reach.heard("iam")
    reach.silent("glue", began)
    assert left(reach, "glue") == FIRST_PAUSE
    assert left(reach, "iam") == 0.0


def test_after_the_pause_one_tries_and_the_others_wait_for_what_becomes_of_it():
    clock = Clock()
    reach = Reach(clock)
    reach.silent("sts", clock.now)
    clock.now += FIRST_PAUSE
    assert left(reach, "sts") == 0.0
    assert left(reach, "iam") == LONGEST_PAUSE
    reach.heard("sts")
    assert reach.answered
    assert left(reach, "iam") == 0.0


def test_a_try_that_nobody_tells_the_end_of_does_not_shut_the_endpoint_for_ever():
    clock = Clock()
    reach = Reach(clock)
    reach.silent("sts", clock.now)
    clock.now += FIRST_PAUSE
    reach.enter("sts")
    clock.now += PROBE
    assert left(reach, "sts") == 0.0


def test_pauses_double_up_to_the_longest():
    clock = Clock()
    reach = Reach(clock)
    pauses = []
    for _ in range(6):
        reach.silent("sts", clock.now)
        pauses.append(left(reach, "sts"))
        clock.now += pauses[-1]
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_the_text_of_a_pause_says_the_same_each_time():
    clock = Clock()
    reach = Reach(clock)
    texts = set()
    for _ in range(3):
        reach.silent("sts", clock.now)
        with pytest.raises(Transient) as caught:
            reach.enter("sts")
        texts.add(str(caught.value))
        clock.now += 100
    assert len(texts) == 1
