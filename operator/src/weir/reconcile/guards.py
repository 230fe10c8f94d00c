"""Is this still the account where an object's things are, and is the data still there?

Two worlds look alike to whoever only compares: one where somebody deleted a table by hand, and one
where the operator was pointed at another account. Both would be put right by making everything
anew, empty. So nothing is made anew before somebody has said so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import structlog

from weir.api.v1alpha1.platform import Platform
from weir.kube.client import Object
from weir.kube.keys import ACCOUNT, RECREATE, annotation, is_deleting, named
from weir.reconcile.apply import MISSING, NOT_OURS, READY, SETTLING, Entry
from weir.reconcile.look import Halt, Look
from weir.reconcile.plan import PhysicalKey
from weir.reconcile.world import World
from weir.resource import Resource, titled

log = structlog.get_logger("weir.ownership")

THERE = frozenset({READY, SETTLING})
"""States of what was seen on AWS."""
TOLD = 8
"""Resources that a message names."""
EMPTY = frozenset({"redshift.Claim", "redshift.Schema"})
"""Kinds that hold data only by what is in them: that has an entry of its own."""
MENDS: Mapping[str, str] = {
    "dynamodb.Table": "restore it under its name (aws dynamodb restore-table-to-point-in-time)",
    "kms.Key": "within its window: aws kms cancel-key-deletion, and create the alias again",
    "redshift.Table": "restore it from a snapshot, or load it again",
    "s3.Bucket": "create it again and bring its objects back",
}
"""Kind -> how its data comes back."""


def place_of(platform: Platform) -> str:
    """``account/region`` of a Platform."""
    return f"{platform.spec.account_id}/{platform.spec.region}"


def elsewhere(entries: Sequence[Entry], platform: Platform) -> list[Entry]:
    """Entries whose ARN says that they are in another account or region."""
    return [
        entry
        for entry in entries
        if entry.state not in NOT_OURS and _is_elsewhere(entry.arn, platform)
    ]


def _is_elsewhere(arn: str, platform: Platform) -> bool:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return False
    region, account = parts[3], parts[4]
    spec = platform.spec
    return account not in ("", spec.account_id) or region not in ("", spec.region)


def check_account(look: Look, platform: Platform, platform_obj: Object) -> None:
    """Nobody acts in one account on the strength of what stands in another.

    Where the object, or its Platform, is annotated with ``weir.dev/account`` of the new place, what
    is elsewhere is left there and no longer on the object.

    Raises
    ------
    Halt
        The object has resources elsewhere, and nobody has said which place is meant.
    """
    far = elsewhere(look.entries, platform)
    if not far:
        return
    place = place_of(platform)
    if place in (annotation(look.obj, ACCOUNT), annotation(platform_obj, ACCOUNT)):
        tell_left(look, far, f"the Platform is in {place} now")
        gone = {entry.key for entry in far}
        look.enter([entry for entry in look.entries if entry.key not in gone])
        return
    account, region = far[0].arn.split(":", 5)[4], far[0].arn.split(":", 5)[3]
    was = "/".join(part or "?" for part in (account, region))
    after = (
        "leave them there and let the object go"
        if is_deleting(look.obj)
        else "leave them there and build everything anew"
    )
    raise Halt(
        "AccountChanged",
        f"{len(far)} AWS resources of this object are in {was}, but Platform {platform.name} is in "
        f"{place} now: nothing was touched, here or there. Point the Platform back, or annotate the "
        f'Platform or this object with {ACCOUNT}="{place}" to {after}. They are {_listed(far)}',
        stalled=True,
    )


def tell_left(look: Look, entries: Sequence[Entry], why: str) -> None:
    """Say in an event and in the log what stays on AWS without an object that speaks of it."""
    lines = [titled(entry.kind, entry.arn or entry.name) for entry in entries]
    log.warning("left behind", kind=look.key.kind, object=look.key.id, why=why, resources=lines)
    look.services.events.warn(
        look.obj,
        "LeftBehind",
        f"{why}: {len(lines)} AWS resources stay as they are: {'; '.join(lines)}",
        "Release",
    )


def gone_data(look: Look, world: World, resources: Sequence[Resource]) -> list[Entry]:
    """What held data, was there, and is gone, so that only a person may have it made anew.

    Where everything of the object is gone, the account was emptied: there is nothing that an empty
    table could be taken for, and all is built again, with an event.
    """
    before = {entry.key: entry for entry in look.entries if entry.state in {*THERE, MISSING}}
    mine = [before[one.key] for one in resources if one.key in before and not one.external]
    traits, allowed = world.applier.traits, named(look.obj, RECREATE)
    holders = [one for one in mine if traits[one.kind].holds_data and one.kind not in EMPTY]
    data = _absent(world, holders)
    data = [one for one in data if one.id not in allowed and not _lives(world, one)]
    if data and len(_absent(world, mine)) == len(mine):
        look.services.events.warn(
            look.obj,
            "AccountEmptied",
            f"all {len(mine)} AWS resources of this object are gone: they are made anew, empty "
            f"({_listed(data)})",
            "Rebuild",
        )
        return []
    return data


def _absent(world: World, entries: Sequence[Entry]) -> list[Entry]:
    """Those that AWS does not have; what can't be looked at counts as there."""
    seen, unseen = world.inventory.see([one.key for one in entries])
    return [one for one in entries if one.key not in seen and one.kind not in unseen]


def _lives(world: World, entry: Entry) -> bool:
    """Whether only the alias of a key is gone: the key itself gets it back."""
    if entry.kind != "kms.Key" or not entry.arn:
        return False
    world.inventory.drop(entry.kind, entry.arn)
    return bool(world.inventory.get([(entry.kind, entry.arn)]))


def withheld(resources: Sequence[Resource], gone: Collection[PhysicalKey]) -> list[Resource]:
    """The wanted resources, of which those that are gone are waited for and not made."""
    return [replace(one, external=True) if one.key in gone else one for one in resources]


def data_halt(gone: Sequence[Entry]) -> Halt:
    """What is said of data that is gone."""
    ways = "; ".join(dict.fromkeys(MENDS[one.kind] for one in gone if one.kind in MENDS))
    ids = ",".join(one.id for one in gone)
    return Halt(
        "DataGone",
        f"{_listed(gone)} held data and {'is' if len(gone) == 1 else 'are'} gone, deleted by somebody "
        f"else: an empty one is not made silently. Bring the data back"
        f"{f' ({ways})' if ways else ''}, or annotate the object with "
        f'{RECREATE}="{ids}" to have it made anew, empty',
        stalled=True,
    )


def _listed(entries: Sequence[Entry]) -> str:
    shown = ", ".join(titled(*one.key) for one in entries[:TOLD])
    return shown + (f" and {len(entries) - TOLD} more" if len(entries) > TOLD else "")
