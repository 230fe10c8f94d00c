"""What AWS has, shared by all objects of one Platform.

Every look costs calls, so one look serves everybody: a reader that finds one entry of a kind too
old refreshes all old ones of that kind in the same listing (:meth:`Adapter.survey`), and the
operator's own writes are entered as they happen. What a listing can't tell stays *unseen* until
somebody needs it, and then a deep look takes all who wait for that kind along. These rules keep
what is here true:

* a look that *began* before a write (plus a grace for kinds whose reads lag) never covers it;
* that something known has gone counts only when a second look says so too;
* what is unseen is never taken for absent;
* a deletion or a replacement looks afresh first (:meth:`Inventory.fresh`).

An entry that was found to be as wanted shrinks to its attributes, the mark of the wanted state
(:func:`weir.reconcile.diff.mark_of`) and digests of what was seen: enough to know it when it
changes, at a fraction of the memory. What a listing shows and nobody has read yet is kept packed:
after a restart that is all that the account has.
"""

from __future__ import annotations

import heapq
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from weir.aws.courtesy import waiting_for_others
from weir.aws.documents import encode
from weir.aws.errors import AwsError
from weir.kube.keys import Key
from weir.reconcile.packed import NOTHING, Packed, plain
from weir.resource import EVERYTHING, LEAVES, TAGS, Adapter, Observed

Clock = Callable[[], float]
"""Seconds that only grow, like ``time.monotonic``."""

PhysicalKey = tuple[str, str]
"""``(kind, physical name)``."""

CONSISTENCY_GRACE = 15.0
"""Seconds for which a read of an eventually consistent kind may be older than our write."""

SETTLING = 2.0
"""Seconds for which an entry counts while AWS is still changing the resource."""


UNASKED = 4.0
"""Times ``ttl`` after which an entry that nobody owns and nobody asked for is forgotten."""

COSTLY = frozenset({"redshift.Claim", "redshift.Schema", "redshift.Table"})
"""Kinds that no timer looks at: a question keeps a serverless warehouse awake, and billed. They are
looked at when the spec changes, when somebody asks, and after a restart."""

VOLATILE = frozenset({"state"})
"""Attributes that change by themselves (an alarm's state): no drift."""

TOLD = frozenset({"problem"})
"""Attributes by which AWS tells what keeps a resource from its work: its owners shall hear of it, and
nobody has changed anything."""

QUIET = 7
"""Deep looks in a row that found nothing new, from which on one more makes no difference."""

THEIRS = "theirs"
"""The mark of what is needed and not ours: it is there, and nobody says how it should be."""

NEVER = float("-inf")

Prints = tuple[tuple[str, ...], bytes]
"""Names of what was seen, in order, and eight bytes for each: a hash of its value."""


class InventoryObserver(Protocol):
    """Is told what the inventory saves. Must be quick and must not raise."""

    def served(self, kind: str, count: int) -> None:
        """``count`` resources of a kind were known, so that nobody asked AWS for them."""

    def looked(self, kind: str, count: int, deep: bool) -> None:
        """One look at a kind took ``count`` resources along: a listing, or a deep look."""


