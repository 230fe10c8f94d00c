"""A Platform, step by step."""

from __future__ import annotations

from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AwsError
from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import converge, deletion_time, owner_of, paused, take_down, view_of
from weir.reconcile.view import parse

SHOWN_USERS = 5


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a Platform."""
    look = Look(services, obj)
    platform = parse(Platform, obj)
    stopped = None if is_deleting(obj) else paused(look)
    if stopped is not None:
        return stopped
    try:
        halt = _take_down(look, platform) if is_deleting(obj) else _converge(look, platform)
    except Halt as found:
        halt = found
    if halt is None and is_deleting(obj):
        look.release()
        services.worlds.forget(platform.name)
        return Result("deleted")
    return look.close(halt)


def _verify(services: Services, platform: Platform) -> None:
    """Refuse to act in another account than the one that is meant."""
    try:
        services.worlds.of(platform).session.verify_account()
    except AwsError as error:
        raise halt_of([error]) from error


def _converge(look: Look, platform: Platform) -> Halt | None:
    services, view = look.services, view_of(look.services)
    _verify(services, platform)
    world = services.worlds.of(platform)
    look.status["accountId"] = world.session.account_id
    users = view.users(platform.name)
    look.status["users"] = len(users)
    context = blueprints.context_of(services, view, platform, look.obj, "")
    wanted = blueprints.platform_wanted(context, look.obj)
    halt = converge(look, world, wanted, adopt_granted=True)
    look.status["links"] = blueprints.links(context, wanted.resources)
    return halt


def _take_down(look: Look, platform: Platform) -> Halt | None:
    services, view = look.services, view_of(look.services)
    users = view.users(platform.name)
    if users:
        names = ", ".join(str(Key.of(one)) for one in users[:SHOWN_USERS])
        more = f" and {len(users) - SHOWN_USERS} more" if len(users) > SHOWN_USERS else ""
        look.status["users"] = len(users)
        return Halt("InUse", f"still used by {names}{more}: the Platform goes when they are gone")
    if not look.entries:
        return None
    _verify(services, platform)
    return take_down(
        look,
        services.worlds.of(platform),
        owner_of(services.options.cluster, look.obj),
        blueprints.known_resources(services, view, platform, look.obj),
        platform.spec.deletion_policy != "Delete",
        deletion_time(look),
    )
