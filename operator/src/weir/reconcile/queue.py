"""Which object is worked on next.

One queue for all kinds. A key is in it once, whatever number of events named it, and is given to
one worker at a time; what arrives for it meanwhile waits until that worker is done. Time is an
argument, so that the queue itself does no I/O and has no clock.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lane(IntEnum):
    """Priority, the most urgent first."""

    EDIT = 0
    """A person changed or deleted the object and waits."""
    DEPENDENT = 1
    """Something that the object refers to changed."""
    RETRY = 2
    """It failed, or waits for AWS."""
    DRIFT = 3
    """Nothing happened: a look whether AWS is still as it should be."""


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row: doubling, capped, with jitter.

    The jitter takes up to half of the delay away, so that objects that failed together do not come
    back together.
    """

    base: float = 1.0
    cap: float = 300.0

    def delay(self, failures: int, chance: float) -> float:
        """Seconds for the ``failures``-th failure (from 1); ``chance`` is in [0, 1)."""
        whole = min(self.cap, self.base * 2.0 ** min(failures - 1, 32))
        return whole * (1.0 - chance / 2.0)


FAIR_SHARE = 8
"""Every so many takes, the key that has waited longest goes first whatever its lane is: a steady
stream of edits must not starve drift checks."""


@dataclass
class _Entry:
    lane: Lane
    due: float
    ready: bool = False


class KeyedQueue(Generic[K]):
    """Keys that wait, by lane and by due time. Not thread-safe: its owner holds a lock.

    Parameters
    ----------
    backoff
        Delays of :meth:`retry`.
    seed
        Seeds the jitter; None takes the system's randomness.
    """

    def __init__(self, backoff: Backoff | None = None, seed: int | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._random = random.Random(seed)
        self._entries: dict[K, _Entry] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._ready: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        self._active: set[K] = set()
        self._held: dict[K, _Entry] = {}
        self._failures: dict[K, int] = {}
        self._count = 0
        self._takes = 0

    def __len__(self) -> int:
        """Keys that wait, due or not; those being worked on are not counted."""
        return len(self._entries)

    def depth(self) -> dict[Lane, int]:
        """Keys that are due, by lane, as of the last call that named a time."""
        return {lane: len(keys) for lane, keys in self._ready.items()}

    def oldest(self, now: float) -> dict[Lane, float]:
        """Seconds for which the key that has waited longest has been due, by lane; 0 for none."""
        self._promote(now)
        return {
            lane: max(0.0, now - next(iter(keys.values()), now))
            for lane, keys in self._ready.items()
        }

    @property
    def active(self) -> frozenset[K]:
        """Keys that workers hold."""
        return frozenset(self._active)

    def add(self, key: K, lane: Lane, now: float, delay: float = 0.0) -> None:
        """Ask for work on a key, ``delay`` seconds from now.

        A key that waits already keeps the more urgent lane and the earlier time of both. A change
        (lanes EDIT and DEPENDENT) makes earlier failures forgotten.
        """
        if lane <= Lane.DEPENDENT:
            self._failures.pop(key, None)
        wanted = _Entry(lane, now + delay)
        if key in self._active:
            held = self._held.get(key)
            self._held[key] = wanted if held is None else _sooner(held, wanted)
        else:
            self._place(key, wanted, now)

    def take(self, now: float) -> K | None:
        """The key to work on now, or None. It is the caller's until :meth:`done`."""
        self._promote(now)
        self._takes += 1
        lanes = [lane for lane in Lane if self._ready[lane]]
        if not lanes:
            return None
        if self._takes % FAIR_SHARE == 0:
            lane = min(lanes, key=lambda one: next(iter(self._ready[one].values())))
        else:
            lane = lanes[0]
        key, _ = self._ready[lane].popitem(last=False)
        del self._entries[key]
        self._active.add(key)
        return key

    def done(self, key: K, now: float) -> None:
        """Give a key back. What arrived for it meanwhile is placed now."""
        self._active.discard(key)
        held = self._held.pop(key, None)
        if held is not None:
            self._place(key, held, now)

    def succeed(self, key: K) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def retry(self, key: K, now: float, least: float = 0.0) -> float:
        """Ask for work on a key that failed, later at each failure in a row. Returns the delay.

        ``least`` is the shortest delay in seconds, where the world asked for one.
        """
        failures = self._failures.get(key, 0) + 1
        delay = max(least, self._backoff.delay(failures, self._random.random()))
        self.add(key, Lane.RETRY, now, delay)
        self._failures[key] = failures
        return delay

    def forget(self, key: K) -> None:
        """The object is gone: nothing waits for it any more."""
        self._failures.pop(key, None)
        self._held.pop(key, None)
        entry = self._entries.pop(key, None)
        if entry is not None and entry.ready:
            del self._ready[entry.lane][key]

    def next_due(self) -> float | None:
        """When a key becomes due, or None where the queue is empty. The past means now."""
        ready = [next(iter(keys.values())) for keys in self._ready.values() if keys]
        while self._delayed and self._stale(self._delayed[0]):
            heapq.heappop(self._delayed)
        if self._delayed:
            ready.append(self._delayed[0][0])
        return min(ready, default=None)

    def _place(self, key: K, wanted: _Entry, now: float) -> None:
        there = self._entries.get(key)
        if there is not None:
            wanted = _sooner(there, wanted)
            if there.ready:
                if there.lane == wanted.lane:
                    return
                del self._ready[there.lane][key]
        self._entries[key] = wanted
        if wanted.due <= now:
            wanted.ready = True
            self._ready[wanted.lane][key] = wanted.due
        else:
            self._count += 1
            heapq.heappush(self._delayed, (wanted.due, self._count, key))

    def _promote(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            item = heapq.heappop(self._delayed)
            if not self._stale(item):
                due, _, key = item
                entry = self._entries[key]
                entry.ready = True
                self._ready[entry.lane][key] = due

    def _stale(self, item: tuple[float, int, K]) -> bool:
        due, _, key = item
        entry = self._entries.get(key)
        return entry is None or entry.ready or entry.due != due


def _sooner(one: _Entry, other: _Entry) -> _Entry:
    return _Entry(min(one.lane, other.lane), min(one.due, other.due))
