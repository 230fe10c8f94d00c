"""A DataSource, step by step."""

from __future__ import annotations

from typing import Any

from weir.api.v1alpha1.datasource import DataSource
from weir.blueprint import config
from weir.blueprint.datasource import ingestion_of
from weir.kube.client import Object
from weir.kube.conditions import find
from weir.kube.keys import ABANDON, Key, is_abandoned, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.discovered import follow_discovered
from weir.reconcile.guards import check_account
from weir.reconcile.look import SOON, Halt, Look
from weir.reconcile.mail import check_recipients, follow_flow, follow_route, kept_away
from weir.reconcile.moves import take_over
from weir.reconcile.pollers import hear_pollers
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import (
    abandoned,
    converge,
    deletion_time,
    follow_runs,
    need_platform,
    not_flowing_yet,
    owner_of,
    paused,
    platform_for_deletion,
    take_down,
    view_of,
)
from weir.reconcile.view import is_ready, parse
from weir.reconcile.world import World
from weir_contract.moments import iso
from weir_contract.rows import Field


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a DataSource."""
    look = Look(services, obj)
    source = parse(DataSource, obj)
    if is_deleting(obj):
        return _delete(look, source)
    stopped = paused(look)
    if stopped is not None:
        return stopped
    try:
        halt = _converge(look, source)
    except Halt as found:
        halt = found
    if look.flowing is None:
        not_flowing_yet(look)
    if source.spec.suspend:
        look.suspended = "suspend is set: the source is not asked"
    return look.close(halt)


def _converge(look: Look, source: DataSource) -> Halt | None:
    services, view = look.services, view_of(look.services)
    platform, platform_obj = need_platform(view, source.spec.platform)
    context = blueprints.context_of(services, view, platform, platform_obj, source.namespace)
    check_account(look, platform, platform_obj)
    check_recipients(services, view, platform, look.obj)
    follow_route(look, platform)
    world = services.worlds.of(platform)
    take_over(look, view, context, world)
    shown = follow_discovered(look, platform.name, context.facts.state_table, world)
    if shown:
        source = parse(DataSource, {**look.obj, "status": look.status})
    wanted = blueprints.source_wanted(context, source, look.obj)
    halt = converge(look, world, wanted, lambda one: context.grant.may_adopt(one.name))
    follow_flow(look, source, context, world)
    _freeze_schema(look, source, context, world, anew=shown)
    ingestion = ingestion_of(source)
    follow_runs(
        look,
        services.books.of(platform.name).last(look.key),
        ingestion.schedule,
        ingestion.timezone,
        source.spec.suspend,
    )
    hear_pollers(look, world, wanted.resources)
    look.status["links"] = blueprints.links(context, wanted.resources)
    child = _child(look, source)
    if halt is None and child is None:
        _land_first(look, source, context, world)
    return halt or child or kept_away(source, context, world)


def _land_first(look: Look, source: DataSource, context: blueprints.Context, world: World) -> None:
    """Ask a new source at once: nobody waits until tomorrow for a daily schedule's first rows.

    The execution's name is the object's uid, so that it starts once whatever happens here.
    """
    if look.status.get("firstExecution") or look.status.get("lastRun") or source.spec.suspend:
        return
    look.status["firstExecution"] = world.ledger.start(
        blueprints.ingest_machine(context, source),
        f"first-{source.uid}",
        {"scheduledTime": iso(look.services.now()), "requestedBy": "creation"},
    )
    look.services.events.say(look.obj, "Asked", "asked the source for the first time", "Run")


def _freeze_schema(
    look: Look, source: DataSource, context: blueprints.Context, world: Any, anew: bool
) -> None:
    """The contract that ingestion has frozen, once there is one, on the object for everybody.

    It is read again while columns are stated that it lacked: it grows by their first landing. With
    ``anew`` the source's shape has changed, and the contract may have too. One that evolves is read
    after each landing.
    """
    book = look.services.books.of(context.platform.name)
    last = book.last(look.key)
    shown = look.status.get("schema") or {}
    known = {item["name"] for item in shown.get("fields") or ()}
    stated = config.stated_contract(source, context.view.schemas(source.namespace))
    wanted = {item.name for item in stated.fields}
    # Also what a backfill or a replay has landed brings columns.
    landed = [one.manifests[-1] for one in book.runs(look.key) if one.manifests]
    landing = landed[-1] if stated.evolves and landed else None
    moved = landing is not None and landing != shown.get("landing")
    if (known and wanted <= known and not moved) or (last is None and not (anew or moved)):
        return
    contract = world.ledger.contract(context.facts.state_table, source.id)
    if contract is None:
        return
    look.status["schema"] = {
        "fields": [_frozen_field(field) for field in contract.fields],
        **({"landing": landing} if landing else {}),
    }


def _frozen_field(field: Field) -> dict[str, Any]:
    evolved = {
        "maxLength": field.max_length,
        "added": field.added,
        "widenedFrom": field.widened_from,
    }
    return {"name": field.name, "type": field.type or "string", "path": field.path} | {
        name: value for name, value in evolved.items() if value is not None
    }


def _child(look: Look, source: DataSource) -> Halt | None:
    """The managed Pipeline: there, as the source says, and ready; or gone where it is not wanted."""
    services = look.services
    key = Key("Pipeline", source.namespace, source.name)
    there = services.store.get(key)
    manifest = blueprints.child_of(source)
    mine = there is not None and is_child(there, source)
    look.status["pipeline"] = source.name if manifest is not None else None
    if manifest is None:
        if there is not None and mine and not is_deleting(there):
            services.kube.delete(there)
            services.events.say(look.obj, "PipelineDeleted", f"deleted the managed {key}")
        return None
    if there is not None and not mine:
        return Halt(
            "Conflict",
            f"{key} exists and is not managed by this source: delete or rename it, or set "
            "pipeline.managed to false and let it read the source",
            stalled=True,
            synced=True,
        )
    if there is not None and is_deleting(there):
        return Halt("Waiting", f"waits until the former {key} is gone", after=SOON, synced=True)
    if there is None:
        services.saved(services.kube.create(manifest))
        services.events.say(look.obj, "PipelineCreated", f"created the managed {key}")
        return Halt("PipelineNotReady", f"the managed {key} was just created", synced=True)
    if not _covers(there["spec"], manifest["spec"]):
        body = {**there, "spec": manifest["spec"]}
        services.saved(services.kube.replace(body))
        return Halt("PipelineNotReady", f"the managed {key} was just changed", synced=True)
    if not is_ready(there):
        why = find(there.get("status") or {}, "Ready") or {}
        message = f"the managed {key} is not ready: {why.get('message') or 'not looked at yet'}"
        return Halt("PipelineNotReady", message, synced=True)
    return None


def is_child(pipeline: Object, source: DataSource) -> bool:
    """Whether a Pipeline is the one that a source manages."""
    owners = pipeline["metadata"].get("ownerReferences") or []
    return any(one.get("uid") == source.uid for one in owners)


def _covers(stored: Any, stated: Any) -> bool:
    """Whether a stored spec is the stated one, but for the server's defaults."""
    if isinstance(stated, dict):
        return isinstance(stored, dict) and all(
            name in stored and _covers(stored[name], value) for name, value in stated.items()
        )
    if isinstance(stated, list):
        return (
            isinstance(stored, list)
            and len(stored) == len(stated)
            and all(_covers(one, other) for one, other in zip(stored, stated, strict=True))
        )
    return bool(stored == stated)


