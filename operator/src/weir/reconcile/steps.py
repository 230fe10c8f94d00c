"""Steps that several kinds take."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AwsError
from weir.kube.client import Object
from weir.kube.conditions import FLOWING, is_current, unknown
from weir.kube.keys import ABANDON, Key, is_abandoned, is_paused, may_adopt
from weir.reconcile.apply import NOT_OURS, Applied, Entry
from weir.reconcile.guards import check_account, data_halt, gone_data, tell_left, withheld
from weir.reconcile.inventory import COSTLY
from weir.reconcile.look import SOON, Halt, Look, halt_of
from weir.reconcile.runs import deadline, flowing, instant, run_status, to_the_second
from weir.reconcile.services import Result, Services
from weir.reconcile.view import View, parse
from weir.reconcile.world import World
from weir.resource import Owner, Resource
from weir_contract.runs import RunRecord

TRIGGERS = frozenset(
    {"scheduler.Schedule", "events.Rule", "lambda.EventSourceMapping", "dynamodb.Item"}
)
"""What starts executions: goes first when something is deleted."""
MACHINE = "states.StateMachine"


@dataclass(frozen=True)
class Wanted:
    """What an object wants on AWS. ``tags`` are the owner's and the Platform's."""

    owner: Owner
    resources: Sequence[Resource]
    tags: Mapping[str, str]


def owner_of(cluster: str, obj: Object) -> Owner:
    """Whom an object's AWS resources belong to."""
    meta = obj["metadata"]
    return Owner(cluster, obj["kind"], meta.get("namespace", ""), meta["name"], meta.get("uid", ""))


def view_of(services: Services) -> View:
    """The objects of the cluster, as the watches have them."""
    store = services.store
    return View(store.get, store.of_kind, store.memo, store.of_spec, store.of_sight)


def paused(look: Look) -> Result | None:
    """Where the object says ``weir.dev/paused: "true"``, say so and do nothing else."""
    if not is_paused(look.obj):
        return None
    look.suspended = (
        "the annotation weir.dev/paused is set: AWS is neither looked at nor changed, and what was "
        "edited since waits; take the annotation off to go on"
    )
    if is_current(look.obj, "Ready"):
        return look.close(None)
    return look.close(Halt("Paused", look.suspended))


def need_platform(view: View, name: str) -> tuple[Platform, Object]:
    """The object's Platform, which must be there and have been looked at once."""
    found = view.platform(name)
    if found is None:
        raise Halt(
            "PlatformNotFound",
            f"there is no Platform {name}: create it, or set platform to one that exists",
        )
    if not (found[1].get("status") or {}).get("resources"):
        raise Halt("PlatformNotReady", f"Platform {name} is not ready yet: see its conditions")
    return found


def platform_entries(obj: Object) -> dict[str, Entry]:
    """A Platform's AWS resources by logical id."""
    lines = (obj.get("status") or {}).get("resources") or []
    return {line["id"]: Entry.from_status(line) for line in lines}


def converge(
    look: Look, world: World, wanted: Wanted, may_take: Callable[[Resource], bool]
) -> Halt | None:
    """Bring AWS to what the object wants. Returns why it is not there yet, or None.

    Parameters
    ----------
    may_take
        Whether the Platform lets the object take over a resource that was there before; asked
        where the object says ``weir.dev/adopt``.
    """
    look.hold()
    mark = _fingerprint(wanted)
    look.same_wish = look.services.wishes.get(look.key) == mark
    anew = look.forced and look.begins()
    if look.is_asked:
        for resource in wanted.resources:
            if anew or (resource.kind in COSTLY and not look.forced):
                world.inventory.drop(*resource.key)
    asks = may_adopt(look.obj)
    keys = [resource.key for resource in wanted.resources]
    if look.key.kind != "Platform" and not world.inventory.knows(keys):
        platform = str(look.obj["spec"].get("platform", "default"))
        look.services.forecast(look.services, platform, look.obj, world.inventory.expect)
    world.inventory.own(look.key, keys)
    try:
        gone = gone_data(look, world, wanted.resources)
        result = world.applier.apply(
            wanted.owner,
            withheld(wanted.resources, {one.key for one in gone}),
            wanted.tags,
            look.entries,
            adopt=lambda resource: asks and may_take(resource),
            write_ahead=look.write_ahead,
        )
    except AwsError as error:
        return halt_of([error])
    look.services.wishes[look.key] = mark
    halt = look.applied(result)
    return data_halt(gone) if gone else halt


def _fingerprint(wanted: Wanted) -> str:
    """Stands for everything that is wanted, so that a change of ours is told from one of others."""
    parts = [(one.kind, one.name, one.properties) for one in wanted.resources]
    return hashlib.sha256(repr((parts, wanted.tags)).encode()).hexdigest()


