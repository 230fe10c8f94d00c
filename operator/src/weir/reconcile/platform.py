"""A Platform, step by step."""

from __future__ import annotations

import json
from collections.abc import Sequence

from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AccessDenied, AwsError
from weir.blueprint import tables
from weir.blueprint.facts import WarehouseFacts
from weir.kube.client import Object
from weir.kube.keys import SQL_DONE, Key, annotation, is_deleting
from weir.reconcile import keypolicy, manualsql, network
from weir.reconcile import wanted as blueprints
from weir.reconcile.apply import CONFLICTING, NOT_OURS, Entry
from weir.reconcile.guards import check_account
from weir.reconcile.headroom import follow_quotas
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.notices import prove
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import (
    abandoned,
    converge,
    deletion_time,
    owner_of,
    paused,
    take_down,
    view_of,
)
from weir.reconcile.view import parse
from weir.reconcile.world import World
from weir.resource import TAG_CLUSTER
from weir_contract.codec import digest

SHOWN_USERS = 5
SQL_SHOWN = 3400
"""Characters of SQL that a condition's message shows, in whole statements."""


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a Platform."""
    look = Look(services, obj)
    platform = parse(Platform, obj)
    if is_deleting(obj) and abandoned(look):
        services.worlds.forget(platform.name)
        return Result("deleted")
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
    check_account(look, platform, look.obj)
    _verify(services, platform)
    world = services.worlds.of(platform)
    look.status["accountId"] = world.session.account_id
    users = view.users(platform.name)
    look.status["users"] = len(users)
    context = blueprints.context_of(services, view, platform, look.obj, "")
    try:
        foreign = _foreign_schemas(look, world, context)
        owner = owner_of(services.options.cluster, look.obj)
        sight = network.sight_of(world, platform, context.facts, owner)
    except AwsError as error:
        return halt_of([error])
    network.need(sight)
    _tell_stranded(look, sight)
    wanted = blueprints.platform_wanted(context, look.obj, foreign, sight.served)
    receives = any(use.receives for use in blueprints.uses_of(context))
    shut_out = _key_fault(world, platform, services.options.cluster, receives)
    if shut_out is not None:
        return shut_out
    halt = converge(look, world, wanted, lambda _resource: True)
    look.enter([*look.entries, *foreign.values()])
    look.status["links"] = blueprints.links(context, wanted.resources)
    follow_quotas(look, world)
    if halt is None:
        halt = prove(look, world, platform, context.facts)
    return halt or _sql_by_hand(look, world, context)


def _foreign_schemas(look: Look, world: World, context: blueprints.Context) -> dict[str, Entry]:
    """Schemas that namespaces want and somebody else made, with the line that says so.

    A schema in which no role of ours has a privilege was not made by Weir. It is taken where a
    namespace that wants it was handed it by name, or may adopt it.
    """
    warehouse = context.facts.warehouse
    if warehouse is None or not warehouse.admin_secret_arn:
        return {}
    known = {one.key for one in look.entries if one.state not in NOT_OURS}
    found: dict[str, Entry] = {}
    for schema, adopters in blueprints.schema_users(context).items():
        name = tables.sql_name(warehouse, schema)
        key = ("redshift.Schema", name)
        if adopters or key in known:
            continue
        seen = world.inventory.get([key]).get(key)
        if seen is None or seen.properties.get("Roles"):
            continue
        found[schema] = Entry(key[0], blueprints.schema_id(schema), name, state=CONFLICTING)
        look.services.events.warn(
            look.obj,
            "ForeignSchema",
            f"schema {schema} was there before Weir and is not taken over: grant it by its name "
            "(grants[].redshift.schemas), or allow adopt for it",
            "Adopt",
        )
    return found


def _tell_stranded(look: Look, sight: network.Sight) -> None:
    """Functions and jobs that can't reach what they call wait until they time out, and don't say why."""
    if sight.stranded:
        look.services.events.warn(
            look.obj,
            "NoWayOut",
            "not every subnet of spec.network.subnetIds has a default route, and there is no endpoint "
            f"for {', '.join(sight.stranded)}, which functions or jobs in the VPC call: add them to "
            "spec.network.endpoints, or route the subnets through a NAT gateway",
            "Network",
        )


def _key_fault(world: World, platform: Platform, cluster: str, receives: bool) -> Halt | None:
    """Whom an adopted key's policy shuts out: nothing is built on such a key."""
    arn = platform.spec.kms.key_arn
    if arn is None:
        return None
    try:
        key = world.inventory.get([("kms.Key", arn)]).get(("kms.Key", arn))
    except AccessDenied as error:
        return Halt(
            "KeyNotReadable",
            f"{error} The operator's policy of docs/iam.md covers keys with the tag "
            f"{TAG_CLUSTER}={cluster}: tag the key {arn} (spec.kms.keyArn) so, or add this to its "
            f"policy for the operator's role: {json.dumps(error.statement, sort_keys=True)}",
            stalled=True,
        )
    except AwsError as error:
        return halt_of([error])
    if key is None:
        return Halt(
            "NotFound", f"there is no key {arn} (spec.kms.keyArn): correct the ARN, or create it"
        )
    document = key.properties.get("KeyPolicy") or {}
    spec = platform.spec
    lacking = keypolicy.missing(document, spec.account_id, spec.region, receives)
    if not lacking:
        return None
    world.inventory.drop("kms.Key", arn)  # The next look shall see what was mended.
    return Halt(
        "KeyPolicyIncomplete",
        f"the policy of the key {arn} (spec.kms.keyArn) does not allow what is needed, so that "
        f"logs, alarms or events would be lost: {'; '.join(map(str, lacking))}. Add these statements "
        "to the key's policy (Weir does not change a key that it did not make): "
        + keypolicy.statements(lacking),
        stalled=True,
    )


