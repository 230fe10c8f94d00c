"""The operator process: ``python -m weir``."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import kopf
import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from weir import handlers
from weir import settings as configuration
from weir.health import HealthServer, Heartbeat
from weir.kube.client import Kube, KubeError, load_config
from weir.kube.election import Elector
from weir.kube.events import Events
from weir.kube.keys import PLURALS, VERSION, Key
from weir.kube.leases import Leases
from weir.kube.store import Store
from weir.reconcile.changes import ChangeWatcher
from weir.reconcile.controller import Controller
from weir.reconcile.deadletters import dead_letters
from weir.reconcile.drift import SLACK, DriftRounds
from weir.reconcile.engine import Reconciler
from weir.reconcile.feed import FeedWatcher, make_books
from weir.reconcile.forecast import Forecast
from weir.reconcile.holdings import HeldEvents, HeldKube, Holdings
from weir.reconcile.metrics import Metrics
from weir.reconcile.mx import Exchangers
from weir.reconcile.oversight import Oversight
from weir.reconcile.pollers import PollerWatcher
from weir.reconcile.queue import Lane
from weir.reconcile.services import Options, Services
from weir.reconcile.steps import view_of
from weir.reconcile.storms import Storms
from weir.reconcile.turns import Fences, Turns
from weir.reconcile.view import recorded
from weir.reconcile.workers import Workers
from weir.reconcile.world import Worlds
from weir_contract.heap import share_heap

log = structlog.get_logger("weir")

CRD_WAIT = 2.0
"""Seconds between two looks for our definitions."""
LOOP_SECONDS = 30.0
"""Seconds for which the event loop, and with it every watch, may be silent."""
CUT_SECONDS = 2.0
"""Seconds after those that reconciles get at which the process ends, whatever hangs. One that waits
for AWS is cut off: it may be cut off anywhere, for the same reason that the process may be killed."""
WATCH_STOP_SECONDS = 1.0
"""Seconds that Kopf gets to close its watches."""

SWITCH_SECONDS = 0.001
"""Seconds for which a thread that computes keeps the interpreter while others wait (Python's own is
0.005): drift rounds read long listings in several threads, and each answer of AWS that an edit waits
for would stand in line behind all of them."""

COLLECTED_AFTER = (10_000, 10, 25)
"""Objects made, passes over the young, and passes over those that survived them, after which Python
looks for cycles (its own: 700, 10, 10). A full pass looks at all that is kept of every object of the
cluster, a second and a half at 10,000 of them, and nothing else runs meanwhile."""


def collect_seldom() -> None:
    """Have Python look for cycles less often, and never again at what is loaded by now (``gc``)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