class _Silent:
    def served(self, kind: str, count: int) -> None:
        """Nobody listens."""

    def looked(self, kind: str, count: int, deep: bool) -> None:
        """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of one resource.

    Parameters
    ----------
    observed
        What was seen last; ``unseen`` says what of it is not known.
    mark
        The wanted state that it was found to be in, or nothing.
    doubt
        Whether something may have changed what is unseen: no mark stands for it.
    """

    observed: Observed
    mark: str = ""
    doubt: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was known to be."""

    kind: str
    name: str
    what: str
    """``changed``, ``gone``, ``appeared``, ``settled``, ``told`` or ``unconfirmed``."""


class _Entry:
    """One resource. Written under the inventory's guard only."""

    __slots__ = (
        "_seen", "asked", "blind", "deep", "doubt", "looked", "mark", "prints", "quiet", "version",
        "versioned", "written",
    )  # fmt: skip

    def __init__(self, asked: float) -> None:
        self._seen: Observed | Packed | None = None
        self.looked = NEVER
        """When the look began that saw this, or when our write ended."""
        self.deep = NEVER
        """When everything of it was last seen."""
        self.written = NEVER
        self.asked = asked
        self.mark = ""
        self.doubt = False
        self.prints: Prints | None = None
        """Of an entry that has shrunk."""
        self.blind: frozenset[str] = frozenset()
        """What the last listing left unseen."""
        self.version = ""
        self.versioned = NEVER
        """When the listing began that first had this version."""
        self.quiet = 0
        """Deep looks in a row that found nothing new."""

    @property
    def observed(self) -> Observed | None:
        """What was seen last. The guard is held: what is packed is unpacked, and stays so."""
        if isinstance(self._seen, Packed):
            self._seen = self._seen.unpacked()
        return self._seen

    @observed.setter
    def observed(self, seen: Observed | None) -> None:
        self._seen = seen

    @property
    def exists(self) -> bool:
        return self._seen is not None

    @property
    def known(self) -> bool:
        return self.looked != NEVER

    @property
    def shrunk(self) -> bool:
        return isinstance(self._seen, Observed) and self._seen.unseen is EVERYTHING

    @property
    def hazy(self) -> bool:
        """Whether only a deep look tells if it has changed."""
        versioned = bool(self.version) and self.versioned < self.deep
        return self.exists and bool(self.blind) and not versioned

    def stands_for(self, mark: str) -> bool:
        """Whether it has shrunk to this very mark already."""
        return self.mark == mark and not self.doubt and self.shrunk

    def shrink(self) -> None:
        """Keep what is needed of something that is as wanted; others read what is not ours."""
        if self.mark not in ("", THEIRS) and not self.shrunk and self.observed is not None:
            self.prints = _joined(self.prints, self.observed)
            self.observed = _shrunk(self.observed)

    def pack(self, kind: str, samples: dict[str, bytes]) -> None:
        """Keep what nobody has judged yet small until somebody reads it."""
        if isinstance(self._seen, Observed) and self._seen.settled and not self.mark:
            sample = samples.get(kind) or samples.setdefault(kind, plain(self._seen))
            self._seen = Packed(self._seen, sample)

    @property
    def unsettled(self) -> bool:
        return isinstance(self._seen, Observed) and not self._seen.settled

    def age(self, now: float) -> float:
        """Seconds since everything was last seen; they count less for what has been quiet."""
        return (now - self.deep) / (1 + min(self.quiet, QUIET))


