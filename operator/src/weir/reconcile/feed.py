"""The thread that asks each Platform's run ledger what is new."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from weir.aws.errors import AwsError
from weir.kube.keys import Key
from weir.reconcile.asking import AT_A_TIME, PlatformAsker
from weir.reconcile.queue import Lane
from weir.reconcile.runs import HISTORY, OVERLAP, RunBooks, instant
from weir.reconcile.services import Services
from weir.reconcile.view import ready_name
from weir.reconcile.world import World

log = structlog.get_logger("weir.feed")

TABLE_ID = "state"
"""Logical id of a Platform's state table."""


class FeedWatcher(PlatformAsker):
    """Asks each Platform's feed every few seconds and wakes the objects whose runs are new.

    Parameters
    ----------
    seconds
        Between two questions.
    serves
        Whether a Platform is this process's to work for.
    """

    def __init__(
        self,
        services: Services,
        wake: Callable[[Key, Lane], None],
        seconds: float,
        serves: Callable[[str], bool] = lambda _platform: True,
    ) -> None:
        super().__init__("run-feed", services.worlds, seconds, AT_A_TIME, serves)
        self._services, self._wake = services, wake

    def ask(self, platform: str, world: World) -> None:
        """One look at one Platform's feed."""
        table = ready_name(self._services.store, platform, TABLE_ID)
        if table is None:
            return
        try:
            news = self._services.books.look(platform, world.ledger, table)
        except AwsError as error:
            log.warning("feed", platform=platform, error=str(error))
            return
        except Exception:
            log.exception("fault", platform=platform)
            return
        for key in dict.fromkeys(key for key, _ in news):
            self._tell(key)

    def _tell(self, key: Key) -> None:
        store = self._services.store
        if store.get(key) is None:
            self._services.books.drop(key)
        else:
            self._wake(key, Lane.DEPENDENT)
        for dependent in store.dependents(key):
            runs = [dependent] if dependent.kind == "PipelineRun" else store.dependents(dependent)
            for run in runs:
                if run.kind == "PipelineRun":
                    self._wake(run, Lane.DEPENDENT)


def make_books(store_of: Callable[[], Services]) -> RunBooks:
    """Run books that begin where the objects' statuses end."""

    def floor(platform: str) -> datetime:
        services = store_of()
        times = []
        for kind in ("DataSource", "Pipeline", "PipelineRun"):
            for obj in services.store.of_kind(kind):
                status = obj.get("status") or {}
                if kind == "PipelineRun":
                    if status.get("started") and not status.get("finished"):
                        times.append(instant(status["started"]))
                elif obj["spec"].get("platform", "default") == platform:
                    last = status.get("lastRun") or {}
                    times.append(instant(last.get("finished") or last.get("started")))
        oldest = services.now() - HISTORY
        known = [time for time in times if time is not None]
        if not known or len(known) < len(times):
            return oldest
        return max(oldest, min(known) - OVERLAP)

    return RunBooks(floor)
