"""The thread that asks each Platform's run ledger what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import structlog

from weir.aws.errors import AwsError
from weir.kube.keys import Key
from weir.reconcile.queue import Lane
from weir.reconcile.runs import HISTORY, OVERLAP, RunBooks, instant
from weir.reconcile.services import Services
from weir.reconcile.view import ready_name
from weir.reconcile.world import World

log = structlog.get_logger("weir.feed")

TABLE_ID = "state"
"""Logical id of a Platform's state table."""
AT_A_TIME = 8
"""Platforms that are asked at a time: one that does not answer holds no other up."""


class FeedWatcher:
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
        self._services = services
        self._wake = wake
        self._seconds = seconds
        self._serves = serves
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="run-feed")
        self._asking: dict[str, Future[None]] = {}
        self._thread = threading.Thread(target=self._run, name="run-feed", daemon=True)

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._asking = {name: one for name, one in self._asking.items() if not one.done()}
            for platform, world in self._services.worlds.known().items():
                if platform in self._asking or not self._serves(platform):
                    continue
                try:
                    self._asking[platform] = self._pool.submit(self._ask, platform, world)
                except RuntimeError:
                    return  # It was told to stop meanwhile: the pool takes nothing any more.

    def _ask(self, platform: str, world: World) -> None:
        """One look at one Platform's feed. Raises nothing."""
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
