"""Is AWS still as it was left? Looked at once for all objects of a Platform, not object by object.

A round lists each kind once and holds it against what is known; then it looks deeply at a few of
those of which listings don't tell everything, in turn. Only the owners of what has changed are
woken: a round over objects that nobody touched reconciles none of them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from weir.aws.courtesy import be_courteous
from weir.aws.errors import AwsError
from weir.kube.keys import Key
from weir.reconcile.inventory import COSTLY, Finding, Inventory
from weir.reconcile.queue import Lane
from weir.reconcile.world import World, Worlds

log = structlog.get_logger("weir.drift")

LEAST_DEEP = 100
"""Deep looks that every round may take: all that a small installation needs."""
DEEP_SHARE = 0.02
"""Part of what listings can't tell that a round of a large installation looks at deeply."""
SIDE_BY_SIDE = 4
"""Kinds that one round lists at the same time."""
TICK = 0.5
"""Seconds between two looks at the clock."""
JITTER = 0.1
"""Part of an interval that is random, so that Platforms of one account don't list together."""
SLACK = 2.5
"""Drift intervals for which an observation counts where rounds renew it: a round may be late, and
one may fail, before readers look for themselves."""


def deep_budget(hazy: int) -> int:
    """Deep looks of one round, of so many resources that listings don't tell everything of."""
    return max(LEAST_DEEP, round(DEEP_SHARE * hazy))


@dataclass
class Round:
    """What one drift round came to.

    Parameters
    ----------
    platform
        Whose.
    findings
        What is not as it was.
    faults
        Kind -> why it could not be looked at.
    woken
        Objects that were asked to look.
    resources
        Resources that were known when it began.
    seconds
        How long it took.
    """

    platform: str
    findings: list[Finding] = field(default_factory=list)
    faults: dict[str, AwsError] = field(default_factory=dict)
    woken: set[Key] = field(default_factory=set)
    resources: int = 0
    seconds: float = 0.0


def drift_round(
    platform: str,
    world: World,
    wake: Callable[[Key, Lane], None],
    give_way: Callable[[], None] = lambda: None,
) -> Round:
    """Look at all that a Platform's objects have, and wake those of whom something has changed.

    Parameters
    ----------
    wake
        Puts an object into the queue.
    give_way
        Called before each AWS call: waits for a moment where somebody's edit goes first.
    """
    inventory, done = world.inventory, Round(platform, resources=world.inventory.size())
    began = time.monotonic()
    kinds = sorted(kind for kind in inventory.kinds if kind not in COSTLY)

    def survey(kind: str) -> tuple[list[Finding], dict[str, AwsError]]:
        try:
            return inventory.survey(kind), {}
        except AwsError as error:
            return [], {kind: error}

    with ThreadPoolExecutor(
        SIDE_BY_SIDE, "drift", initializer=be_courteous, initargs=(give_way,)
    ) as pool:
        for found, faults in pool.map(survey, kinds):
            done.findings += found
            done.faults |= faults
        found, faults = pool.submit(inventory.rotate, deep_budget(inventory.hazy())).result()
    done.findings += found
    done.faults |= faults
    done.woken = wake_owners(inventory, done.findings, wake)
    done.seconds = time.monotonic() - began
    return done


def wake_owners(
    inventory: Inventory, findings: Iterable[Finding], wake: Callable[[Key, Lane], None]
) -> set[Key]:
    """Have the objects looked at that have what was found otherwise. Returns which those are."""
    woken: set[Key] = set()
    for finding in findings:
        # What has changed makes earlier failures forgotten; what is not as wanted yet does not.
        lane = Lane.RETRY if finding.what == "unconfirmed" else Lane.DEPENDENT
        for owner in inventory.owners((finding.kind, finding.name)):
            if owner not in woken or lane is Lane.DEPENDENT:
                woken.add(owner)
                wake(owner, lane)
    return woken


class DriftRounds:
    """The thread that begins each Platform's rounds.

    Parameters
    ----------
    worlds
        The Platforms that this process works for.
    wake
        Puts an object into the queue.
    clock
        Seconds that only grow.
    ended
        Told of each round that has ended.
    give_way
        Called before each AWS call of a round, see :func:`drift_round`.
    opening
        Whether objects wait for their first look still: it shows what a round would.
    """

    def __init__(
        self,
        worlds: Worlds,
        wake: Callable[[Key, Lane], None],
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[Round], None] = lambda _round: None,
        give_way: Callable[[], None] = lambda: None,
        opening: Callable[[], bool] = lambda: False,
    ) -> None:
        self._worlds = worlds
        self._wake = wake
        self._clock = clock
        self._ended = ended
        self._give_way = give_way
        self._opening = opening
        self._stop = threading.Event()
        self._due: dict[str, tuple[World, float]] = {}
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more rounds."""
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def due(self) -> dict[str, World]:
        """The Platforms whose round begins now; each is entered for its next one.

        A world that is new has just been looked at, or is being looked at: its first round comes an
        interval after that.
        """
        now, found, opening = self._clock(), {}, self._opening()
        known = self._worlds.known()
        with self._lock:
            for gone in self._due.keys() - known.keys():
                del self._due[gone]
            for platform, world in known.items():
                interval = self._worlds.interval(platform)
                wait = interval * (1.0 - JITTER * random.random())
                before, at = self._due.get(platform, (None, 0.0))
                if before is not world or opening:
                    self._due[platform] = (world, now + wait)
                    continue
                at = min(at, now + interval)  # An interval that has become shorter counts at once.
                if now < at or platform in self._running:
                    self._due[platform] = (world, at)
                    continue
                self._due[platform] = (world, now + wait)
                self._running.add(platform)
                found[platform] = world
        return found

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            for platform, world in self.due().items():
                threading.Thread(
                    target=self._round,
                    args=(platform, world),
                    name=f"drift-{platform}",
                    daemon=True,
                ).start()

    def _round(self, platform: str, world: World) -> None:
        began = self._clock()
        try:
            done = drift_round(platform, world, self._wake, self._give_way)
            for kind, error in done.faults.items():
                log.warning("not looked at", platform=platform, kind=kind, error=str(error))
            log.info(
                "round",
                platform=platform,
                resources=done.resources,
                changed=sum(one.what != "unconfirmed" for one in done.findings),
                woken=len(done.woken),
                seconds=round(done.seconds, 2),
            )
            self._ended(done)
        except Exception:
            # A fault of this program must not end the rounds: say it, and look again in time.
            log.exception("fault", platform=platform)
        finally:
            self.rest(platform, began)

    def rest(self, platform: str, began: float) -> None:
        """A round has ended: the next begins no sooner than after as long a pause (an interval at
        most), so that edits have their share of the time where rounds take long."""
        now = self._clock()
        self._worlds.cycled(platform, 2 * (now - began))
        with self._lock:
            self._running.discard(platform)
            world, at = self._due.get(platform, (None, 0.0))
            if world is not None:
                self._due[platform] = (world, max(at, now + (now - began)))