def _sql_by_hand(look: Look, world: World, context: blueprints.Context) -> Halt | None:
    """What an administrator has to run where the operator has no secret to run it with."""
    statements = blueprints.manual_sql(context)
    mark = digest({"statements": list(statements)})[:16]
    warehouse = context.facts.warehouse
    if not statements or warehouse is None:
        look.status.pop("sqlDone", None)
        return None
    if annotation(look.obj, SQL_DONE) == mark:
        return _sql_took_effect(look, world, context, warehouse, mark)
    shown: list[str] = []
    for statement in statements:
        if sum(map(len, shown)) + len(statement) > SQL_SHOWN:
            break
        shown.append(statement)
    left = len(statements) - len(shown)
    more = f" -- and {left} more, for further namespaces: use adminSecretArn" if left else ""
    return Halt(
        "ManualSqlNeeded",
        "spec.redshift names no adminSecretArn: an administrator of the warehouse runs this SQL and "
        f'then annotates the Platform with {SQL_DONE}="{mark}" (or give adminSecretArn): '
        + "; ".join(shown)
        + ";"
        + more,
        stalled=True,
        synced=True,
    )


def _sql_took_effect(
    look: Look,
    world: World,
    context: blueprints.Context,
    warehouse: WarehouseFacts,
    mark: str,
) -> Halt | None:
    """Look once whether what is said to be done is there."""
    if look.status.get("sqlDone") == mark and not look.forced:
        return None
    wanted = manualsql.expected(warehouse, blueprints.uses_of(context))
    try:
        absent = manualsql.lacking(world.session, warehouse, wanted)
    except manualsql.NotVisible as error:
        look.services.events.warn(
            look.obj,
            "SqlNotVerified",
            f"{SQL_DONE} is believed: the operator can't look whether the SQL took effect ({error})",
            "Verify",
        )
        absent = ()
    except AwsError as error:
        return halt_of([error])
    if not absent:
        look.status["sqlDone"] = mark
        return None
    return Halt(
        "ManualSqlNeeded",
        f"{SQL_DONE} says that the SQL was run, but database {warehouse.database} of "
        f"{warehouse.name} has no {', '.join(absent)}: run it there, and annotate the Platform with "
        "weir.dev/reconcile-at to have it looked at again. Take the annotation "
        f"{SQL_DONE} off to see the statements",
        stalled=True,
        synced=True,
    )


def in_use(users: Sequence[Object]) -> Halt:
    """Why a Platform does not go yet."""
    names = ", ".join(str(Key.of(one)) for one in users[:SHOWN_USERS])
    more = f" and {len(users) - SHOWN_USERS} more" if len(users) > SHOWN_USERS else ""
    return Halt("InUse", f"still used by {names}{more}: the Platform goes when they are gone")


def _take_down(look: Look, platform: Platform) -> Halt | None:
    services, view = look.services, view_of(look.services)
    users = view.users(platform.name)
    if users:
        look.status["users"] = len(users)
        return in_use(users)
    if not look.entries:
        return None
    check_account(look, platform, look.obj)
    _verify(services, platform)
    return take_down(
        look,
        services.worlds.of(platform),
        owner_of(services.options.cluster, look.obj),
        blueprints.known_resources(services, view, platform, look.obj),
        platform.spec.deletion_policy != "Delete",
        deletion_time(look),
    )
