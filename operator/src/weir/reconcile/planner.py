"""What applying an object would do: the engine's own plan, with every write refused."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.platform import Platform
from weir.kube.client import Kube, Object
from weir.kube.events import Events
from weir.kube.keys import may_adopt
from weir.kube.store import Store
from weir.reconcile import wanted as blueprints
from weir.reconcile.apply import Entry
from weir.reconcile.metrics import Metrics
from weir.reconcile.plan import Plan
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.steps import Wanted, need_platform, view_of
from weir.reconcile.view import parse
from weir.reconcile.world import Worlds


def plan_for(obj: Object, others: Iterable[Object], kube: Kube, options: Options) -> Plan:
    """The plan of one object. Reads AWS and changes nothing: the session refuses writes.

    Parameters
    ----------
    obj
        The object as it should be, with defaults: what ``Kube.dry_run`` gives. Its status, where
        it has one, says what exists for it.
    others
        The cluster's other objects of our kinds, and those of the same files.

    Raises
    ------
    Halt
        It can't be planned yet; ``reason`` and ``message`` say why.
    AwsError
        AWS can't be read.
    """
    store = Store()
    for one in (*others, obj):
        store.put(one)
    with ThreadPoolExecutor(4) as pool:
        services = Services(
            kube=kube,
            store=store,
            worlds=Worlds(pool, time.monotonic, options.drift_interval, dry_run=True),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=Events(kube, "weir-plan", time.time, lambda _text: None),
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=options,
            now=lambda: datetime.now(UTC),
            saved=lambda _obj: None,
        )
        context, wanted = _wish(services, obj)
        lines = (obj.get("status") or {}).get("resources") or []
        granted = obj["kind"] == "Platform" or "adopt" in context.grant.allow
        return services.worlds.of(context.platform).applier.plan(
            wanted.owner,
            wanted.resources,
            wanted.tags,
            [Entry.from_status(line) for line in lines],
            adopt=granted and may_adopt(obj),
        )


def _wish(services: Services, obj: Object) -> tuple[blueprints.Context, Wanted]:
    view = view_of(services)
    namespace = obj["metadata"].get("namespace", "")
    if obj["kind"] == "Platform":
        context = blueprints.context_of(services, view, parse(Platform, obj), obj, "")
        return context, blueprints.platform_wanted(context, obj)
    platform, platform_obj = need_platform(view, obj["spec"].get("platform", "default"))
    context = blueprints.context_of(services, view, platform, platform_obj, namespace)
    if obj["kind"] == "DataSource":
        return context, blueprints.source_wanted(context, parse(DataSource, obj), obj)
    model = parse(Pipeline, obj)
    sources = view.sources(namespace, blueprints.source_names(model))
    return context, blueprints.pipeline_wanted(context, model, sources, obj)
