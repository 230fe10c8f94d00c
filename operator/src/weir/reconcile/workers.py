"""Threads around the queue: they take keys, reconcile them, and give them back."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext

import structlog

from weir.aws.courtesy import RightOfWay
from weir.kube.keys import Key
from weir.reconcile.metrics import Metrics
from weir.reconcile.queue import KeyedQueue, Lane
from weir.reconcile.services import Result

log = structlog.get_logger("weir.workers")

JITTER = 0.1
"""Part of a drift check's delay that is random, so that checks spread out."""
RESERVED_SHARE = 4
"""One thread of so many is kept for edits."""


def reserved(count: int) -> int:
    """Threads of so many that take edits alone: however long drift and retries are, and whatever
    they wait for, somebody who changes an object does not wait for them."""
    return min(count - 1, max(1, count // RESERVED_SHARE))


class Workers:
    """A pool of threads that works a queue off.

    Parameters
    ----------
    reconcile
        Called with a key, by one thread a key at a time.
    count
        Number of threads.
    clock
        Seconds that only grow.
    serves
        Whether a key is this process's to work on; asked again whenever one is taken.
    """

    def __init__(
        self,
        reconcile: Callable[[Key], Result],
        metrics: Metrics,
        count: int,
        clock: Callable[[], float],
        serves: Callable[[Key], bool] = lambda _key: True,
    ) -> None:
        self._reconcile = reconcile
        self._serves = serves
        self._metrics = metrics
        self._clock = clock
        self._queue: KeyedQueue[Key] = KeyedQueue(group=lambda key: key.namespace)
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._edited = threading.Condition(lock)
        """What the threads wait for that are kept for edits."""
        self._right = RightOfWay()
        self._stopping = False
        self._busy: dict[Key, float] = {}
        self._first: set[Key] = set()
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(Lane.EDIT if number < reserved(count) else Lane.DRIFT,),
                name=f"worker-{number}",
                daemon=True,
            )
            for number in range(count)
        ]
        metrics.follow(self.waiting)

    def waiting(self) -> dict[str, tuple[int, float]]:
        """By lane: keys that are due, and seconds for which the oldest of them has been."""
        with self._changed:
            now = self._clock()
            oldest = self._queue.oldest(now)
            return {lane.name: (n, oldest[lane]) for lane, n in self._queue.depth().items()}

    def start(self) -> None:
        """Start working."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Take no more keys, and wait for those in work. Returns whether all have ended."""
        self.halt()
        end = self._clock() + seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - self._clock()))
        return not any(thread.is_alive() for thread in self._threads)

    def halt(self) -> None:
        """Take no more keys."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._edited.notify_all()

    def add(self, key: Key, lane: Lane, delay: float = 0.0) -> None:
        """Ask for work on a key, ``delay`` seconds from now. Another process's key is left to it."""
        if not self._serves(key):
            return
        with self._changed:
            self._queue.add(key, lane, self._clock(), delay)
            self._tell()

    def expect(self, keys: Iterable[Key]) -> None:
        """These make up the first pass."""
        with self._changed:
            self._first.update(keys)

    @property
    def first_pass_left(self) -> int:
        """Objects of the first pass that have not been looked at yet."""
        with self._changed:
            return len(self._first)

    def awaits(self, key: Key) -> bool:
        """Whether a key is of the first pass and has not been looked at yet."""
        with self._changed:
            return key in self._first

    def forget(self, key: Key) -> None:
        """The object is gone."""
        with self._changed:
            self._queue.forget(key)
            self._first.discard(key)

    def give_way(self) -> None:
        """Wait for a moment while an edit is worked on."""
        self._right.give_way()

    @property
    def busy(self) -> list[Key]:
        """Keys that are being worked on."""
        with self._changed:
            return list(self._busy)

    @property
    def alive(self) -> bool:
        """Whether every thread still works."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing is in work."""
        with self._changed:
            due = self._queue.next_due()
            return not self._busy and (due is None or due > self._clock())

    def longest(self) -> float:
        """Seconds for which the longest reconcile under way has been running."""
        with self._changed:
            now = self._clock()
            return max((now - since for since in self._busy.values()), default=0.0)

    def _work(self, least: Lane) -> None:
        while (key := self._take(least)) is not None:
            try:
                with self._right.taken() if self._is_edit(key) else nullcontext():
                    result = self._reconcile(key)
            except Exception:
                # A fault of this program must not end the thread: say it, try later.
                log.exception("fault", kind=key.kind, object=key.id)
                result = Result("fault", failed=True)
            self._give_back(key, result)

    def _is_edit(self, key: Key) -> bool:
        with self._changed:
            return self._queue.lane(key) is Lane.EDIT

    def _take(self, least: Lane) -> Key | None:
        with self._changed:
            while not self._stopping:
                now = self._clock()
                key = self._queue.take(now, least)
                if key is not None and not self._serves(key):
                    self._drop(key, now)
                    continue
                if key is not None:
                    self._busy[key] = now
                    return key
                due = self._queue.next_due(least)
                news = self._changed if least is Lane.DRIFT else self._edited
                news.wait(None if due is None else max(0.0, due - now))
            return None

    def _tell(self) -> None:
        """Something is in the queue that one thread of either sort may take."""
        self._changed.notify()
        self._edited.notify()

    def _give_back(self, key: Key, result: Result) -> None:
        with self._changed:
            now = self._clock()
            self._busy.pop(key, None)
            self._first.discard(key)
            self._queue.done(key, now)
            if not self._serves(key):
                self._drop(key, now)
            elif result.outcome in ("gone", "deleted"):
                if result.requeue_after is None:
                    self._queue.succeed(key)
            elif result.failed:
                self._queue.retry(key, now, result.requeue_after or 0.0)
            else:
                self._queue.succeed(key)
                if result.requeue_after is not None:
                    calm = result.outcome in ("converged", "suspended")
                    spread = 1.0 + JITTER * random.random() if calm else 1.0
                    lane = Lane.DRIFT if calm else Lane.RETRY
                    delay = result.requeue_after * spread
                    if result.at_latest is not None:
                        delay = min(delay, result.at_latest)
                    self._queue.add(key, lane, now, delay)
            self._tell()

    def _drop(self, key: Key, now: float) -> None:
        """The key is another process's now."""
        self._queue.done(key, now)
        self._queue.forget(key)
        self._first.discard(key)