class Inventory:
    """Observations of one account and region.

    Parameters
    ----------
    adapters
        By kind.
    ttl
        Seconds for which an observation counts.
    observer
        Told what is saved.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        ttl: float,
        clock: Clock,
        observer: InventoryObserver | None = None,
    ) -> None:
        self._adapters = adapters
        self.ttl = ttl
        self._clock = clock
        self._observer: InventoryObserver = observer or _Silent()
        self._entries: dict[str, dict[str, _Entry]] = defaultdict(dict)
        self._owners: dict[PhysicalKey, tuple[Key, ...]] = {}
        self._owned: dict[Key, tuple[PhysicalKey, ...]] = {}
        self._locks = {kind: threading.Lock() for kind in adapters}
        """One listing of a kind at a time. Whoever waits for one resource does not wait for it."""
        self._deep_locks = {kind: threading.Lock() for kind in adapters}
        self._waiting: dict[str, set[str]] = defaultdict(set)
        self._samples: dict[str, bytes] = {}
        """By kind, what others of it are packed by."""
        self._young: deque[tuple[float, _Entry]] = deque()
        """Entries that are as wanted and were just written, with when looks may cover that: then they
        shrink."""
        self._guard = threading.RLock()

    # -- who wants what ------------------------------------------------------------------------

    def expect(self, keys: Iterable[PhysicalKey], deeply: bool = False) -> None:
        """Name resources that somebody will ask for, so that the first look takes them along.

        Parameters
        ----------
        deeply
            Whether a listing will not do: nothing says what was wanted of them last.
        """
        now = self._clock()
        with self._guard:
            for kind, name in keys:
                if kind in self._adapters:
                    entry = self._entry(kind, name, now)
                    entry.asked = now
                    entry.doubt = entry.doubt or (deeply and not entry.known)

    def own(self, owner: Key, keys: Iterable[PhysicalKey]) -> None:
        """An object has these resources now: whoever finds one changed wakes it. None: it is gone."""
        mine = tuple(key for key in keys if key[0] in self._adapters)
        if self._owned.get(owner, ()) == mine:
            return
        with self._guard:
            before = self._owned.get(owner, ())
            for key in set(before).difference(mine):
                left = tuple(one for one in self._owners.get(key, ()) if one != owner)
                if left:
                    self._owners[key] = left
                else:
                    self._owners.pop(key, None)
            for key in mine:
                there = self._owners.get(key, ())
                if owner not in there:
                    self._owners[key] = (*there, owner)
            if mine:
                self._owned[owner] = mine
            else:
                self._owned.pop(owner, None)
            now = self._clock()
            for kind, name in mine:
                self._entry(kind, name, now).asked = now

    def owners(self, key: PhysicalKey) -> tuple[Key, ...]:
        """The objects that have a resource."""
        with self._guard:
            return self._owners.get(key, ())

    def knows(self, keys: Iterable[PhysicalKey]) -> bool:
        """Whether each of these was looked at, or is known to be absent."""
        return all(
            (entry := self._there(kind, name)) is not None and entry.known
            for kind, name in keys
            if kind in self._adapters
        )

    @property
    def kinds(self) -> list[str]:
        """Kinds of which something is known or asked."""
        with self._guard:
            return [kind for kind, entries in self._entries.items() if entries]

    def counts(self) -> dict[str, int]:
        """By kind: resources that are known to exist."""
        with self._guard:
            return {
                kind: sum(entry.exists for entry in entries.values())
                for kind, entries in self._entries.items()
            }

    def peek(self, key: PhysicalKey) -> Observed | None:
        """What was seen of a resource last, however long ago; nobody looks."""
        with self._guard:
            entry = self._entries[key[0]].get(key[1])
            return None if entry is None else entry.observed

    def size(self) -> int:
        """Resources that are known or asked for."""
        with self._guard:
            return sum(map(len, self._entries.values()))

    # -- reading ---------------------------------------------------------------------------------

    def see(
        self, keys: Iterable[PhysicalKey]
    ) -> tuple[dict[PhysicalKey, Sight], dict[str, AwsError]]:
        """What is known of these, no older than ``ttl``, with faults of kinds beside.

        Returns
        -------
        tuple
            The sight of each that exists, and the kinds that could not be looked at.
        """
        found: dict[PhysicalKey, Sight] = {}
        faults: dict[str, AwsError] = {}
        stale: dict[str, list[str]] = {}
        with self._guard:
            for kind, names in _by_kind(keys).items():
                self.expect((kind, name) for name in names)
                if self._serves(kind, names):
                    found |= self._sights(kind, names)
                else:
                    stale[kind] = names
        for kind in self._in_turn(stale):
            try:
                self._refresh(kind, stale[kind])
            except AwsError as error:
                faults[kind] = error
                continue
            with self._guard:
                found |= self._sights(kind, stale[kind])
        return found, faults

    def look(
        self, keys: Iterable[PhysicalKey]
    ) -> tuple[dict[PhysicalKey, Observed], dict[str, AwsError]]:
        """As :meth:`see`, without marks: who exists, and what is known of it."""
        sights, faults = self.see(keys)
        return {key: sight.observed for key, sight in sights.items()}, faults

    def get(self, keys: Iterable[PhysicalKey]) -> dict[PhysicalKey, Observed]:
        """What exists of these, wholly seen and no older than ``ttl``. The absent are left out.

        Raises
        ------
        AwsError
            A kind can't be looked at.
        """
        wanted = list(keys)
        sights, faults = self.see(wanted)
        for error in faults.values():
            raise error
        hazy = [key for key, sight in sights.items() if sight.observed.unseen]
        deeper, faults = self.deepen(hazy)
        for error in faults.values():
            raise error
        seen = {key: sight.observed for key, sight in sights.items() if key not in set(hazy)}
        return {**seen, **deeper}

    def deepen(
        self, keys: Iterable[PhysicalKey]
    ) -> tuple[dict[PhysicalKey, Observed], dict[str, AwsError]]:
        """Everything of these, as AWS has it now: one deep look a kind, which takes along all those
        that others wait for.

        Returns
        -------
        tuple
            What exists, and the kinds that could not be looked at.
        """
        found: dict[PhysicalKey, Observed] = {}
        faults: dict[str, AwsError] = {}
        asked = self._clock()
        for kind, names in _by_kind(keys).items():
            try:
                self._deepen(kind, names, asked)
            except AwsError as error:
                faults[kind] = error
                continue
            with self._guard:
                for name in names:
                    observed = self._entries[kind][name].observed
                    if observed is not None:
                        found[kind, name] = observed
        return found, faults

    def fresh(self, kind: str, name: str) -> Observed | None:
        """What AWS says now, whatever was known."""
        started = self._clock()
        self._observer.looked(kind, 1, True)
        seen = self._adapters[kind].observe([name]).get(name)
        with self._guard:
            entry = self._entry(kind, name, started)
            if seen is None and entry.known and self._covered(kind, entry, started):
                return entry.observed
            if entry.looked <= started:
                self._put(entry, seen, started)
        return seen

    # -- writing down ----------------------------------------------------------------------------

    def wrote(self, kind: str, name: str, observed: Observed | None) -> None:
        """Enter the result of our own write; None after a deletion."""
        now = self._clock()
        with self._guard:
            entry = self._entry(kind, name, now)
            self._put(entry, observed, now)
            entry.written = now
            entry.quiet = 0
            while self._young and self._young[0][0] <= now:
                _, grown = self._young.popleft()
                if grown.written + CONSISTENCY_GRACE <= now:
                    grown.shrink()

    def confirm(self, found: Mapping[PhysicalKey, tuple[Observed, str]]) -> None:
        """Resources were found to be as wanted: from here on the mark stands for what each has.

        Parameters
        ----------
        found
            What was judged, and the mark of the wanted state. Of what was looked at or written
            anew since, the judgement says nothing.
        """
        news = {
            key: (observed, mark)
            for key, (observed, mark) in found.items()
            if observed.settled
            and (entry := self._there(*key)) is not None
            and not entry.stands_for(mark)
        }
        if not news:
            return
        now = self._clock()
        with self._guard:
            for (kind, name), (observed, mark) in news.items():
                entry = self._there(kind, name)
                if entry is None or entry.observed is not observed:
                    continue
                entry.mark = mark
                entry.doubt = False
                if self._covered(kind, entry, now):
                    self._young.append((entry.written + CONSISTENCY_GRACE, entry))
                else:
                    entry.shrink()

    def drop(self, kind: str, name: str) -> None:
        """Forget what is known, so that the next reader looks, and deeply."""
        with self._guard:
            entry = self._entry(kind, name, self._clock())
            entry.observed, entry.prints, entry.mark = None, None, ""
            entry.looked = entry.deep = NEVER
            entry.doubt = True

    def written_since(self, key: PhysicalKey, seconds: float) -> bool:
        """Whether the operator itself wrote a resource within the last ``seconds``."""
        entry = self._there(*key)
        return entry is not None and self._clock() - entry.written < seconds

    # -- drift -----------------------------------------------------------------------------------

    def survey(self, kind: str) -> list[Finding]:
        """Hold a listing of a kind against all that is known of it.

        Returns
        -------
        list of Finding
            What is not as it was, and what was never found to be as wanted.

        Raises
        ------
        AwsError
            The kind can't be listed.
        """
        with self._locks[kind]:
            self._prune(kind, self._clock())
            with self._guard:
                names = list(self._entries[kind])
            if not names:
                return []
            return self._survey(kind, names)

    def rotate(self, budget: int) -> tuple[list[Finding], dict[str, AwsError]]:
        """Look deeply at some of what listings can't tell: the oldest looks first, and less often
        at what was the same many times.

        Parameters
        ----------
        budget
            Resources at most.
        """
        now = self._clock()
        with self._guard:
            hazy = [
                (entry.age(now), kind, name)
                for kind, entries in self._entries.items()
                if kind not in COSTLY
                for name, entry in entries.items()
                if entry.hazy
            ]
        chosen = _by_kind((kind, name) for _, kind, name in heapq.nlargest(budget, hazy))
        found: list[Finding] = []
        faults: dict[str, AwsError] = {}
        for kind, names in chosen.items():
            try:
                with self._locks[kind]:
                    found += self._observe(kind, names)
            except AwsError as error:
                faults[kind] = error
        return found, faults

    def hazy(self) -> int:
        """Resources of which listings leave something unseen that no version stands for."""
        with self._guard:
            return sum(
                entry.hazy for entries in self._entries.values() for entry in entries.values()
            )

    # -- inside ----------------------------------------------------------------------------------

    def _there(self, kind: str, name: str) -> _Entry | None:
        """Needs no guard: whoever asks one thing of one entry gets what it was a moment ago."""
        entries = self._entries.get(kind)
        return None if entries is None else entries.get(name)

    def _entry(self, kind: str, name: str, now: float) -> _Entry:
        entries = self._entries[kind]
        entry = entries.get(name)
        if entry is None:
            entry = entries[name] = _Entry(now)
        return entry

    def _put(self, entry: _Entry, observed: Observed | None, started: float) -> None:
        """Take a look or a write for the truth, and for nothing else than it says."""
        entry.observed, entry.looked = observed, started
        entry.prints, entry.mark, entry.doubt = None, "", False
        if observed is None or not observed.unseen:
            entry.deep = started

    def _sights(self, kind: str, names: Sequence[str]) -> dict[PhysicalKey, Sight]:
        """What exists of these. The guard is held."""
        entries = self._entries[kind]
        return {
            (kind, name): Sight(entry.observed, entry.mark, entry.doubt)
            for name in names
            if (entry := entries[name]).observed is not None
        }

    def _in_turn(self, kinds: Iterable[str]) -> Iterator[str]:
        """Kinds, each while its lock is held.

        Of what is left it gives the first that nobody looks at just now, so that several readers
        look at several kinds side by side instead of queueing for one after the other.
        """
        left = list(kinds)
        while left:
            free = (one for one in left if self._locks[one].acquire(blocking=False))
            kind = next(free, None)
            if kind is None:
                kind = left[0]
                with waiting_for_others():
                    self._locks[kind].acquire()
            try:
                left.remove(kind)
                yield kind
            finally:
                self._locks[kind].release()

    def _refresh(self, kind: str, names: Sequence[str]) -> None:
        """Look at the kind where one of these is too old still, and take all others along that
        are. The kind's lock is held."""
        self.expect((kind, name) for name in names)
        if self._serves(kind, names):
            return
        now = self._clock()
        self._prune(kind, now)
        known = self._entries[kind]
        with self._guard:
            stale = [name for name, one in known.items() if self._old(kind, one, now)]
            deep = {name for name in stale if known[name].doubt or known[name].unsettled}
        listed = [name for name in stale if name not in deep]
        if listed:
            self._survey(kind, listed)
        if deep:
            self._observe(kind, sorted(deep))

    def _serves(self, kind: str, names: Sequence[str]) -> bool:
        """Whether all of these are known well enough."""
        now = self._clock()
        with self._guard:
            known = self._entries[kind]
            fine = not any(self._old(kind, known[name], now) for name in names)
        if fine:
            self._observer.served(kind, len(names))
        return fine

    def _deepen(self, kind: str, names: Sequence[str], asked: float) -> None:
        with self._guard:
            for name in names:
                self._entry(kind, name, asked)
            self._waiting[kind].update(names)
        with self._deep_locks[kind]:
            with self._guard:
                entries = self._entries[kind]
                waiting = {*self._waiting.pop(kind, ()), *names}
                needed = [
                    name
                    for name in sorted(waiting)
                    if (entry := entries.get(name)) is not None
                    and (entry.deep < asked or entry.shrunk)
                ]
            if needed:
                self._observe(kind, needed, keep=True)

    def _survey(self, kind: str, names: Sequence[str]) -> list[Finding]:
        """One listing, held against what was known. The kind's lock is held."""
        started = self._clock()
        self._observer.looked(kind, len(names), False)
        found: list[Finding] = []

        def hold(name: str, observed: Observed | None) -> None:
            # One at a time: readers of other resources don't wait for a whole listing, and nothing
            # of it is kept that has been compared.
            with self._guard:
                what = self._held(kind, name, observed, started)
            if what:
                found.append(Finding(kind, name, what))

        unshown = dict.fromkeys(names)
        for observed in self._adapters[kind].survey(names):
            if observed.name in unshown:
                del unshown[observed.name]
                hold(observed.name, observed)
        seen = self._second_look(kind, unshown)
        for name in unshown:
            hold(name, seen.get(name))
        return found

    def _held(self, kind: str, name: str, observed: Observed | None, started: float) -> str:
        """What a listing's sight of one resource is found to be, or nothing. The guard is held."""
        entry = self._entry(kind, name, started)
        if self._covered(kind, entry, started) or started < entry.looked:
            return ""
        if observed is not None:
            entry.blind = observed.unseen
        what = self._take(entry, observed, started)
        if not what and not entry.unsettled:
            entry.shrink()
            entry.pack(kind, self._samples)
        if observed is not None and observed.version != entry.version:
            what = what or self._versioned(entry, observed, started)
        return what or ("unconfirmed" if self._unconfirmed(kind, name, entry) else "")

    def _observe(self, kind: str, names: Sequence[str], keep: bool = False) -> list[Finding]:
        """One deep look, held against what was known. The kind's lock is held.

        ``keep`` leaves all that was seen in the entries, for somebody who asked for it.
        """
        started = self._clock()
        self._observer.looked(kind, len(names), True)
        seen = self._adapters[kind].observe(names)
        seen |= self._second_look(kind, [name for name in names if name not in seen])
        found: list[Finding] = []
        with self._guard:
            for name in names:
                entry = self._entry(kind, name, started)
                if self._covered(kind, entry, started) or (started < entry.looked and not keep):
                    continue
                observed = seen.get(name)
                mark = entry.mark
                what = self._take(entry, observed, started)
                entry.deep = started
                entry.quiet = 0 if what else entry.quiet + 1
                if not what and keep and observed is not None:
                    entry.observed, entry.prints, entry.mark = observed, None, mark
                entry.doubt = False
                if what or self._unconfirmed(kind, name, entry):
                    found.append(Finding(kind, name, what or "unconfirmed"))
        return found

    def _second_look(self, kind: str, unshown: Iterable[str]) -> dict[str, Observed]:
        """What a second look has of those that a look did not show: absence of something known
        counts when both say so."""
        with self._guard:
            entries = self._entries[kind]
            vanished = [
                name
                for name in unshown
                if (entry := entries.get(name)) is not None and entry.exists
            ]
        if not vanished:
            return {}
        self._observer.looked(kind, len(vanished), True)
        return self._adapters[kind].observe(vanished)

    def _take(self, entry: _Entry, seen: Observed | None, started: float) -> str:
        """Enter what a look saw. Returns what has changed since the look before, or nothing."""
        before, first = entry.observed, not entry.known
        if before is None or seen is None:
            doubt = entry.doubt
            self._put(entry, seen, started)
            entry.doubt = doubt and seen is not None and bool(seen.unseen)
            if before is None:
                return "appeared" if seen is not None and (doubt or not first) else ""
            return "gone"
        prints = entry.prints or _prints(before)
        new = _prints(seen)
        if _differ(prints, new, before, seen):
            self._put(entry, seen, started)
            entry.doubt = bool(seen.unseen)
            return "changed"
        entry.looked = started
        news = _news(before, seen)
        if not entry.shrunk:
            entry.observed = _merged(before, seen)
            return news
        if set(new[0]).difference(prints[0]):
            # Seen for the first time since the entry shrank: nobody has judged it yet.
            entry.observed, entry.mark = seen, ""
            return "unconfirmed"
        if news or before.attributes != {**before.attributes, **seen.attributes}:
            attributes = {**before.attributes, **seen.attributes}
            entry.observed = replace(
                before, attributes=attributes, settled=seen.settled, detail=seen.detail
            )
        return news

    def _versioned(self, entry: _Entry, seen: Observed, started: float) -> str:
        """Note a new version: what is unseen has changed, unless that was our own write."""
        ours = entry.version == "" or entry.written > entry.versioned
        entry.version, entry.versioned = seen.version, started
        if ours:
            return ""
        entry.observed, entry.prints, entry.mark = seen, None, ""
        entry.doubt = bool(seen.unseen)
        return "changed"

    def _unconfirmed(self, kind: str, name: str, entry: _Entry) -> bool:
        """Whether somebody has it of whom it is not known that it is as he wants it."""
        return entry.exists and not entry.mark and (kind, name) in self._owners

    def _prune(self, kind: str, now: float) -> None:
        """Forget what nobody has and nobody has asked for since long."""
        limit = now - UNASKED * max(self.ttl, CONSISTENCY_GRACE)
        with self._guard:
            entries = self._entries[kind]
            for name in [one for one, entry in entries.items() if entry.asked < limit]:
                if (kind, name) not in self._owners:
                    del entries[name]

    def _covered(self, kind: str, entry: _Entry, started: float) -> bool:
        """Whether our own write is more to be trusted than a look that began at ``started``."""
        grace = CONSISTENCY_GRACE if self._adapters[kind].traits.eventually_consistent else 0.0
        return entry.known and started < entry.written + grace

    def _old(self, kind: str, entry: _Entry, now: float) -> bool:
        if not entry.known:
            return True
        if entry.unsettled:
            return now - entry.looked >= SETTLING
        return kind not in COSTLY and now - entry.looked >= self.ttl


