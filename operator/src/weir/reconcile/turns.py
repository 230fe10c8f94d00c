"""What a replica does when it gains a Platform, and when it loses one."""

from __future__ import annotations

from collections.abc import Callable, Collection

from weir.aws.session import AwsSession
from weir.kube.election import Elector
from weir.reconcile.controller import is_settled
from weir.reconcile.epoch import Epoch
from weir.reconcile.feed import state_table
from weir.reconcile.holdings import Holdings
from weir.reconcile.queue import Lane
from weir.reconcile.services import Services
from weir.reconcile.workers import Workers
from weir.reconcile.world import Fence


class Turns:
    """Switches the work for a Platform on and off: the election's :class:`weir.kube.election.Work`.

    Parameters
    ----------
    holdings
        Which objects belong to a Platform.
    """

    def __init__(self, services: Services, workers: Workers, holdings: Holdings) -> None:
        self._services = services
        self._workers = workers
        self._holdings = holdings

    def platforms(self) -> Collection[str]:
        """Names of the Platforms that exist."""
        return self._holdings.platforms()

    def busy(self, platform: str) -> bool:
        """Whether anything is being worked on for a Platform."""
        return any(self._holdings.concerns(key, platform) for key in self._workers.busy)

    def clear(self, platform: str) -> None:
        """Forget everything of a Platform: another has worked for it, or will."""
        self._services.worlds.forget(platform)
        self._services.books.forget(platform)
        for key in self._holdings.keys(platform):
            self._workers.forget(key)
            self._services.wishes.pop(key, None)
            self._services.metrics.forget(key)

    def begin(self, platform: str) -> None:
        """Look at everything of a Platform."""
        keys = list(self._holdings.keys(platform))
        self._workers.expect(keys)
        for key in keys:
            obj = self._services.store.get(key)
            calm = obj is not None and is_settled(obj)
            self._workers.add(key, Lane.DRIFT if calm else Lane.EDIT)


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
            lambda: state_table(self._services().store, platform),
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
