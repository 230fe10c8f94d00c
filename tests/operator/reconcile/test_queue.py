from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from patience import PATIENCE_SECONDS
from weir.kube.keys import Key
from weir.reconcile.metrics import Metrics
from weir.reconcile.queue import FAIR_SHARE, Backoff, KeyedQueue, Lane
from weir.reconcile.services import Result
from weir.reconcile.workers import Workers, reserved


def queue() -> KeyedQueue[str]:
    return KeyedQueue(seed=1)


def drain(one: KeyedQueue[str], now: float) -> list[str]:
    taken = []
    while (key := one.take(now)) is not None:
        taken.append(key)
        one.done(key, now)
    return taken


def test_an_edit_goes_before_a_drift_check_that_came_first():
    one = queue()
    one.add("drift", Lane.DRIFT, 0)
    one.add("edit", Lane.EDIT, 1)
    assert drain(one, 2) == ["edit", "drift"]


def test_many_events_for_one_key_are_one_piece_of_work():
    one = queue()
    for _ in range(10):
        one.add("a", Lane.EDIT, 0)
    assert drain(one, 0) == ["a"]


def test_what_arrives_while_a_worker_holds_the_key_is_worked_on_afterwards():
    one = queue()
    one.add("a", Lane.EDIT, 0)
    assert one.take(0) == "a"
    one.add("a", Lane.EDIT, 0)
    assert one.take(0) is None
    one.done("a", 0)
    assert one.take(0) == "a"


def test_a_delayed_key_waits_until_it_is_due_and_a_change_brings_it_forward():
    one = queue()
    one.add("a", Lane.RETRY, 0, delay=60)
    assert one.take(59) is None
    assert one.next_due() == 60
    one.add("a", Lane.EDIT, 59)
    assert one.take(59) == "a"
    one.done("a", 59)
    assert one.take(100) is None


def test_failures_wait_longer_each_time_and_a_change_forgets_them():
    one = queue()
    delays = [one.retry("a", 0) for _ in range(12)]
    assert delays[0] <= 1 < delays[3] < delays[6]
    assert max(delays) <= 300
    one.add("a", Lane.EDIT, 0)
    assert one.retry("a", 0) <= 1


def test_a_stream_of_edits_does_not_starve_a_drift_check():
    one = queue()
    one.add("drift", Lane.DRIFT, 0)
    taken = []
    for turn in range(FAIR_SHARE + 1):
        one.add(f"edit{turn}", Lane.EDIT, 1 + turn)
        one.add(f"more{turn}", Lane.EDIT, 1 + turn)
        key = one.take(1 + turn)
        assert key is not None
        taken.append(key)
        one.done(key, 1 + turn)
    assert "drift" in taken


def test_a_forgotten_key_is_not_taken():
    one = queue()
    one.add("a", Lane.EDIT, 0)
    one.add("b", Lane.RETRY, 0, delay=5)
    one.forget("a")
    one.forget("b")
    assert drain(one, 10) == []
    assert one.next_due() is None


@given(failures=st.integers(1, 1000), chance=st.floats(0, 0.999))
def test_a_backoff_is_never_more_than_its_cap_and_never_less_than_half_its_base(failures, chance):
    assert 0.5 <= Backoff(1, 300).delay(failures, chance) <= 300


def grouped() -> KeyedQueue[str]:
    return KeyedQueue(seed=1, group=lambda key: key[0])


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    st.sampled_from([Lane.EDIT, Lane.DEPENDENT]),
)
def test_inside_a_lane_nobody_waits_for_more_than_one_key_of_each_other_group(groups, lane):
    one = grouped()
    for number, group in enumerate(groups):
        one.add(f"{group}{number}", lane, 0)
    # One in so many takes goes by age instead, so that it is left out here.
    taken = [one.take(1, Lane.DEPENDENT) for _ in groups]
    assert sorted(key for key in taken if key) == sorted(
        f"{group}{number}" for number, group in enumerate(groups)
    )
    for group in set(groups):
        turns = [at for at, key in enumerate(taken) if key and key[0] == group]
        others = len(set(groups)) - 1
        assert turns[0] <= others
        assert all(after - before <= others + 1 for before, after in itertools.pairwise(turns))


