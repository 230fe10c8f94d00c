"""What the queue keeps in memory does not grow with how often keys are asked for."""

from __future__ import annotations

from weir.reconcile.queue import SPARE, KeyedQueue, Lane

HOUR = 3600.0


def test_times_that_are_out_of_date_do_not_pile_up():
    queue: KeyedQueue[str] = KeyedQueue()
    keys = [f"k{number}" for number in range(10)]
    for turn in range(1000):
        now = float(turn)
        for key in keys:
            queue.add(key, Lane.DEPENDENT, now)
        while (key := queue.take(now)) is not None:
            queue.done(key, now)
            queue.add(key, Lane.DRIFT, now, HOUR)
    assert len(queue._delayed) <= 2 * len(keys) + SPARE
    assert len(queue) == len(keys)
    assert queue.next_due() == 999 + HOUR
    taken = {queue.take(2 * HOUR) for _ in keys}
    assert taken == set(keys)
