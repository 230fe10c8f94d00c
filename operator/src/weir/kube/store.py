"""The objects as last seen: fed by the watches, and by the answers to the operator's own writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from weir.kube.client import Object
from weir.kube.keys import Key
from weir.kube.references import ReferenceIndex, references

T = TypeVar("T")

GONE_REMEMBERED = 10_000
"""Objects of which it is remembered that they are gone."""


class Store:
    """All objects of our kinds, with who refers to whom. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._kinds: dict[str, dict[Key, Object]] = {}
        self._specs = 0
        self._memos: dict[str, tuple[int, Any]] = {}
        self._of_spec: dict[Key, tuple[str, int, Any]] = {}
        self._of_sight: dict[Key, dict[Hashable, Any]] = {}
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
            self._of_sight.pop(key, None)
            self._kinds.setdefault(key.kind, {})[key] = obj
            if before is None or spec_version(before) != spec_version(obj):
                self._specs += 1
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
                del self._kinds[key.kind][key]
                self._of_spec.pop(key, None)
                self._of_sight.pop(key, None)
                self._specs += 1
                self._index.remove(key)

    def get(self, key: Key) -> Object | None:
        """An object, or None. Nobody may change what is returned."""
        with self._lock:
            return self._objects.get(key)

    def of_kind(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        with self._lock:
            return list(self._kinds.get(kind, {}).values())

    def many(self, keys: Iterable[Key]) -> list[Object]:
        """Those of these objects that are here, in the same order."""
        with self._lock:
            return [obj for key in keys if (obj := self._objects.get(key)) is not None]

    def memo(self, name: str, compute: Callable[[], T]) -> T:
        """What ``compute`` comes to, computed anew when any object's spec has changed.

        Parameters
        ----------
        name
            What it is, and of what; it must depend on nothing but specs and metadata.
        """
        with self._lock:
            version = self._specs
            known = self._memos.get(name)
        if known is not None and known[0] == version:
            found: T = known[1]
            return found
        found = compute()
        with self._lock:
            self._memos[name] = (version, found)
        return found

    def of_spec(self, obj: Object, compute: Callable[[Object], T]) -> T:
        """What ``compute`` makes of an object's spec, kept until the spec changes.

        One thing an object: whoever asks uses the same ``compute``.
        """
        key, version = Key.of(obj), spec_version(obj)
        with self._lock:
            known = self._of_spec.get(key)
        if known is not None and known[:2] == version:
            found: T = known[2]
            return found
        found = compute(obj)
        with self._lock:
            if key in self._objects:
                self._of_spec[key] = (*version, found)
        return found

    def of_sight(self, obj: Object, name: Hashable, compute: Callable[[], T]) -> T:
        """What ``compute`` makes of an object as it is here, kept until another sight of it comes:
        a thousand objects read the same Platform.

        Parameters
        ----------
        name
            What it is, with all that it depends on but the object.
        """
        key = Key.of(obj)
        with self._lock:
            known = self._of_sight.get(key, {}) if self._objects.get(key) is obj else {}
            if name in known:
                found: T = known[name]
                return found
        found = compute()
        with self._lock:
            if self._objects.get(key) is obj:
                self._of_sight.setdefault(key, {})[name] = found
        return found

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


def spec_version(obj: Mapping[str, Any]) -> tuple[str, int]:
    """What changes with an object's spec, and when its deletion is asked for."""
    meta = obj["metadata"]
    return meta["uid"], int(meta.get("generation") or 0)


def version_of(obj: Mapping[str, Any]) -> int:
    """An object's resource version as a number; 0 where it has none."""
    version = str(obj["metadata"].get("resourceVersion", "0"))
    return int(version) if version.isdigit() else 0