def test_inside_a_group_the_first_to_come_is_the_first_to_go():
    one = grouped()
    for number in (3, 1, 2):
        one.add(f"a{number}", Lane.EDIT, 0)
    assert drain(one, 1) == ["a3", "a1", "a2"]


def test_a_thousand_objects_of_one_team_keep_nobody_waiting():
    one = grouped()
    for number in range(1000):
        one.add(f"a{number}", Lane.EDIT, 0)
    one.add("b", Lane.EDIT, 1)
    assert "b" in [one.take(2), one.take(2)]


def test_who_takes_edits_alone_takes_nothing_else_and_is_not_woken_for_it():
    one = queue()
    one.add("drift", Lane.DRIFT, 0)
    one.add("retry", Lane.RETRY, 0)
    assert one.take(1, Lane.EDIT) is None
    assert one.next_due(Lane.EDIT) is None
    assert one.next_due() == 0
    one.add("edit", Lane.EDIT, 1)
    assert one.take(1, Lane.EDIT) == "edit"


@given(st.integers(1, 200))
def test_some_threads_are_kept_for_edits_but_never_all(count):
    kept = reserved(count)
    assert 0 <= kept < count
    assert count == 1 or kept >= 1


def test_edits_go_on_while_every_other_thread_hangs():
    hangs, edited = threading.Event(), threading.Event()

    def reconcile(key: Key) -> Result:
        if key.name == "edit":
            edited.set()
        else:
            hangs.wait(PATIENCE_SECONDS)
        return Result("converged")

    workers = Workers(reconcile, Metrics(CollectorRegistry()), 4, time.monotonic)
    for number in range(8):
        workers.add(Key("DataSource", "team", f"d{number}"), Lane.RETRY)
    workers.start()
    try:
        workers.add(Key("DataSource", "team", "edit"), Lane.EDIT)
        assert edited.wait(PATIENCE_SECONDS)
        assert len(workers.busy) >= 3
    finally:
        hangs.set()
        assert workers.stop(10)


@pytest.mark.parametrize("lane", [Lane.EDIT, Lane.DEPENDENT])
def test_a_changed_spec_secret_or_platform_forgets_how_often_it_failed(lane):
    one = queue()
    for _ in range(9):
        one.retry("a", 0)
    one.add("a", lane, 0)
    assert one.take(0) == "a"
    assert one.retry("a", 0) <= 1


def test_a_look_for_drift_forgets_nothing():
    one = queue()
    for _ in range(9):
        one.retry("a", 0)
    one.add("a", Lane.RETRY, 0)
    assert one.take(0) == "a"
    assert one.retry("a", 0) > 100


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "done", "retry", "forget"]),
        st.sampled_from(["a1", "a2", "b1", "b2", "c1"]),
        st.sampled_from(list(Lane)),
        st.integers(0, 20),
    ),
    max_size=80,
)


@given(operations)
def test_no_key_is_with_two_workers_and_no_wish_is_lost(steps):
    one = grouped()
    now = 0.0
    held: set[str] = set()
    wishes: set[str] = set()
    for what, key, lane, seconds in steps:
        now += 1
        if what == "add":
            one.add(key, lane, now, float(seconds))
            wishes.add(key)
        elif what == "take":
            taken = one.take(now, lane)
            if taken is not None:
                assert taken not in held
                held.add(taken)
                wishes.discard(taken)
        elif what == "done" and key in held:
            held.discard(key)
            one.done(key, now)
        elif what == "retry" and key in held:
            one.retry(key, now)
            wishes.add(key)
        elif what == "forget":
            one.forget(key)
            wishes.discard(key)
    for key in held:
        one.done(key, now)
    assert set(drain(one, now + 1000)) == wishes
    assert len(one) == 0 and not any(one.depth().values())
