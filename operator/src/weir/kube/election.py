"""Who works: one Lease a Platform, held by one replica at a time.

The rules are those of Kubernetes' own components (client-go, ``leaderelection``): a holder renews
every retry period and stops working when it has not managed to for the renew deadline; others wait
for the lease's whole duration, measured on their own clock from when they last saw it change, before
they take it. The duration is longer than the deadline, so that the former holder has stopped by
then, whatever the clocks of the two say.

AWS knows nothing of this. So nothing that writes starts later than the last renewal + the renew
deadline - the time that a try may take to get through (:meth:`Elector.fence`), and a process that
can't prove that its work has ended by the time at which another may begin ends itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Protocol

import structlog

from weir.kube.client import Gone, KubeError, Stale
from weir.kube.leases import (
    NO_PLATFORM,
    PLATFORM,
    REPLICA,
    UNASSIGNED,
    Lease,
    Leases,
    lease_name,
    replica_name,
    wall_clock,
)
from weir.kube.sharing import placed, surplus

log = structlog.get_logger("weir.election")

CONNECT_SECONDS = 5.0
"""Seconds that a try of an AWS call may take until AWS has it: botocore's connect timeout, which
:mod:`weir.aws.session` sets."""
RENEWALS = 8
"""Leases renewed at a time."""
WINK = 0.01
"""Seconds after its end at which a lease is looked at: it has run out then, whatever is rounded."""
FORGOTTEN = 20.0
"""Times its duration after which the Lease of a replica that has gone is removed."""


def steady_clock() -> float:
    """Seconds that only grow, those in which the machine was suspended included where it can tell."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class NotHeld(Exception):
    """The Platform is not, or no longer, this replica's: nothing may be written for it."""


@dataclass(frozen=True)
class Terms:
    """The times of the election, in seconds.

    Parameters
    ----------
    duration
        How long others wait for a holder that does not renew.
    renew_deadline
        How long a holder works without having renewed.
    retry_period
        Between two renewals, and between two looks at what others hold.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > 1.2 * self.retry_period > 0:
            raise ValueError(
                f"lease duration {self.duration:g} s, renew deadline {self.renew_deadline:g} s, "
                f"retry period {self.retry_period:g} s: each must be shorter than the one before, "
                "and the deadline more than 1.2 retry periods"
            )

    @property
    def request_timeout(self) -> float:
        """Seconds for one request to the API server."""
        return min(3.0, self.renew_deadline / 2)

    @property
    def last_write(self) -> float:
        """Seconds after the renewal from which on no try of a write starts."""
        return self.renew_deadline - min(CONNECT_SECONDS, self.renew_deadline / 2)


class Work(Protocol):
    """What the election switches on and off. Called by one thread of its own, in order."""

    def platforms(self) -> Collection[str]:
        """Names of the Platforms that exist."""

    def busy(self, platform: str) -> bool:
        """Whether anything is being worked on for a Platform. Called by any thread."""

    def clear(self, platform: str) -> None:
        """Forget what is known of a Platform's AWS, and whatever waits for it."""

    def begin(self, platform: str) -> None:
        """The Platform is held from now on: look at everything of it."""


class Told(Protocol):
    """What is counted of the election."""

    def held(self, platform: str, *, held: bool, transitions: int) -> None:
        """A lease was gained or has gone."""

    def exists(self, platform: str) -> None:
        """There is such a Platform, whoever works for it."""

    def took_over(self, platform: str) -> None:
        """A lease was taken from a holder that had stopped renewing it."""

    def gone(self, platform: str) -> None:
        """There is no such Platform any more."""


@dataclass
class _Tenure:
    """A lease that this replica holds.

    ``renewed`` is the clock before the last successful renewal was sent. ``open`` is set once work
    may begin, ``begun`` once all that there is to do waits for a worker, ``leaving`` once no new
    work begins. ``lock`` is held while its Lease is written.
    """

    platform: str
    lease: Lease
    renewed: float
    open: bool = False
    begun: bool = False
    leaving: bool = False
    revoked: bool = False
    released: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class _Sight:
    """A Lease as last seen: the version, when it was first seen so, and since when it lives."""

    lease: Lease
    at: float
    since: float


