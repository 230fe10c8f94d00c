"""What AWS has, shared by all objects of one Platform.

Every look costs calls, so one look serves everybody: a reader that finds one entry of a kind too
old refreshes all old ones of that kind in the same call, and the operator's own writes are entered
as they happen. Three rules keep what is here true:

* a look that *began* before a write (plus a grace for kinds whose reads lag) never covers it;
* that something known has gone counts only when a second look says so too;
* a deletion or a replacement looks afresh first (:meth:`Inventory.fresh`).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from weir.aws.errors import AwsError
from weir.resource import Adapter, Observed

Clock = Callable[[], float]
"""Seconds that only grow, like ``time.monotonic``."""

CONSISTENCY_GRACE = 15.0
"""Seconds for which a read of an eventually consistent kind may be older than our write."""

SETTLING = 2.0
"""Seconds for which an entry counts while AWS is still changing the resource."""


UNASKED = 4.0
"""Times the drift interval after which an entry that nobody asked for is forgotten."""

COSTLY = frozenset({"redshift.Schema", "redshift.Table"})
"""Kinds that no timer looks at: a question keeps a serverless warehouse awake, and billed. They are
looked at when the spec changes, when somebody asks, and after a restart."""


@dataclass(frozen=True)
class _Entry:
    observed: Observed | None
    looked: float
    """When the look began that saw this, or when our write ended."""
    written: float | None = None


class Inventory:
    """Observations of one account and region.

    Parameters
    ----------
    adapters
        By kind.
    ttl
        Seconds for which an observation counts: the drift interval.
    """

    def __init__(self, adapters: Mapping[str, Adapter], ttl: float, clock: Clock) -> None:
        self._adapters = adapters
        self.ttl = ttl
        self._clock = clock
        self._entries: dict[str, dict[str, _Entry]] = defaultdict(dict)
        self._asked: dict[tuple[str, str], float] = {}
        self._written: dict[tuple[str, str], float] = {}
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()

    def expect(self, keys: Iterable[tuple[str, str]]) -> None:
        """Name resources that somebody will ask for, so that the first look takes them along."""
        with self._guard:
            for kind, name in keys:
                if kind in self._adapters:
                    self._entries[kind].setdefault(name, _NEVER)
                    self._asked[kind, name] = self._clock()

    def get(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Observed]:
        """What exists of these, no older than the drift interval. The absent are left out."""
        by_kind: dict[str, list[str]] = defaultdict(list)
        for kind, name in keys:
            by_kind[kind].append(name)
        found: dict[tuple[str, str], Observed] = {}
        for kind, names in by_kind.items():
            for name, observed in self._of_kind(kind, names).items():
                found[kind, name] = observed
        return found

    def look(
        self, keys: Iterable[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], Observed], dict[str, AwsError]]:
        """As :meth:`get`, but kinds that can't be looked at are told beside what was seen."""
        by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for key in keys:
            by_kind[key[0]].append(key)
        found: dict[tuple[str, str], Observed] = {}
        faults: dict[str, AwsError] = {}
        for kind, of_kind in by_kind.items():
            try:
                found |= self.get(of_kind)
            except AwsError as error:
                faults[kind] = error
        return found, faults

    def fresh(self, kind: str, name: str) -> Observed | None:
        """What AWS says now, whatever was known."""
        with self._locks[kind]:
            started = self._clock()
            seen = self._adapters[kind].observe([name]).get(name)
            entry = self._entries[kind].get(name)
            if seen is None and entry is not None and self._covered_by_write(kind, entry, started):
                return entry.observed
            self._set(kind, name, _Entry(seen, started, entry.written if entry else None))
            return seen

    def wrote(self, kind: str, name: str, observed: Observed | None) -> None:
        """Enter the result of our own write; None after a deletion."""
        now = self._clock()
        self._set(kind, name, _Entry(observed, now, now))
        with self._guard:
            self._written[kind, name] = now

    def drop(self, kind: str, name: str) -> None:
        """Forget what is known, so that the next reader looks."""
        self._set(kind, name, _NEVER)

    def written_since(self, key: tuple[str, str], seconds: float) -> bool:
        """Whether the operator itself wrote a resource within the last ``seconds``."""
        with self._guard:
            written = self._written.get(key)
        return written is not None and self._clock() - written < seconds

    def _set(self, kind: str, name: str, entry: _Entry) -> None:
        with self._guard:
            self._entries[kind][name] = entry
            self._asked.setdefault((kind, name), self._clock())

    def _of_kind(self, kind: str, names: list[str]) -> dict[str, Observed]:
        with self._locks[kind]:
            known = self._entries[kind]
            self.expect((kind, name) for name in names)
            now = self._clock()
            if any(self._old(kind, known[name], now) for name in names):
                self._prune(kind, now)
                stale = [name for name, entry in list(known.items()) if self._old(kind, entry, now)]
                self._look(kind, stale)
            return {
                name: observed for name in names if (observed := known[name].observed) is not None
            }

    def _prune(self, kind: str, now: float) -> None:
        """Forget what nobody has asked for since long: its owner is gone."""
        limit = now - UNASKED * max(self.ttl, CONSISTENCY_GRACE)
        with self._guard:
            for name in [one for one in self._entries[kind] if self._asked[kind, one] < limit]:
                del self._entries[kind][name]
                del self._asked[kind, name]
                self._written.pop((kind, name), None)

    def _look(self, kind: str, names: list[str]) -> None:
        adapter = self._adapters[kind]
        known = self._entries[kind]
        started = self._clock()
        seen = adapter.observe(names)
        vanished = [name for name in names if name not in seen and known[name].observed is not None]
        if vanished:
            seen = {**seen, **adapter.observe(vanished)}
        for name in names:
            before = known[name]
            if not self._covered_by_write(kind, before, started):
                self._set(kind, name, _Entry(seen.get(name), started, before.written))

    def _covered_by_write(self, kind: str, entry: _Entry, started: float) -> bool:
        """Whether our own write is more to be trusted than a look that began at ``started``."""
        if entry.written is None:
            return False
        grace = CONSISTENCY_GRACE if self._adapters[kind].traits.eventually_consistent else 0.0
        return started < entry.written + grace

    def _old(self, kind: str, entry: _Entry, now: float) -> bool:
        if entry is _NEVER:
            return True
        settling = entry.observed is not None and not entry.observed.settled
        if settling:
            return now - entry.looked >= SETTLING
        return kind not in COSTLY and now - entry.looked >= self.ttl


_NEVER = _Entry(None, float("-inf"))
