"""What a replica does when it gains a Platform, and when it loses one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable

from weir.aws.session import AwsSession
from weir.kube.election import Elector
from weir.kube.keys import Key
from weir.reconcile.controller import is_settled
from weir.reconcile.epoch import Epoch
from weir.reconcile.feed import TABLE_ID
from weir.reconcile.holdings import Holdings
from weir.reconcile.queue import Lane
from weir.reconcile.services import Services
from weir.reconcile.view import ready_name
from weir.reconcile.workers import Workers
from weir.reconcile.world import Fence

TICK = 0.05
"""Seconds between two looks whether a Platform has answered."""
PATIENCE = 10.0
"""Seconds for which the first pass waits for a Platform that does not answer: its condition tells of
it, and the replica is ready for the others."""


class Turns:
    """Switches the work for a Platform on and off: the election's :class:`weir.kube.election.Work`.

    The Platform itself is looked at first, and its objects once AWS has answered: where it does not,
    they would all wait for it, and keep the threads that others need.

    Parameters
    ----------
    holdings
        Which objects belong to a Platform.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        services: Services,
        workers: Workers,
        holdings: Holdings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._workers = workers
        self._holdings = holdings
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def left(self) -> int:
        """How much of the first pass is still to come, but for what waits for silent Platforms."""
        now = self._clock()
        with self._news:
            asked = dict(self._asked)
        silent = sum(
            now - since > PATIENCE and self._workers.awaits(Key("Platform", "", name))
            for name, since in asked.items()
        )
        waiting = sum(now - since <= PATIENCE for since in asked.values())
        return max(waiting, self._workers.first_pass_left - silent)

    def platforms(self) -> Collection[str]:
        """Names of the Platforms that exist."""
        return self._holdings.platforms()

    def busy(self, platform: str) -> bool:
        """Whether anything is being worked on for a Platform."""
        return any(self._holdings.concerns(key, platform) for key in self._workers.busy)

    def clear(self, platform: str) -> None:
        """Forget everything of a Platform: another has worked for it, or will."""
        with self._news:
            self._asked.pop(platform, None)
        self._services.worlds.forget(platform)
        self._services.books.forget(platform)
        for key in self._holdings.keys(platform):
            self._workers.forget(key)
            self._services.wishes.pop(key, None)
            self._services.metrics.forget(key)

    def begin(self, platform: str) -> None:
        """Look at everything of a Platform."""
        first = Key("Platform", "", platform)
        if not platform or self._services.store.get(first) is None:
            self._look(self._holdings.keys(platform))
            return
        with self._news:
            self._look([first])
            self._asked[platform] = self._clock()
            self._news.notify()

    def _look(self, keys: Iterable[Key]) -> None:
        found = list(keys)
        self._workers.expect(found)
        for key in found:
            obj = self._services.store.get(key)
            calm = obj is not None and is_settled(obj)
            self._workers.add(key, Lane.DRIFT if calm else Lane.EDIT)

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._asked)
                for platform in [one for one in self._asked if self._has_answered(one)]:
                    rest = self._holdings.keys(platform)
                    self._look(key for key in rest if key.kind != "Platform")
                    del self._asked[platform]
            time.sleep(TICK)

    def _has_answered(self, platform: str) -> bool:
        """Whether AWS has answered at all, or the Platform's own look has ended without it."""
        world = self._services.worlds.known().get(platform)
        if world is not None and world.session.reach.answered:
            return True
        return not self._workers.awaits(Key("Platform", "", platform))


class Fences:
    """What each write of a Platform's world passes: the lease's time, and the table's epoch."""

    def __init__(self, elector: Elector, services: Callable[[], Services]) -> None:
        self._elector = elector
        self._services = services

    def of(self, platform: str) -> Fence:
        """The fence of the tenure that is now."""
        held = self._elector.fence(platform)
        number = self._elector.tenure(platform)
        epoch = Epoch(
            platform,
            number or 0,
            self._elector.identity,
            lambda: ready_name(self._services().store, platform, TABLE_ID),
            lambda: self._session(platform),
            self._elector.surpass,
        )

        def check() -> None:
            held()
            epoch()
            held()

        return check

    def _session(self, platform: str) -> AwsSession | None:
        world = self._services().worlds.known().get(platform)
        return None if world is None else world.session
