"""What does an object take over from the one that it was moved from?

Names on AWS are made of the namespace and the name, and so is the partition in which a source's
progress stands. An object that comes to another namespace, or to another name, is built anew there;
the annotation ``weir.dev/moved-from`` lets it go on where the former one stood: at its cursor, with
its next sequence number, its frozen schema and its ledger. What the former object had stays as it
is, so that going back works the same way.
"""

from __future__ import annotations

from weir.api.v1alpha1.platform import Platform
from weir.blueprint.grants import namespace_grant
from weir.kube.keys import MOVED_FROM, Key, moved_from
from weir.reconcile.look import Halt, Look
from weir.reconcile.view import View
from weir.reconcile.wanted import Context
from weir.reconcile.world import World

MOVE = "move"
"""The word of ``grants[].allow``."""


def take_over(look: Look, view: View, context: Context, world: World) -> None:
    """Do what ``weir.dev/moved-from`` says, once; before anything is built.

    Raises
    ------
    Halt
        The former object is still there, a namespace is not granted to move, or landings of the
        former one wait for a pass.
    AwsError
        The state table can't be read or written.
    """
    former = pending(look)
    if former is None:
        return
    if view.get(former) is not None:
        raise Halt(
            "Moving",
            f"continues {former} (annotation {MOVED_FROM}) and waits until that is gone: delete it. "
            "Its cursor, ledger and data stay",
        )
    check_grants(look.key, former, context)
    check_drained(former, context, world)
    table = context.facts.state_table
    taken = world.ledger.continue_source(table, former.id, look.key.id) if _is_source(look) else 0
    look.status["movedFrom"] = former.id
    look.services.events.say(
        look.obj,
        "Moved",
        f"continues {former}: took over {taken} items of its progress (cursor, schema, ledger)"
        if taken
        else f"continues {former}, which had no progress to take over",
        "Move",
    )


def pending(look: Look) -> Key | None:
    """Whom an object is to go on from and has not done so yet."""
    former = moved_from(look.obj)
    done = former is None or former == look.key or look.status.get("movedFrom") == former.id
    return None if done else former


def check_drained(former: Key, context: Context, world: World) -> None:
    """Nothing that was landed for the former object waits for a pass.

    Raises
    ------
    Halt
        Landings wait.
    AwsError
        The state table can't be read.
    """
    waiting = world.ledger.waiting(context.facts.state_table, former.id)
    if waiting:
        raise Halt(
            "MoveNotDrained",
            f"{waiting} landings of {former.id} wait for a pass of Pipeline {former.id}, and nobody "
            f"would take them after the move. Apply {former.id} again, let it run, and move it then; "
            f"or take the annotation {MOVED_FROM} off to begin anew",
            stalled=True,
        )


def _is_source(look: Look) -> bool:
    return look.key.kind == "DataSource"


def check_grants(key: Key, former: Key, context: Context) -> None:
    """Within a namespace one may rename; between two, both must be granted ``move``.

    Raises
    ------
    Halt
        One of them is not.
    """
    if key.namespace == former.namespace:
        return
    for namespace in (former.namespace, key.namespace):
        if not _may_move(context.platform, namespace, context):
            raise Halt(
                "MoveNotGranted",
                f"continues {former}, but Platform {context.platform.name} does not let namespace "
                f"{namespace} move objects: its owner adds {MOVE} to grants[].allow of both "
                "namespaces, for as long as the move takes",
                stalled=True,
            )


def _may_move(platform: Platform, namespace: str, context: Context) -> bool:
    return MOVE in namespace_grant(platform, namespace, context.labels_of(namespace)).allow
