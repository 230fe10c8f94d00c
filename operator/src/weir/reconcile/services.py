"""What every step of a reconcile may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from weir.kube.client import Object
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.metrics import Metrics
from weir.reconcile.mx import Exchangers
from weir.reconcile.runs import RunBooks
from weir.reconcile.world import Worlds


class ObjectsApi(Protocol):
    """The part of :class:`weir.kube.client.Kube` that reconciles use."""

    def put_status(self, obj: Object, status: dict[str, Any]) -> Object:
        """Replace an object's status."""

    def set_finalizers(self, obj: Object, finalizers: list[str]) -> Object:
        """Replace an object's finalizers."""

    def get(self, key: Key) -> Object | None:
        """An object, or None."""

    def create(self, obj: Object) -> Object:
        """Create an object."""

    def replace(self, obj: Object) -> Object:
        """Replace an object."""

    def delete(self, obj: Object) -> None:
        """Delete an object."""

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """A namespace's labels."""


class Teller(Protocol):
    """The part of :class:`weir.kube.events.Events` that reconciles use."""

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something is wrong."""

    def say(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something has happened."""


@dataclass(frozen=True)
class Options:
    """What the operator was told at its start.

    Parameters
    ----------
    cluster
        The cluster's id, part of every AWS name.
    artifacts
        Directory with ``artifacts.json`` and the code that it lists.
    drift_interval
        Seconds between two looks at an object for which nothing happened, at most: a Platform's
        ``driftInterval`` rules where it is shorter.
    drain_seconds
        The longest wait for running executions when something is deleted.
    runtime, architecture
        What the functions' code was built for.
    """

    cluster: str
    artifacts: str
    drift_interval: float = 600.0
    drain_seconds: float = 900.0
    runtime: str = "python3.11"
    architecture: str = "x86_64"


@dataclass(frozen=True)
class Result:
    """What one reconcile came to.

    Parameters
    ----------
    outcome
        For metrics and logs: ``converged``, ``progressing``, ``failed``, ``conflict``, ``invalid``,
        ``suspended``, ``deleted``, ``gone``.
    requeue_after
        Seconds until the next look; None where only a change asks for one.
    failed
        Whether the next look comes later at each failure in a row, and at the earliest after
        ``requeue_after``.
    at_latest
        Seconds until something changes by itself, which is looked at then and not later.
    """

    outcome: str
    requeue_after: float | None = None
    failed: bool = False
    at_latest: float | None = None


@dataclass(frozen=True)
class Services:
    """What every step of a reconcile may use.

    ``now`` is the wall clock in UTC. ``saved`` takes what the server answered to a write of ours: it
    enters the store, and those who read it are woken, before the watch brings it. ``wishes`` are
    fingerprints of what each object wanted at its last look, ``obeyed`` the newest values of
    ``weir.dev/reconcile-at`` for which all was looked at afresh. ``forecast`` names to the
    inventory which AWS resources a Platform's other new objects are going to want
    (:class:`weir.reconcile.forecast.Forecast`).
    ``exchangers`` look MX records up; None: nobody does.
    """

    kube: ObjectsApi
    store: Store
    worlds: Worlds
    books: RunBooks
    events: Teller
    metrics: Metrics
    options: Options
    now: Callable[[], datetime]
    saved: Callable[[Object], None]
    wishes: dict[Key, str] = field(default_factory=dict)
    obeyed: dict[Key, str] = field(default_factory=dict)
    forecast: Callable[[Services, str, Object, Callable[..., None]], None] = lambda *_: None
    exchangers: Exchangers | None = None