class Elector:
    """Takes, renews, shares and gives back the Leases of one replica.

    Parameters
    ----------
    work
        Gives what is switched on and off; asked once the election runs.
    identity
        Who this replica is. A new process may have its predecessor's identity only where that one
        is known to have ended, as containers of one pod do: it takes its leases without waiting.
    exit_
        Ends the process at once; called where work that may not go on can't be proved to have ended.
    """

    def __init__(
        self,
        leases: Leases,
        identity: str,
        terms: Terms,
        work: Callable[[], Work],
        told: Told,
        exit_: Callable[[str], None],
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._leases = leases
        self.identity = identity
        self._terms = terms
        self._work = work
        self._told = told
        self._exit = exit_
        self._clock = clock
        self._tenures: dict[str, _Tenure] = {}
        self._ending: list[_Tenure] = []
        self._sights: dict[str, _Sight] = {}
        self._free_since: dict[str, float] = {}
        self._floors: dict[str, int] = {}
        self._me = Lease(replica_name(leases.cluster, identity), REPLICA, holder=identity)
        self._known: frozenset[str] = frozenset()
        self._looked = False
        self.trouble = ""
        self._lock = threading.Lock()
        self._announcing = threading.Lock()
        self._nudged = threading.Event()
        self._stopping = threading.Event()
        self._shifts: SimpleQueue[tuple[_Tenure, bool] | None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(RENEWALS, thread_name_prefix="renew")
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (
                ("election", self._run),
                ("lease-renewals", self._run_renewals),
                ("lease-watchdog", self._watch),
                ("lease-shifts", self._shift),
            )
        ]

    # What the work asks

    def serves(self, platform: str) -> bool:
        """Whether new work for a Platform may begin here."""
        tenure = self._tenures.get(platform)
        return (
            tenure is not None
            and tenure.open
            and not tenure.leaving
            and self._age(tenure) < self._terms.renew_deadline
        )

    def may_tell(self, platform: str) -> bool:
        """Whether this replica may speak for a Platform's objects: write status, say events."""
        tenure = self._tenures.get(platform)
        return tenure is not None and self._age(tenure) < self._terms.renew_deadline

    def tenure(self, platform: str) -> int | None:
        """The number of the present tenure, ``leaseTransitions``; None where there is none."""
        tenure = self._tenures.get(platform)
        return None if tenure is None else tenure.lease.transitions

    def fence(self, platform: str) -> Callable[[], None]:
        """What each write to AWS passes in the tenure that is now; it never opens again.

        Returns
        -------
        Callable
            Raises :class:`NotHeld` from last renewal + renew deadline - connect timeout on, and for
            ever once the lease is lost, also where it has been gained anew meanwhile.
        """
        tenure = self._tenures.get(platform)
        limit = self._terms.last_write

        def check() -> None:
            if tenure is None or tenure.revoked or self._age(tenure) > limit:
                raise NotHeld(f"this replica does not hold Platform {platform or '(none)'}")

        return check

    def surpass(self, platform: str, number: int) -> None:
        """Give a Platform back, and let nobody take it under a number that is not above this."""
        with self._lock:
            self._floors[platform] = max(number, self._floors.get(platform, 0))
            tenure = self._tenures.get(platform)
            if tenure is not None and tenure.lease.transitions <= number:
                tenure.revoked = tenure.leaving = True
        self._nudged.set()

    @property
    def switching(self) -> bool:
        """Whether a lease was gained or lost whose work has not been switched yet."""
        return not self._shifts.empty()

    @property
    def held(self) -> list[str]:
        """Platforms that are held."""
        return sorted(self._tenures)

    @property
    def role(self) -> str:
        """``holder`` or ``standby``."""
        return "holder" if self._tenures else "standby"

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def unheld(self) -> list[str]:
        """Platforms that no live replica works for, as far as can be seen; "" is one of them."""
        if not self._looked:
            return sorted(self._groups())
        now = self._clock()
        return [
            one
            for one in sorted(self._groups())
            if one not in self._tenures and self._free(one, now)
        ]

    @property
    def opening(self) -> bool:
        """Whether a lease was gained and the work for it has not begun yet."""
        return any(not one.begun and not one.leaving for one in list(self._tenures.values()))

    def nudge(self, platform: str) -> None:
        """A Platform was seen: one that is new is taken without waiting for the next look."""
        if platform not in self._known:
            self._nudged.set()

    # Life

    def start(self) -> None:
        """Start electing."""
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Give everything back, each Platform once nothing is being worked on for it.

        Parameters
        ----------
        seconds
            The longest wait. What is worked on still then is not given back: its lease ends by
            itself, when nothing that was sent can be under way any more.

        Returns
        -------
        bool
            Whether everything was given back.
        """
        self._stopping.set()
        self._nudged.set()
        end = self._clock() + seconds
        with self._lock:
            for tenure in self._tenures.values():
                tenure.leaving = True
        self._threads[0].join(min(1.0, seconds))
        self._retire()
        while self._tenures and self._clock() < end:
            if any(self._age(tenure) > self._period for tenure in list(self._tenures.values())):
                self._renew()
            self._release_idle()
            if self._tenures:
                time.sleep(0.05)
        with self._lock:
            for tenure in self._tenures.values():
                tenure.revoked = True
            left = bool(self._tenures)
        self._shifts.put(None)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not left

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.share()
            except KubeError as error:
                self.trouble = f"the Leases can't be read or written: {error}"
                log.warning("election", error=str(error))
            except Exception:
                log.exception("fault")
            else:
                self.trouble = ""
            self._nudged.wait(self.pause())
            self._nudged.clear()

    def _run_renewals(self) -> None:
        """Apart from all else, so that no slow listing keeps a lease from being renewed."""
        while not self._stopping.wait(self._period):
            try:
                self.renew()
            except KubeError as error:
                log.warning("not announced", error=str(error))
            except Exception:
                log.exception("fault")

    @property
    def _period(self) -> float:
        return self._terms.retry_period

    def pause(self) -> float:
        """Seconds until the next look: whoever waits for a lease to run out does not sleep on."""
        now = self._clock()
        ends = [one.at + one.lease.duration + WINK - now for one in self._sights.values()]
        return min([self._period, *(end for end in ends if end > 0)])

    def renew(self) -> None:
        """Renew what is held, and this replica's own Lease.

        Raises
        ------
        KubeError
            The API server does not answer, or refuses: this replica can't say that it lives.
        """
        self._renew()
        if self._looked:
            self._announce()

    def share(self) -> None:
        """Look, give up, take: what is done every retry period beside the renewals.

        Raises
        ------
        KubeError
            The API server does not answer, or refuses.
        """
        for platform in self._groups():
            self._told.exists(platform)
        self._release_idle()
        self._look()
        if not self._me.version:
            self._announce()
        self._tidy()
        self._give_up()
        self._take_free()

    # Looking

    def _look(self) -> None:
        listed = self._leases.list()
        now = self._clock()
        sights = {}
        for name, lease in listed.items():
            before = self._sights.get(name)
            if before is not None and before.lease.version == lease.version:
                sights[name] = before
            elif before is not None and self._lives(before, now):
                sights[name] = _Sight(lease, now, before.since)
            else:
                sights[name] = _Sight(lease, now, now)
        self._sights = sights
        self._looked = True
        known, self._known = self._known, self._groups()
        for platform in known - self._known:
            self._told.gone(platform)
        self._free_since = {
            platform: self._free_since.get(platform, now)
            for platform in self._known
            if platform not in self._tenures and self._free(platform, now)
        }

    def _groups(self) -> frozenset[str]:
        return frozenset({*self._work().platforms(), NO_PLATFORM})

    def _sight(self, platform: str) -> _Sight | None:
        return self._sights.get(lease_name(self._leases.cluster, platform))

    def _lives(self, sight: _Sight, now: float) -> bool:
        return bool(sight.lease.holder) and now <= sight.at + sight.lease.duration

    def _free(self, platform: str, now: float) -> bool:
        """Whether nobody holds a Platform: a lease under our own identity is our predecessor's."""
        sight = self._sight(platform)
        return sight is None or sight.lease.holder == self.identity or not self._lives(sight, now)

    def _replicas(self, now: float, settled: float = 0.0) -> set[str]:
        """Identities of the replicas that live, and have so for ``settled`` seconds."""
        return {self.identity} | {
            sight.lease.holder
            for sight in self._sights.values()
            if sight.lease.role == REPLICA
            and self._lives(sight, now)
            and now - sight.since >= settled
        }

    def _holders(self, groups: Iterable[str], now: float) -> dict[str, str]:
        holders = {}
        for platform in groups:
            tenure = self._tenures.get(platform)
            if tenure is not None:
                if not tenure.leaving:
                    holders[platform] = self.identity
            elif not self._free(platform, now):
                sight = self._sight(platform)
                if sight is not None:
                    holders[platform] = sight.lease.holder
        return holders

    # Being there

    def _announce(self) -> None:
        """Renew this replica's own Lease."""
        with self._announcing:
            if self._stopping.is_set():
                return
            there = self._sights.get(self._me.name)
            if self._me.version == "" and there is not None:
                self._me = replace(self._me, version=there.lease.version)
            self._me = replace(self._me, duration=self._terms.duration, renewed=wall_clock())
            try:
                self._me = self._leases.put(self._me)
            except (Stale, Gone):
                found = self._leases.get(self._me.name)
                self._me = replace(self._me, version=found.version if found else "")

    def _tidy(self) -> None:
        """Remove the Leases of replicas that are long gone."""
        now = self._clock()
        for sight in list(self._sights.values()):
            lease = sight.lease
            if lease.role == REPLICA and now > sight.at + FORGOTTEN * lease.duration:
                self._leases.delete(lease)

    def _retire(self) -> None:
        """This replica takes part no more."""
        with self._announcing:
            try:
                if self._me.version:
                    self._leases.delete(self._me)
            except KubeError as error:
                log.warning("retire", error=str(error))

    # Holding

    def _age(self, tenure: _Tenure) -> float:
        return self._clock() - tenure.renewed

    def _renew(self) -> None:
        calls = [
            self._pool.submit(self._renew_one, tenure) for tenure in list(self._tenures.values())
        ]
        for call in calls:
            call.result()

    def _renew_one(self, tenure: _Tenure) -> None:
        with tenure.lock:
            if not tenure.released:
                self._renew_held(tenure)

    def _renew_held(self, tenure: _Tenure) -> None:
        started = self._clock()
        try:
            tenure.lease = self._leases.put(replace(tenure.lease, renewed=wall_clock()))
        except (Stale, Gone):
            self._check(tenure, started)
        except KubeError as error:
            log.warning(
                "not renewed",
                platform=tenure.platform,
                seconds=round(self._age(tenure), 1),
                error=str(error),
            )
        else:
            tenure.renewed = started

    def _check(self, tenure: _Tenure, started: float) -> None:
        """Somebody wrote our lease: another replica, or a person who labelled it."""
        try:
            found = self._leases.get(tenure.lease.name)
        except KubeError:
            return
        mine = tenure.lease
        if found and (found.holder, found.transitions) == (self.identity, mine.transitions):
            tenure.lease = found
            tenure.renewed = started
        else:
            self._lose(tenure, "another replica holds it" if found else "its Lease was deleted")

    def _watch(self) -> None:
        while not self._stopping.wait(self._period / 4):
            try:
                self.check_deadlines()
            except Exception:
                log.exception("fault")

    def check_deadlines(self) -> None:
        """Notice without the API server's help that a lease is lost, and that work goes on."""
        for tenure in list(self._tenures.values()):
            if self._age(tenure) >= self._terms.renew_deadline:
                self._lose(tenure, "it could not be renewed in time")
        for tenure in list(self._ending):
            if not self._work().busy(tenure.platform):
                self._ending.remove(tenure)
            elif self._age(tenure) >= self._terms.duration:
                self._exit(
                    f"the lease of Platform {tenure.platform or '(none)'} is lost, and work for it "
                    "has not ended"
                )

    def _lose(self, tenure: _Tenure, why: str) -> None:
        with self._lock:
            if self._tenures.get(tenure.platform) is not tenure:
                return
            tenure.revoked = True
            self._ending.append(tenure)
            del self._tenures[tenure.platform]
        log.warning("lost", platform=tenure.platform, why=why)
        self._shifts.put((tenure, False))

    def _release_idle(self) -> None:
        """Give up what is leaving, or was of a Platform that is gone, once nothing is in work."""
        groups = self._groups()
        for tenure in list(self._tenures.values()):
            gone = tenure.platform not in groups
            if gone:
                tenure.leaving = True
            if tenure.leaving and not self._work().busy(tenure.platform):
                self._release(tenure, gone)

    def _release(self, tenure: _Tenure, gone: bool) -> None:
        tenure.revoked = True
        number = max(tenure.lease.transitions, self._floors.get(tenure.platform, 0))
        try:
            with tenure.lock:
                if tenure.released:
                    return
                if gone:
                    self._leases.delete(tenure.lease)
                else:
                    free = replace(tenure.lease, holder="", duration=1.0, transitions=number)
                    self._leases.put(free)
                tenure.released = True
        except (Stale, Gone):
            self._lose(tenure, "somebody else wrote its Lease")
            return
        except KubeError as error:
            log.warning("not released", platform=tenure.platform, error=str(error))
            return
        with self._lock:
            self._tenures.pop(tenure.platform, None)
        # Not taken back before the others have seen it free.
        self._sights.pop(tenure.lease.name, None)
        log.info("released", platform=tenure.platform, gone=gone)
        self._shifts.put((tenure, False))

    # Sharing

    def _give_up(self) -> None:
        """Let go of surplus Platforms, to replicas that have been there for a while."""
        now = self._clock()
        replicas = self._replicas(now, self._terms.duration)
        holders = self._holders(self._known, now)
        for platform in surplus(self.identity, replicas, holders):
            tenure = self._tenures.get(platform)
            if tenure is not None and tenure.open:
                log.info("gives up", platform=platform)
                tenure.leaving = True
        self._release_idle()

    def _take_free(self) -> None:
        now = self._clock()
        ending = {tenure.platform for tenure in self._ending}
        free = [platform for platform in sorted(self._free_since) if platform not in ending]
        # Who lets a lease run out is gone, though its own Lease may live a moment longer.
        lapsed = {sight.lease.holder for sight in map(self._sight, free) if sight is not None}
        replicas = (self._replicas(now) - lapsed) | {self.identity}
        chosen = placed(free, replicas, self._holders(self._known, now))
        for platform in free:
            waited = now - self._free_since[platform]
            if chosen.get(platform) == self.identity or waited > self._terms.duration:
                self._acquire(platform)

    def _acquire(self, platform: str) -> None:
        sight = self._sight(platform)
        before = sight.lease if sight else None
        number = max(before.transitions if before else 0, self._floors.get(platform, 0)) + 1
        wanted = Lease(
            name=lease_name(self._leases.cluster, platform),
            role=PLATFORM if platform else UNASSIGNED,
            platform=platform,
            holder=self.identity,
            duration=self._terms.duration,
            transitions=number,
            version=before.version if before else "",
            acquired=wall_clock(),
            renewed=wall_clock(),
        )
        started = self._clock()
        try:
            lease = self._leases.put(wanted)
        except (Stale, Gone):
            return  # Another was quicker: the next look tells.
        tenure = _Tenure(platform, lease, started)
        failover = before is not None and before.holder not in ("", self.identity)
        with self._lock:
            self._tenures[platform] = tenure
            self._floors.pop(platform, None)
        log.info(
            "acquired",
            platform=platform,
            transitions=number,
            before=before.holder if before else "",
        )
        if failover:
            self._told.took_over(platform)
        self._shifts.put((tenure, True))

    # Switching work on and off, beside the renewals

    def _shift(self) -> None:
        while self.switch():
            pass

    def switch(self) -> bool:
        """Wait for a lease that was gained or lost, and switch its work. Returns False at the end."""
        shift = self._shifts.get()
        if shift is None:
            return False
        tenure, gained = shift
        try:
            self._switch(tenure, gained)
        except Exception:
            log.exception("fault", platform=tenure.platform)
        return True

    def _switch(self, tenure: _Tenure, gained: bool) -> None:
        platform = tenure.platform
        number = tenure.lease.transitions
        self._work().clear(platform)
        if platform in self._groups():
            self._told.held(platform, held=gained and not tenure.revoked, transitions=number)
        else:
            self._told.gone(platform)
        if gained and not tenure.revoked:
            tenure.open = True
            self._work().begin(platform)
            tenure.begun = True
