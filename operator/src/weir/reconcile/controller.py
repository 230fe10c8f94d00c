"""What an event means: who has to be looked at, and how soon."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from weir.kube.client import Object
from weir.kube.conditions import READY, find
from weir.kube.keys import CLUSTER_SCOPED, Key
from weir.kube.store import Store
from weir.reconcile.queue import Lane
from weir.reconcile.workers import Workers

YIELDING = frozenset({"Conflict", "Moving"})
"""Reasons of Ready that another object's end may mend."""


class Controller:
    """Takes what the watches see, keeps the store, and feeds the queue.

    ``edited`` is told of each new spec: whose it is, and its generation.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers,
        edited: Callable[[Key, int], None] = lambda _key, _generation: None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._edited = edited
        self._yielding: set[Key] = set()

    def seen(self, obj: Object, *, gone: bool, listed: bool = False) -> None:
        """An object was listed, added, changed or removed.

        Parameters
        ----------
        gone
            It was removed.
        listed
            It comes from a listing: whoever starts anew looks at it, but edits go first.
        """
        _lighten(obj)
        key = Key.of(obj)
        if gone:
            around = self._around(key)
            self._store.remove(obj)
            self._yielding.discard(key)
            if self._store.get(key) is None:
                self._workers.forget(key)
                self._workers.add(key, Lane.EDIT)
            self._wake([*around, *self._waiting(key)])
            return
        before, left = self._store.get(key), self._store.targets(key)
        self._store.put(obj)
        if self._store.get(key) is not obj:
            return  # An older sight than the one that is here, or of an object that is gone.
        if _waits(obj):
            self._yielding.add(key)
        else:
            self._yielding.discard(key)
        born = before is None
        if born:
            self._workers.add(key, Lane.DRIFT if listed and is_settled(obj) else Lane.EDIT)
        elif _asked(before) != _asked(obj):
            self._workers.add(key, Lane.EDIT)
        if not listed and _generation(before) != _generation(obj):
            self._edited(key, _generation(obj))
            self._wake(self._waiting(key) if not born else [])
        if born or _shown(before) != _shown(obj):
            self._wake(self._around(key))
            self._wake([one for one in left if one not in self._store.targets(key)])

    def saved(self, obj: Object) -> None:
        """The server's answer to a write of ours."""
        self.seen(obj, gone=False)

    def _around(self, key: Key) -> list[Key]:
        """Who refers to an object, and who holds claims for it, counts it or owns it."""
        around = list(self._store.dependents(key))
        if key.kind not in CLUSTER_SCOPED:
            obj = self._store.get(key)
            owners = (obj["metadata"].get("ownerReferences") or []) if obj else []
            names = {owner["name"] for owner in owners}
            around += [
                target
                for target in self._store.targets(key)
                if target.kind in ("Platform", "DataSchema") or target.name in names
            ]
        return around

    def _waiting(self, key: Key) -> list[Key]:
        """Who waits for somebody to give a name or a place up: ``key`` may just have."""
        return sorted(other for other in list(self._yielding) if other != key)

    def _wake(self, keys: list[Key]) -> None:
        for key in keys:
            if self._store.get(key) is not None:
                self._workers.add(key, Lane.DEPENDENT)


def _waits(obj: Object) -> bool:
    ready = find(obj.get("status") or {}, READY) or {}
    return ready.get("reason") in YIELDING


def _generation(obj: Object | None) -> int:
    return 0 if obj is None else int(obj["metadata"].get("generation") or 0)


def _lighten(obj: Object) -> None:
    """Let go of what nobody here reads: there may be ten thousand of them.

    Who writes an object without ``managedFields`` leaves them as they are (Kubernetes documentation,
    *Server-Side Apply*, "Clearing managedFields").
    """
    obj["metadata"].pop("managedFields", None)
    for line in (obj.get("status") or {}).get("resources") or ():
        for name in ("kind", "id", "state"):
            if type(line.get(name)) is str:
                line[name] = sys.intern(line[name])


def _asked(obj: Object | None) -> tuple[Any, ...]:
    """What a person, or another tool, asks of an object."""
    if obj is None:
        return ()
    meta = obj["metadata"]
    return (
        meta["uid"],
        meta.get("generation"),
        meta.get("annotations"),
        meta.get("deletionTimestamp"),
        meta.get("labels"),
    )


def _shown(obj: Object | None) -> tuple[Any, ...]:
    """What others read of an object."""
    if obj is None:
        return ()
    status = obj.get("status") or {}
    ready = find(status, READY) or {}
    last = status.get("lastRun") or {}
    lines = [
        (line["id"], line.get("arn"), line.get("state")) for line in status.get("resources") or []
    ]
    return (
        obj["metadata"]["uid"],
        obj["metadata"].get("generation"),
        bool(obj["metadata"].get("deletionTimestamp")),
        ready.get("status"),
        ready.get("observedGeneration"),
        lines,
        status.get("schema"),
        last.get("run"),
        last.get("state"),
    )


def is_settled(obj: Object) -> bool:
    """Whether an object was as it should be when it was last looked at."""
    found = find(obj.get("status") or {}, READY) or {}
    return (
        found.get("status") == "True"
        and found.get("observedGeneration") == obj["metadata"].get("generation")
        and not obj["metadata"].get("deletionTimestamp")
    )
