"""A Pipeline, step by step."""

from __future__ import annotations

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.platform import Platform
from weir.blueprint.platform import bucket_names
from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.claims import lost_claims
from weir.reconcile.guards import check_account
from weir.reconcile.look import Halt, Look
from weir.reconcile.moves import take_over
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
from weir.reconcile.view import View, parse


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a Pipeline."""
    look = Look(services, obj)
    pipeline = parse(Pipeline, obj)
    if is_deleting(obj):
        return _delete(look, pipeline)
    stopped = paused(look)
    if stopped is not None:
        return stopped
    try:
        halt = _converge(look, pipeline)
    except Halt as found:
        halt = found
    if look.flowing is None:
        not_flowing_yet(look)
    if pipeline.spec.suspend:
        look.suspended = "suspend is set: no run starts"
    return look.close(halt)


def _converge(look: Look, pipeline: Pipeline) -> Halt | None:
    services, view = look.services, view_of(look.services)
    platform, platform_obj = need_platform(view, pipeline.spec.platform)
    sources = need_sources(view, pipeline)
    check_handover(look.obj, pipeline, sources)
    check_claims(services, view, platform, look.obj)
    context = blueprints.context_of(services, view, platform, platform_obj, pipeline.namespace)
    check_account(look, platform, platform_obj)
    world = services.worlds.of(platform)
    take_over(look, view, context, world)
    wanted = blueprints.pipeline_wanted(context, pipeline, sources, look.obj)
    halt = converge(look, world, wanted, lambda one: context.grant.may_adopt(one.name))
    schedule = pipeline.spec.trigger.schedule if pipeline.spec.trigger else None
    follow_runs(
        look,
        services.books.of(platform.name).last(look.key),
        schedule.expression if schedule else None,
        schedule.timezone if schedule else "UTC",
        pipeline.spec.suspend,
    )
    look.status["links"] = blueprints.links(context, wanted.resources)
    return halt


def need_sources(view: View, pipeline: Pipeline) -> dict[str, DataSource]:
    """The sources that a Pipeline names, which must all be there and on its Platform."""
    names = [ref.name for ref in pipeline.spec.sources]
    found = view.sources(pipeline.namespace, names)
    missing = [name for name in names if name not in found]
    if missing:
        raise Halt(
            "SourceNotFound",
            f"there is no DataSource {', '.join(missing)} in namespace {pipeline.namespace}: "
            "create it, or correct spec.sources",
        )
    other = [name for name, one in found.items() if one.spec.platform != pipeline.spec.platform]
    if other:
        raise Halt(
            "OtherPlatform",
            f"DataSource {', '.join(other)} is on another Platform than this Pipeline "
            f"({pipeline.spec.platform}): a Pipeline reads sources of its own Platform",
            stalled=True,
        )
    return found


def check_handover(obj: Object, pipeline: Pipeline, sources: dict[str, DataSource]) -> None:
    """A source with a managed child is driven by that child alone."""
    owners = {one.get("uid") for one in obj["metadata"].get("ownerReferences") or []}
    for name in blueprints.primaries_of(pipeline):
        source = sources[name]
        if source.uid not in owners and blueprints.child_of(source) is not None:
            raise Halt(
                "Conflict",
                f"DataSource {name} has a managed Pipeline of its own. To hand over, set "
                "pipeline: {managed: false} on it: the managed one goes, and this one takes its "
                "place; cursor and ledger stay with the source. Or name another source as primary: "
                "joining this one is fine",
                stalled=True,
            )


def check_claims(services: Services, view: View, platform: Platform, obj: Object) -> None:
    """Refuse what an older Pipeline holds."""
    sources = {Key.of(one): one for one in view.of_kind("DataSource")}
    buckets = bucket_names(platform, services.options.cluster)
    lost = lost_claims(obj, view.users(platform.name), sources, buckets)
    if lost:
        claim, holder = lost[0]
        raise Halt(
            "Conflict",
            f"{claim.what} {claim.place} belongs to {holder}, which claimed it first: write "
            "elsewhere, or delete that one",
            stalled=True,
        )


def _delete(look: Look, pipeline: Pipeline) -> Result:
    if abandoned(look):
        return Result("deleted")
    try:
        halt = _take_down(look, pipeline)
    except Halt as found:
        halt = found
    if halt is None:
        look.release()
        return Result("deleted")
    return look.close(halt)


def _take_down(look: Look, pipeline: Pipeline) -> Halt | None:
    if not look.entries:
        return None
    services, view = look.services, view_of(look.services)
    platform = platform_for_deletion(view, look, pipeline.spec.platform)
    policy = deletion_policy(view, look.obj)
    return take_down(
        look,
        services.worlds.of(platform),
        owner_of(services.options.cluster, look.obj),
        blueprints.known_resources(services, view, platform, look.obj),
        policy != "Delete",
        deletion_time(look),
    )


def deletion_policy(view: View, obj: Object) -> str:
    """The deletion policy: a managed Pipeline has its source's."""
    for one in obj["metadata"].get("ownerReferences") or []:
        source = view.get(Key("DataSource", obj["metadata"]["namespace"], one["name"]))
        if source is not None and source["metadata"]["uid"] == one.get("uid"):
            return str(source["spec"].get("deletionPolicy", "Retain"))
    return "Retain"