class Operator:
    """Everything of one process, put together."""

    def __init__(self, settings: configuration.Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=self._registry)
        self._metrics = Metrics(self._registry, settings.per_object_metrics)
        self._kube = Kube(load_config(settings.kubeconfig))
        self._store = Store()
        self._elector = self._make_elector()
        self._holdings = Holdings(self._store, self._elector.serves, self._elector.may_tell)
        self._pool = ThreadPoolExecutor(settings.aws_workers, thread_name_prefix="aws")
        self._loop_beat = Heartbeat(LOOP_SECONDS)
        self._stopping = threading.Event()
        self._watching = threading.Event()
        books = make_books(lambda: self._services)
        events = Events(
            self._kube,
            settings.instance,
            time.time,
            lambda text: log.warning("event", error=text),
        )
        storms = Storms(self._store, lambda: self._services.events, time.monotonic)
        worlds = Worlds(
            self._pool,
            time.monotonic,
            settings.drift_interval,
            observer=self._metrics.called,
            expected=lambda platform: recorded(view_of(self._services), platform),
            fence_of=Fences(self._elector, lambda: self._services).of,
            called=storms.called,
            slack=SLACK,
            watched=self._metrics,
        )
        self._metrics.follow_dead_letters(lambda: dead_letters(worlds, self._store))
        self._services = Services(
            kube=HeldKube(load_config(settings.kubeconfig), self._holdings.may_tell),
            store=self._store,
            worlds=worlds,
            books=books,
            events=HeldEvents(events, self._holdings.may_tell),
            metrics=self._metrics,
            options=Options(
                settings.cluster,
                settings.artifacts,
                settings.drift_interval,
                settings.drain_seconds,
                settings.runtime,
                settings.architecture,
            ),
            now=lambda: datetime.now(UTC),
            saved=lambda obj: self._controller.saved(obj),
            forecast=Forecast(),
            exchangers=Exchangers(settings.dns_resolver),
        )
        reconciler = Reconciler(self._services)
        self._workers = Workers(
            reconciler.reconcile,
            self._metrics,
            settings.workers,
            time.monotonic,
            self._holdings.serves,
        )
        self._turns = Turns(self._services, self._workers, self._holdings)
        self._drift = DriftRounds(
            worlds,
            self._wake,
            ended=self._metrics.rounded,
            give_way=self._workers.give_way,
            opening=lambda: self._turns.left > 0,
        )
        self._pollers = PollerWatcher(
            worlds,
            self._wake,
            self._metrics.found,
            self._elector.serves,
            opening=lambda: self._turns.left > 0,
        )
        self._changes = ChangeWatcher(self._store, worlds, self._wake, self._elector.serves)
        self._controller = Controller(self._store, self._workers, self._metrics.edited)
        self._oversight = Oversight(
            self._kube, self._store, lambda: self._controller, settings.namespaces
        )
        self._primed = False
        self._passed = False
        self._feed = FeedWatcher(
            self._services, self._wake, settings.feed_interval, self._elector.serves
        )
        self._health = HealthServer(
            settings.bind,
            settings.port,
            self._registry,
            live={
                "event loop": lambda: "silent" if self._loop_beat.late() else "",
                "workers": self._workers_fault,
                "watches": self._oversight.fault,
                "election": lambda: (
                    ""
                    if (self._elector.alive and self._turns.alive) or not self._watching.is_set()
                    else "dead"
                ),
                "drift rounds": lambda: (
                    "" if self._drift.alive or not self._watching.is_set() else "dead"
                ),
                "change events": lambda: (
                    "" if self._changes.alive or not self._watching.is_set() else "dead"
                ),
                "run feed": lambda: (
                    "" if self._feed.alive or not self._watching.is_set() else "dead"
                ),
                "pollers": lambda: (
                    "" if self._pollers.alive or not self._watching.is_set() else "dead"
                ),
            },
            ready={
                "first listings": lambda: "" if self._primed else "not seen yet",
                "events": lambda: "" if self._watching.is_set() else "not watched yet",
                "leases": lambda: self._elector.trouble,
                "first pass": self._first_pass_fault,
                "API server": self._oversight.unreachable,
            },
            role=self._role,
        )

    def _make_elector(self) -> Elector:
        """Its own connections: a renewal waits for nobody, and is not repeated behind our back."""
        configuration = load_config(self._settings.kubeconfig)
        configuration.retries = False
        terms = self._settings.terms
        kube = Kube(configuration, terms.request_timeout)
        return Elector(
            Leases(kube, self._settings.lease_namespace, self._settings.cluster),
            self._settings.identity,
            terms,
            lambda: self._turns,
            self._metrics,
            self._end_at_once,
        )

    def run(self) -> int:
        """Run until a signal asks to stop. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ask_to_stop())
        self._health.start()
        log.info("started", cluster=self._settings.cluster, port=self._health.port)
        if not self._await_definitions() or not self._prime():
            self._health.stop()
            return 0
        self._turns.start()
        self._elector.start()
        self._workers.start()
        self._feed.start()
        self._drift.start()
        self._changes.start()
        self._pollers.start()
        self._oversight.start()
        # Beside the main thread, which Kopf would take the signals of.
        watches = threading.Thread(target=self._run_watches, name="watches", daemon=True)
        watches.start()
        while watches.is_alive() and not self._stopping.wait(0.2):
            pass
        asked = self._stopping.is_set()
        self._bound_the_end(0 if asked else 1)
        self._watching.clear()
        self._workers.halt()
        self._feed.stop()
        self._drift.stop()
        self._changes.stop()
        self._pollers.stop()
        self._oversight.stop()
        # First of all: another replica waits for what is given back.
        given_back = self._elector.stop(self._settings.stop_seconds)
        ended = self._workers.stop(0.0)
        watches.join(WATCH_STOP_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._health.stop()
        log.info("stopped", clean=ended, given_back=given_back, asked=asked)
        return 0 if asked else 1

    def _ask_to_stop(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            self._bound_the_end(0)

    def _bound_the_end(self, code: int) -> None:
        """End the process in time even where the interpreter would wait for calls that hang."""

        def cut_off() -> None:
            log.warning("cut off", after=seconds)
            logging.shutdown()
            os._exit(code)

        seconds = self._settings.stop_seconds + CUT_SECONDS
        timer = threading.Timer(seconds, cut_off)
        timer.daemon = True
        timer.start()

    def _end_at_once(self, why: str) -> None:
        """Another may begin, and what runs here can't be stopped otherwise."""
        log.error("ended", why=why)
        logging.shutdown()
        os._exit(1)

    def _run_watches(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception:
            log.exception("watches")

    async def _watch(self) -> None:
        """Kopf's watches, until it is time to stop."""
        registry = kopf.OperatorRegistry()
        handlers.register(registry, self._controller, self._settings.kubeconfig, self._heard)
        stop = asyncio.Event()
        ready = asyncio.Event()
        namespaces = list(self._settings.namespaces)
        watches = asyncio.ensure_future(
            kopf.operator(
                registry=registry,
                settings=configuration.kopf_settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
                ready_flag=ready,
            )
        )
        try:
            while not watches.done() and not self._stopping.is_set():
                self._loop_beat.beat()
                if ready.is_set():
                    self._watching.set()
                await asyncio.sleep(0.2)
        finally:
            stop.set()
            self._workers.halt()
        ended, _ = await asyncio.wait({watches}, timeout=WATCH_STOP_SECONDS)
        for task in ended:
            task.result()

    def _await_definitions(self) -> bool:
        """Wait until every kind is served: one that comes later would never be watched."""
        while not self._stopping.is_set():
            try:
                missing = [
                    kind for kind in PLURALS if VERSION not in self._kube.served_versions(kind)
                ]
            except KubeError as error:
                log.warning("definitions", error=str(error))
            else:
                if not missing:
                    return True
                log.info("waiting", missing=", ".join(missing), version=VERSION)
            self._stopping.wait(CRD_WAIT)
        return False

    def _prime(self) -> bool:
        """List all objects: only who knows all of them looks at the first."""
        while not self._stopping.is_set():
            try:
                self._oversight.prime()
            except KubeError as error:
                log.warning("listing", error=str(error))
            else:
                self._primed = True
                return True
            self._stopping.wait(CRD_WAIT)
        return False

    def _first_pass_fault(self) -> str:
        """Whether what was there at the start is in good hands: looked at here, or held by another.

        What comes later, as the Platforms of a replica that has gone, makes nobody unready.
        """
        if self._passed:
            return ""
        unheld = self._elector.unheld()
        if unheld:
            names = ", ".join(name or "objects without a Platform" for name in unheld)
            return f"nobody holds the lease of {names} yet"
        left = self._turns.left
        if left:
            return f"{left} objects have not been looked at yet"
        self._passed = not self._elector.opening
        return "" if self._passed else "a lease has just been gained"

    def _role(self) -> str:
        held = [name or "(no platform)" for name in self._elector.held]
        return f"holder of {', '.join(held)}" if held else "standby"

    def _heard(self, kind: str, name: str) -> None:
        self._oversight.heard(kind)
        if kind == "Platform":
            self._elector.nudge(name)

    def _wake(self, key: Key, lane: Lane) -> None:
        self._workers.add(key, lane)

    def _workers_fault(self) -> str:
        if not self._watching.is_set():
            return ""
        if not self._workers.alive:
            return "a worker thread has died"
        longest = self._workers.longest()
        return (
            f"a reconcile hangs for {longest:.0f} s"
            if longest > self._settings.stuck_seconds
            else ""
        )


def main() -> int:
    """Read the settings and run."""
    share_heap()
    settings = configuration.read(sys.argv[1:])
    configuration.set_up_logs(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    operator = Operator(settings)
    collect_seldom()
    return operator.run()


if __name__ == "__main__":
    sys.exit(main())
