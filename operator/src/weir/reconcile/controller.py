"""What an event means: who has to be looked at, and how soon."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from weir.kube.client import Object
from weir.kube.conditions import READY, find
from weir.kube.keys import Key
from weir.kube.store import Store, spec_version, version_of
from weir.reconcile.queue import Lane
from weir.reconcile.workers import Workers

SHARED = frozenset(
    {"apiVersion", "id", "kind", "message", "namespace", "platform", "reason", "state", "status"}
    | {"type"}
)
"""Fields that have few values among thousands of objects."""
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
        key = Key.of(obj)
        here = self._store.get(key)
        if not gone and here is not None and version_of(here) == version_of(obj) > 0:
            return  # The answer to a write was first, or our own listing: nothing is new.
        obj = _lightened(obj)
        if gone:
            around = [*self._around(key), *self._holders(key)]
            self._store.remove(obj)
            self._yielding.discard(key)
            if self._store.get(key) is None:
                self._workers.forget(key)
                self._workers.add(key, Lane.EDIT)
            self._wake([*around, *self._waiting(key)])
            return
        before, left = here, self._store.targets(key)
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
        if born or _stated(before) != _stated(obj):
            self._wake(self._holders(key))
            self._wake([one for one in left if one not in self._store.targets(key)])

    def saved(self, obj: Object) -> None:
        """The server's answer to a write of ours."""
        self.seen(obj, gone=False)

    def _around(self, key: Key) -> list[Key]:
        """Who refers to an object, and who owns it: they read what it shows."""
        obj = self._store.get(key)
        owners = (obj["metadata"].get("ownerReferences") or []) if obj else []
        owned_by = {(owner.get("kind"), owner["name"]) for owner in owners}
        targets = self._store.targets(key)
        return [
            *self._store.dependents(key),
            *(target for target in targets if (target.kind, target.name) in owned_by),
        ]

    def _holders(self, key: Key) -> list[Key]:
        """Who holds claims for an object, or counts it: they go by what it states, not by how it
        fares."""
        return [one for one in self._store.targets(key) if one.kind in ("Platform", "DataSchema")]

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


def _lightened(obj: Object) -> Object:
    """An object without what nobody here reads, and with what is the same in all of them only once
    in memory: there may be ten thousand of them.

    Who writes an object without ``managedFields`` leaves them as they are (Kubernetes documentation,
    *Server-Side Apply*, "Clearing managedFields").
    """
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    light: Object = _interned({**obj, "metadata": meta})
    return light


def _interned(value: Any) -> Any:
    """A tree of JSON whose field names, and values that many objects share, are one string each."""
    if type(value) is dict:
        return {
            sys.intern(name): sys.intern(item)
            if name in SHARED and type(item) is str
            else _interned(item)
            for name, item in value.items()
        }
    if type(value) is list:
        return [_interned(item) for item in value]
    return value


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


def _stated(obj: Object | None) -> tuple[Any, ...]:
    """What an object says of itself: which it is, its spec, and whether it is to go."""
    if obj is None:
        return ()
    return (*spec_version(obj), bool(obj["metadata"].get("deletionTimestamp")))


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
        *_stated(obj),
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
