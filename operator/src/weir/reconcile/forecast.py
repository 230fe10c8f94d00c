"""What will be asked of the inventory soon: the names that new objects are going to want.

A new object's names are unknown to the inventory, and one listing a kind for each of a thousand
objects that were applied together would be the dearest part of creating them. So the first that
meets an unknown name brings the names of the others that wait along, and one listing tells that
none of them is taken.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting, is_paused
from weir.kube.store import spec_version
from weir.reconcile import wanted as blueprints
from weir.reconcile.look import Halt
from weir.reconcile.services import Services
from weir.reconcile.steps import need_platform, view_of
from weir.reconcile.view import Unreadable, View, parse

Expect = Callable[[Iterable[tuple[str, str]]], None]

AT_ONCE = 400
"""Objects that are brought along at a time: drawing them takes the processor, not AWS."""
REMEMBERED = 20_000
"""Objects of which it is remembered that they were brought along."""


class Forecast:
    """Draws what new objects want, ahead of their turn. Thread-safe."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, services: Services, platform: str, asking: Object, expect: Expect) -> None:
        """Name to the inventory what a Platform's new objects are going to want.

        Whoever was brought along by another while it waited for its turn here draws nothing: eight
        at a time would each draw hundreds of objects before the first of them gets to look.

        Parameters
        ----------
        platform
            The Platform's name.
        asking
            The object that met a name that nobody knows.
        expect
            Takes ``(kind, name)`` of each resource (:meth:`weir.reconcile.inventory.Inventory.expect`).
        """
        with self._lock:
            if spec_version(asking) in self._told:
                return
            self._told[spec_version(asking)] = None
            view = view_of(services)
            found: list[tuple[str, str]] = []
            drawn = 0
            for obj in view.users(platform):
                version = spec_version(obj)
                if version in self._told or not _is_new(obj):
                    continue
                keys = list(_keys(services, view, obj, platform))
                if keys:
                    self._told[version] = None
                    found += keys
                drawn += 1
                if drawn >= AT_ONCE:
                    break
            while len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
            expect(found)


def _is_new(obj: Object) -> bool:
    resources = (obj.get("status") or {}).get("resources")
    return not resources and not is_deleting(obj) and not is_paused(obj)


def _keys(
    services: Services, view: View, obj: Object, platform_name: str
) -> Iterator[tuple[str, str]]:
    """What one object wants, or nothing where that can't be told yet: its own turn says why."""
    key = Key.of(obj)
    try:
        platform, platform_obj = need_platform(view, platform_name)
        context = blueprints.context_of(services, view, platform, platform_obj, key.namespace)
        if key.kind == "DataSource":
            wanted = blueprints.source_wanted(context, parse(DataSource, obj), obj)
        else:
            model = parse(Pipeline, obj)
            sources = view.sources(key.namespace, blueprints.source_names(model))
            wanted = blueprints.pipeline_wanted(context, model, sources, obj)
    except (Halt, Unreadable, KeyError):
        return
    for resource in wanted.resources:
        yield resource.key
