"""Do the watches bring everything? Lists say what there is, and are held against what was brought.

A watch can fall silent with its connection open, and a deletion between two listings of a watch is
never told. So a listing of metadata, served from the API server's cache, is compared with the store
from time to time: what is gone is removed, what stays behind is fetched, and a watch that did not
bring what was listed a whole period ago counts as dead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from weir.kube.client import Kube, KubeError, Object
from weir.kube.keys import CLUSTER_SCOPED, PLURALS, Key
from weir.kube.store import Store, version_of
from weir.reconcile.controller import Controller

log = structlog.get_logger("weir.watches")

UNREACHABLE_SECONDS = 300.0
"""Seconds without an answer of the API server after which a new process, with new connections and
credentials, is worth a try."""


def split(
    listed: Mapping[Key, int], brought: Mapping[Key, int], at: int
) -> tuple[list[Key], dict[Key, int]]:
    """Hold a listing against what was brought.

    Parameters
    ----------
    listed, brought
        Resource versions by key.
    at
        The listing's own resource version: what is newer is not its business.

    Returns
    -------
    tuple
        Keys that are gone, and those that are behind, with the version that they should have.
    """
    gone = [key for key, version in brought.items() if key not in listed and version <= at]
    behind = {key: version for key, version in listed.items() if brought.get(key, -1) < version}
    return gone, behind


class Oversight:
    """Lists everything once at the start, and then looks after the watches.

    Parameters
    ----------
    namespaces
        Namespaces that are watched; none means all.
    seconds
        Between two comparisons.
    """

    def __init__(
        self,
        kube: Kube,
        store: Store,
        controller: Callable[[], Controller],
        namespaces: Sequence[str] = (),
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._store = store
        self._controller = controller
        self._namespaces = namespaces
        self._seconds = seconds
        self._clock = clock
        self._behind: dict[str, dict[Key, int]] = {}
        self._silent: dict[str, str] = {}
        self._failing: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="oversight", daemon=True)

    def prime(self) -> list[Key]:
        """List every kind, so that the first look at any object knows of all others.

        Raises
        ------
        KubeError
            The API server does not answer, or refuses.
        """
        keys = []
        for kind in PLURALS:
            for namespace in self._places(kind):
                for obj in self._kube.all_of(kind, namespace):
                    self._controller().seen(obj, gone=False, listed=True)
                    keys.append(Key.of(obj))
        return keys

    def start(self) -> None:
        """Start comparing."""
        self._thread.start()

    def stop(self) -> None:
        """Compare no more."""
        self._stop.set()

    def heard(self, kind: str) -> None:
        """A watch has brought something."""
        self._silent.pop(kind, None)

    def fault(self) -> str:
        """What a new process would mend, or nothing."""
        if self._silent:
            return "; ".join(self._silent.values())
        since = self._failing
        lost = 0.0 if since is None else self._clock() - since
        if lost > UNREACHABLE_SECONDS:
            return f"the API server has not answered for {lost:.0f} s"
        return ""

    def unreachable(self) -> str:
        """Whether the API server did not answer the last time."""
        return "" if self._failing is None else "the API server does not answer"

    def compare(self) -> None:
        """One comparison of all kinds."""
        try:
            for kind in PLURALS:
                for namespace in self._places(kind):
                    self._compare(kind, namespace)
        except KubeError as error:
            if self._failing is None:
                self._failing = self._clock()
            log.warning("listing", error=str(error))
        else:
            self._failing = None

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.compare()
            except Exception:
                log.exception("fault")

    def _compare(self, kind: str, namespace: str) -> None:
        there, at = self._kube.metadata_of(kind, namespace)
        listed = {Key.of(one): version_of(one) for one in there}
        brought = {
            Key.of(one): version_of(one)
            for one in self._store.of_kind(kind)
            if not namespace or one["metadata"].get("namespace") == namespace
        }
        gone, behind = split(listed, brought, at)
        for key in gone:
            obj = self._store.get(key)
            if obj is not None and version_of(obj) <= at:
                log.info("missed", kind=kind, object=key.id, what="deletion")
                self._controller().seen(obj, gone=True)
        place = f"{kind}/{namespace}"
        before = self._behind.get(place, {})
        late = [key for key, version in behind.items() if before.get(key, version + 1) <= version]
        self._behind[place] = {key: version for key, version in behind.items() if key not in late}
        if late:
            self._silent[kind] = (
                f"the watch of {PLURALS[kind]} is silent: {late[0].id} changed more than "
                f"{self._seconds:.0f} s ago"
            )
            log.warning("silent", kind=kind, objects=[key.id for key in late[:5]])
        self._fetch(late)

    def _fetch(self, keys: Iterable[Key]) -> None:
        for key in keys:
            obj: Object | None = self._kube.get(key)
            if obj is not None:
                self._controller().seen(obj, gone=False)

    def _places(self, kind: str) -> Sequence[str]:
        return self._namespaces if self._namespaces and kind not in CLUSTER_SCOPED else ("",)