def _delete(look: Look, source: DataSource) -> Result:
    try:
        halt = _take_down(look, source)
    except Halt as found:
        halt = found
    if halt is None:
        look.release()
        return Result("deleted")
    return look.close(halt)


def _take_down(look: Look, source: DataSource) -> Halt | None:
    services, view = look.services, view_of(look.services)
    key = Key("Pipeline", source.namespace, source.name)
    child = services.kube.get(key)
    if child is not None and is_child(child, source):
        return _let_child_go(look, child)
    if abandoned(look) or not look.entries:
        return None
    platform = platform_for_deletion(view, look, source.spec.platform)
    return take_down(
        look,
        services.worlds.of(platform),
        owner_of(services.options.cluster, look.obj),
        blueprints.known_resources(services, view, platform, look.obj),
        source.spec.deletion_policy != "Delete",
        deletion_time(look),
    )


def _let_child_go(look: Look, child: Object) -> Halt:
    """Delete the managed Pipeline, and say what it waits for in its turn."""
    kube, key = look.services.kube, Key.of(child)
    if is_abandoned(look.obj) and not is_abandoned(child):
        meta = child["metadata"]
        marks = {**(meta.get("annotations") or {}), ABANDON: "true"}
        child = kube.replace({**child, "metadata": {**meta, "annotations": marks}})
        look.services.saved(child)
    if not is_deleting(child):
        kube.delete(child)
        return Halt("DeletingPipeline", f"waits until the managed {key} is gone", after=SOON)
    why = find(child.get("status") or {}, "Ready") or {}
    held = f": {why['reason']}: {why.get('message', '')}" if why.get("status") == "False" else ""
    return Halt("DeletingPipeline", f"waits until the managed {key} is gone{held}", after=SOON)
