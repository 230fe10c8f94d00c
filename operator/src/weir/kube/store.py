"""The objects as last seen: fed by the watches, and by the answers to the operator's own writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from weir.kube.client import Object
from weir.kube.keys import Key
from weir.kube.references import ReferenceIndex, references

GONE_REMEMBERED = 10_000
"""Objects of which it is remembered that they are gone."""


class Store:
    """All objects of our kinds, with who refers to whom. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._index = ReferenceIndex()
        self._lock = threading.RLock()

    def put(self, obj: Object) -> Object | None:
        """Enter an object, unless a newer one is here or it is gone. Returns what was here before.

        The answer to the write that takes the last finalizer off may come after the watch has told
        that the object is gone: a uid never comes back, so that such an answer is known.

        Resource versions of one kind can be compared since Kubernetes 1.35 (KEP-5504), and have
        been the store's revision in every version before.
        """
        key = Key.of(obj)
        with self._lock:
            before = self._objects.get(key)
            if before is not None and version_of(before) > version_of(obj):
                return before
            if obj["metadata"]["uid"] in self._gone:
                return before
            self._objects[key] = obj
            self._index.put(key, references(obj))
            return before

    def remove(self, obj: Object) -> None:
        """The object is gone, if it is still this incarnation that is here."""
        key = Key.of(obj)
        with self._lock:
            self._gone[obj["metadata"]["uid"]] = None
            while len(self._gone) > GONE_REMEMBERED:
                self._gone.popitem(last=False)
            here = self._objects.get(key)
            if here is not None and here["metadata"]["uid"] == obj["metadata"]["uid"]:
                del self._objects[key]
                self._index.remove(key)

    def get(self, key: Key) -> Object | None:
        """An object, or None. Nobody may change what is returned."""
        with self._lock:
            return self._objects.get(key)

    def of_kind(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        with self._lock:
            return [obj for key, obj in self._objects.items() if key.kind == kind]

    def dependents(self, key: Key) -> list[Key]:
        """Keys of the objects that refer to ``key``, in order."""
        with self._lock:
            return sorted(self._index.dependents(key))

    def targets(self, key: Key) -> list[Key]:
        """Keys of the objects that ``key`` refers to, in order."""
        with self._lock:
            return sorted(self._index.targets(key))

    def keys(self) -> list[Key]:
        """Every key."""
        with self._lock:
            return sorted(self._objects)


def version_of(obj: Mapping[str, Any]) -> int:
    """An object's resource version as a number; 0 where it has none."""
    version = str(obj["metadata"].get("resourceVersion", "0"))
    return int(version) if version.isdigit() else 0
