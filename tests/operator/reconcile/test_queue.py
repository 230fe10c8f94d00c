from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weir.reconcile.queue import FAIR_SHARE, Backoff, KeyedQueue, Lane


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


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "done", "retry", "forget"]),
        st.sampled_from("abcd"),
        st.sampled_from(list(Lane)),
        st.integers(0, 20),
    ),
    max_size=80,
)


@given(operations)
def test_no_key_is_with_two_workers_and_no_wish_is_lost(steps):
    one = queue()
    now = 0.0
    held: set[str] = set()
    wishes: set[str] = set()
    for what, key, lane, seconds in steps:
        now += 1
        if what == "add":
            one.add(key, lane, now, float(seconds))
            wishes.add(key)
        elif what == "take":
            taken = one.take(now)
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