def _by_kind(keys: Iterable[PhysicalKey]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for kind, name in keys:
        names[kind].append(name)
    return names


_SHAPES: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Each set of property names once."""
_DIGEST = struct.Struct("q")


def _prints(observed: Observed) -> Prints:
    told: dict[str, Any] = {
        name: value
        for name, value in observed.properties.items()
        if value is not None and name not in observed.unseen
    }
    if TAGS not in observed.unseen:
        told[TAGS] = dict(observed.tags)
    names = tuple(sorted(told))
    digests = b"".join(_DIGEST.pack(_digest(told[name])) for name in names)
    return _SHAPES.setdefault(names, names), digests


def _digest(value: Any) -> int:
    kind = type(value)
    if kind in LEAVES:
        return hash((kind, value))  # True equals 1, and is not the same.
    return hash(encode(value))


def _table(prints: Prints) -> dict[str, bytes]:
    names, digests = prints
    return {name: digests[8 * at : 8 * at + 8] for at, name in enumerate(names)}


def _joined(before: Prints | None, observed: Observed) -> Prints:
    """What is known by both, the later look first."""
    new = _prints(observed)
    if before is None or not set(before[0]).difference(new[0]):
        return new
    table = {**_table(before), **_table(new)}
    names = tuple(sorted(table))
    return _SHAPES.setdefault(names, names), b"".join(table[name] for name in names)


def _differ(prints: Prints, new: Prints, before: Observed, seen: Observed) -> bool:
    """Whether two looks differ in what both could tell."""
    for name, value in before.attributes.items():
        if name not in VOLATILE | TOLD and seen.attributes.get(name, value) != value:
            return True
    if prints == new:
        return False
    old, now = _table(prints), _table(new)
    if any(now.get(name) != old[name] for name in old if name not in seen.unseen):
        return True
    return any(name not in old and name not in before.unseen for name in now)


def _news(before: Observed, seen: Observed) -> str:
    """What AWS itself has done or told since, of a resource that nobody has changed."""
    if before.settled != seen.settled:
        return "settled"
    told = any(before.attributes.get(name, "") != seen.attributes.get(name, "") for name in TOLD)
    return "told" if told else ""


def _merged(before: Observed, seen: Observed) -> Observed:
    """The newer look, and of the older one what the newer could not tell."""
    if not seen.unseen:
        return seen
    kept = {
        name: value
        for name, value in before.properties.items()
        if name in seen.unseen and name not in before.unseen
    }
    keeps_tags = TAGS in seen.unseen and TAGS not in before.unseen
    return replace(
        seen,
        properties={**seen.properties, **kept},
        attributes={**before.attributes, **seen.attributes},
        tags=before.tags if keeps_tags else seen.tags,
        unseen=seen.unseen & before.unseen,
    )


def _shrunk(observed: Observed) -> Observed:
    """What is left of an entry that is as wanted."""
    return Observed(
        observed.name,
        NOTHING,
        attributes=observed.attributes,
        tags=NOTHING,
        settled=observed.settled,
        detail=observed.detail,
        unseen=EVERYTHING,
        version=observed.version,
    )
