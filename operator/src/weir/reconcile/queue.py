"""Which object is worked on next.

One queue for all kinds. A key is in it once, whatever number of events named it, and is given to
one worker at a time; what arrives for it meanwhile waits until that worker is done. Lanes go by
urgency, and inside a lane the groups (a key's namespace) take turns, so that a thousand objects of
one team make nobody else wait for more than one of them. Time is an argument, so that the queue
itself does no I/O and has no clock.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
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


SPARE = 64
"""Places in the queue of times that may be out of date, beside as many as there are keys."""

FAIR_SHARE = 8
"""Every so many takes, the key that has waited longest goes first whatever its lane is: a steady
stream of edits must not starve drift checks."""


class _Lane(Generic[K]):
    """Keys of one lane that are due: each group in order of arrival, the groups in turn."""

    def __init__(self, group: Callable[[K], Hashable]) -> None:
        self._group = group
        self._due: OrderedDict[K, float] = OrderedDict()
        self._turns: OrderedDict[Hashable, OrderedDict[K, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, key: K, due: float) -> None:
        self._due[key] = due
        self._turns.setdefault(self._group(key), OrderedDict())[key] = None

    def remove(self, key: K) -> None:
        del self._due[key]
        group = self._group(key)
        del self._turns[group][key]
        if not self._turns[group]:
            del self._turns[group]

    def pop(self) -> K:
        """The next key of the group whose turn it is."""
        group, keys = next(iter(self._turns.items()))
        key = next(iter(keys))
        self.remove(key)
        if group in self._turns:
            self._turns.move_to_end(group)
        return key

    def pop_oldest(self) -> K:
        """The key that has waited longest, whose turn it may not be."""
        key = next(iter(self._due))
        self.remove(key)
        return key

    @property
    def oldest(self) -> float | None:
        """When the key that has waited longest became due; None where nothing waits."""
        return next(iter(self._due.values()), None)


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
    group
        What takes turns with others inside a lane: a key's namespace.
    """

    def __init__(
        self,
        backoff: Backoff | None = None,
        seed: int | None = None,
        group: Callable[[K], Hashable] = lambda _key: None,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._random = random.Random(seed)
        self._entries: dict[K, _Entry] = {}
        self._delayed: list[tuple[float, int, K]] = []
        self._ready: dict[Lane, _Lane[K]] = {lane: _Lane(group) for lane in Lane}
        self._active: dict[K, Lane] = {}
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
            lane: 0.0 if keys.oldest is None else max(0.0, now - keys.oldest)
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

    def take(self, now: float, least: Lane = Lane.DRIFT) -> K | None:
        """The key to work on now, or None. It is the caller's until :meth:`done`.

        Parameters
        ----------
        least
            The least urgent lane that the caller serves.
        """
        self._promote(now)
        lanes = [lane for lane in Lane if lane <= least and self._ready[lane]]
        if not lanes:
            return None
        if least is Lane.DRIFT:
            self._takes += 1
        if least is Lane.DRIFT and self._takes % FAIR_SHARE == 0:
            lane = min(lanes, key=lambda one: self._ready[one].oldest or 0.0)
            key = self._ready[lane].pop_oldest()
        else:
            lane = lanes[0]
            key = self._ready[lane].pop()
        del self._entries[key]
        self._active[key] = lane
        return key

    def lane(self, key: K) -> Lane:
        """The lane from which a key was taken that is worked on."""
        return self._active[key]

    def done(self, key: K, now: float) -> None:
        """Give a key back. What arrived for it meanwhile is placed now."""
        self._active.pop(key, None)
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
            self._ready[entry.lane].remove(key)

    def next_due(self, least: Lane = Lane.DRIFT) -> float | None:
        """When a key becomes due, or None where the queue is empty. The past means now.

        Keys that are due in lanes less urgent than ``least`` don't count; those that wait for
        their time do, since they may come in any.
        """
        ready = [
            keys.oldest
            for lane, keys in self._ready.items()
            if lane <= least and keys.oldest is not None
        ]
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
                self._ready[there.lane].remove(key)
        self._entries[key] = wanted
        if wanted.due <= now:
            wanted.ready = True
            self._ready[wanted.lane].add(key, wanted.due)
        else:
            self._count += 1
            heapq.heappush(self._delayed, (wanted.due, self._count, key))
            if len(self._delayed) > 2 * len(self._entries) + SPARE:
                # What was asked for sooner meanwhile would stay until its former time came.
                self._delayed = [item for item in self._delayed if not self._stale(item)]
                heapq.heapify(self._delayed)

    def _promote(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            item = heapq.heappop(self._delayed)
            if not self._stale(item):
                due, _, key = item
                entry = self._entries[key]
                entry.ready = True
                self._ready[entry.lane].add(key, due)

    def _stale(self, item: tuple[float, int, K]) -> bool:
        due, _, key = item
        entry = self._entries.get(key)
        return entry is None or entry.ready or entry.due != due


def _sooner(one: _Entry, other: _Entry) -> _Entry:
    return _Entry(min(one.lane, other.lane), min(one.due, other.due))
