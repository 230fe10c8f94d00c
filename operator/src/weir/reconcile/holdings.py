"""Which objects are this replica's: those of the Platforms that it holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from kubernetes import client

from weir.kube.client import Kube, Object
from weir.kube.election import NotHeld
from weir.kube.events import Events
from weir.kube.keys import Key
from weir.kube.leases import NO_PLATFORM
from weir.kube.store import Store


def platform_of(obj: Object, get: Callable[[Key], Object | None]) -> str:
    """The Platform whose holder looks after an object; "" where it has none, or none that exists.

    A PipelineRun belongs to its Pipeline's Platform. A DataSchema has nothing on AWS, and belongs
    to none.

    Parameters
    ----------
    get
        An object by its key, or None.
    """
    kind = obj["kind"]
    if kind == "Platform":
        return str(obj["metadata"]["name"])
    spec = obj.get("spec") or {}
    if kind == "PipelineRun":
        pipeline = get(Key("Pipeline", obj["metadata"]["namespace"], spec.get("pipeline", "")))
        return NO_PLATFORM if pipeline is None else platform_of(pipeline, get)
    if kind in ("DataSource", "Pipeline"):
        name = str(spec.get("platform") or "default")
        return name if get(Key("Platform", "", name)) is not None else NO_PLATFORM
    return NO_PLATFORM


class Holdings:
    """The objects of the store, by who looks after them.

    Parameters
    ----------
    serves
        Whether new work for a Platform may begin here.
    may_tell
        Whether this replica may speak for a Platform's objects.
    """

    def __init__(
        self, store: Store, serves: Callable[[str], bool], may_tell: Callable[[str], bool]
    ) -> None:
        self._store = store
        self._serves = serves
        self._may_tell = may_tell

    def platforms(self) -> Collection[str]:
        """Names of the Platforms that exist."""
        return [obj["metadata"]["name"] for obj in self._store.of_kind("Platform")]

    def keys(self, platform: str) -> Iterator[Key]:
        """Keys of the objects that belong to a Platform, the Platform's own first."""
        for key in sorted(self._store.keys(), key=lambda one: one.kind != "Platform"):
            obj = self._store.get(key)
            if obj is not None and platform_of(obj, self._store.get) == platform:
                yield key

    def serves(self, key: Key) -> bool:
        """Whether a key is to be worked on here. What is gone is cleaned up by everybody."""
        obj = self._store.get(key)
        return obj is None or self._serves(platform_of(obj, self._store.get))

    def concerns(self, key: Key, platform: str) -> bool:
        """Whether work on a key may be work for a Platform: of what is gone, nobody can tell."""
        obj = self._store.get(key)
        return obj is None or platform_of(obj, self._store.get) == platform

    def may_tell(self, obj: Object) -> bool:
        """Whether this replica may write of an object."""
        return self._may_tell(platform_of(obj, self._store.get))


class HeldKube(Kube):
    """The API server, for reconciles: nothing is written of an object that is another replica's.

    Parameters
    ----------
    configuration
        How to reach it.
    may_tell
        Whether this replica may write of an object.
    """

    def __init__(
        self, configuration: client.Configuration, may_tell: Callable[[Object], bool]
    ) -> None:
        super().__init__(configuration)
        self._may_tell = may_tell

    def put_status(self, obj: Object, status: Any) -> Object:
        """As :meth:`Kube.put_status`, while the object is ours."""
        self._need(obj)
        return super().put_status(obj, status)

    def set_finalizers(self, obj: Object, finalizers: list[str]) -> Object:
        """As :meth:`Kube.set_finalizers`, while the object is ours."""
        self._need(obj)
        return super().set_finalizers(obj, finalizers)

    def create(self, obj: Object) -> Object:
        """As :meth:`Kube.create`, while the object is ours."""
        self._need(obj)
        return super().create(obj)

    def replace(self, obj: Object) -> Object:
        """As :meth:`Kube.replace`, while the object is ours."""
        self._need(obj)
        return super().replace(obj)

    def delete(self, obj: Object) -> None:
        """As :meth:`Kube.delete`, while the object is ours."""
        self._need(obj)
        super().delete(obj)

    def _need(self, obj: Object) -> None:
        if not self._may_tell(obj):
            raise NotHeld(f"{Key.of(obj)} is another replica's")


class HeldEvents:
    """Events about objects that are ours; of others', their holder speaks."""

    def __init__(self, events: Events, may_tell: Callable[[Object], bool]) -> None:
        self._events = events
        self._may_tell = may_tell

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something is wrong."""
        if self._may_tell(obj):
            self._events.warn(obj, reason, note, action)

    def say(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something has happened."""
        if self._may_tell(obj):
            self._events.say(obj, reason, note, action)