def follow_runs(
    look: Look,
    record: RunRecord | None,
    schedule: str | None,
    timezone: str,
    suspended: bool,
) -> None:
    """``status.lastRun``, the condition Flowing, gauges and events, from the newest run."""
    if record is not None:
        before = look.status.get("lastRun") or {}
        look.status["lastRun"] = run_status(record)
        if record.state == "Succeeded":
            look.status["lastSuccessTime"] = record.finished or record.started
        _tell_run(look, before, record)
        started = instant(record.scheduled_time) or instant(record.started)
        ended = instant(record.finished)
        begun = instant(record.started)
        success = instant(look.status.get("lastSuccessTime"))
        look.services.metrics.ran(
            look.key,
            record,
            lag=(ended - started).total_seconds() if ended and started else 0.0,
            seconds=(ended - begun).total_seconds() if ended and begun else 0.0,
            success=success.timestamp() if success else 0.0,
        )
    created = instant(look.obj["metadata"].get("creationTimestamp"))
    if not suspended:
        look.due = deadline(
            schedule,
            timezone,
            instant(look.status.get("lastSuccessTime")) or created or look.services.now(),
        )
    look.flowing = flowing(
        look.status.get("lastRun"),
        look.status.get("lastSuccessTime"),
        created or look.services.now(),
        schedule,
        suspended,
        look.services.now(),
        timezone,
    )


def _tell_run(look: Look, before: Mapping[str, object], record: RunRecord) -> None:
    if before.get("run") == record.run and before.get("state") == record.state:
        return
    if record.state == "Failed":
        message = str(look.status["lastRun"].get("message") or f"run {record.run} failed")
        look.services.events.warn(look.obj, "RunFailed", message, "Run")
    elif record.state == "Succeeded" and before.get("state") == "Failed":
        look.services.events.say(
            look.obj, "RunRecovered", f"run {record.run} succeeded: {record.rows} rows", "Run"
        )


def not_flowing_yet(look: Look) -> None:
    """Flowing of an object whose data can't flow yet."""
    look.flowing = unknown(FLOWING, "NotReady", "data flows once the object is ready")


def take_down(
    look: Look,
    world: World,
    owner: Owner,
    resources: Sequence[Resource],
    keep_data: bool,
    deleted_at: datetime,
) -> Halt | None:
    """Take an object's AWS resources down: triggers, running executions, then the rest in reverse.

    Returns
    -------
    Halt or None
        What it waits for; None once nothing is left.
    """
    world.inventory.expect(entry.key for entry in look.entries)
    first = world.applier.delete(
        owner, look.entries, resources, keep_data, only=lambda entry: entry.kind in TRIGGERS
    )
    halt = _deleted(look, first)
    if halt is not None:
        return halt
    halt = _drain(look, world, deleted_at)
    if halt is not None:
        return halt
    rest = world.applier.delete(owner, look.entries, resources, keep_data)
    return _deleted(look, rest)


def _deleted(look: Look, result: Applied) -> Halt | None:
    look.tell(result.done)
    look.enter(result.entries)
    look.services.metrics.owns(look.key, result.entries)
    look.services.metrics.acted(result.done)
    if result.problems:
        return halt_of([problem.error for problem in result.problems])
    return None


def _drain(look: Look, world: World, deleted_at: datetime) -> Halt | None:
    """Wait for running executions, as long as the options allow."""
    running: list[str] = []
    for entry in look.entries:
        if entry.kind == MACHINE and entry.arn and entry.state not in NOT_OURS:
            running += world.ledger.running(entry.arn)
    if not running:
        return None
    waited = (look.services.now() - deleted_at).total_seconds()
    limit = look.services.options.drain_seconds
    if waited >= limit:
        look.services.events.warn(
            look.obj,
            "NotDrained",
            f"{len(running)} executions still ran after {limit:.0f} s and are given up: "
            + ", ".join(running[:3]),
            "Delete",
        )
        return None
    names = ", ".join(sorted(arn.rpartition(":")[2] for arn in running)[:3])
    end = to_the_second(deleted_at + timedelta(seconds=limit))
    return Halt(
        "Draining",
        f"waits for {len(running)} running executions ({names}), until {end} at most; stop them to "
        "have it go on at once",
        after=SOON,
    )


def deletion_time(look: Look) -> datetime:
    """When the object's deletion was asked for."""
    return instant(look.obj["metadata"].get("deletionTimestamp")) or look.services.now()


def platform_for_deletion(view: View, look: Look, name: str) -> Platform:
    """The Platform through which an object's resources are taken down.

    Raises
    ------
    Halt
        It is gone, or leads elsewhere by now.
    """
    obj = view.get(Key("Platform", "", name))
    if obj is None:
        raise Halt(
            "PlatformNotFound",
            f"Platform {name} is gone, so that {len(look.entries)} AWS resources can't be reached: "
            f'create it again, or annotate this object with {ABANDON}="true" to let it go and leave '
            "them on AWS as they are",
            stalled=True,
        )
    platform = parse(Platform, obj)
    check_account(look, platform, obj)
    return platform


def abandoned(look: Look) -> bool:
    """Let an object go whose deletion says ``weir.dev/abandon``: what it has on AWS stays as it is.

    The owner's tags stay too, so that the next object of the same name takes everything back.
    """
    if not is_abandoned(look.obj):
        return False
    mine = [entry for entry in look.entries if entry.state not in NOT_OURS]
    if mine:
        tell_left(look, mine, "abandoned")
    look.release()
    return True
