"""A DataSchema: sound or not, and who uses it. It has nothing on AWS."""

from __future__ import annotations

from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint.check import schema_problems
from weir.kube.client import Object
from weir.kube.conditions import READY, STALLED, Condition, false, find, merged, true
from weir.kube.keys import RECONCILE_AT, Key, annotation, is_deleting
from weir.reconcile.runs import to_the_second
from weir.reconcile.services import Result, Services
from weir.reconcile.view import parse

SHOWN_USERS = 20
"""Names in ``status.usedBy``; ``status.users`` counts all."""
TOLD_PROBLEMS = 10
"""Problems that the condition names."""


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a DataSchema."""
    key = Key.of(obj)
    if is_deleting(obj):
        # There is no finalizer of ours: its users say on themselves that it is gone.
        return Result("deleted")
    schema = parse(DataSchema, obj)
    problems = [str(problem) for problem in schema_problems(schema)]
    users = [one.name for one in services.store.dependents(key) if one.kind == "DataSource"]
    before = obj.get("status") or {}
    generation = int(obj["metadata"].get("generation", 0))
    status = {
        **before,
        "conditions": merged(
            before.get("conditions") or [],
            _conditions(schema, problems, users),
            generation,
            to_the_second(services.now()),
        ),
        "observedGeneration": generation,
        "users": len(users),
        "usedBy": users[:SHOWN_USERS],
    }
    asked = annotation(obj, RECONCILE_AT)
    if asked is not None:
        status["reconcileAt"] = asked
    if status != before:
        services.saved(services.kube.put_status(obj, status))
        _tell(services, obj, before, status)
    return Result("invalid" if problems else "converged")


def _conditions(schema: DataSchema, problems: list[str], users: list[str]) -> list[Condition]:
    if problems:
        told = "; ".join(problems[:TOLD_PROBLEMS])
        if len(problems) > TOLD_PROBLEMS:
            told += f"; and {len(problems) - TOLD_PROBLEMS} more"
        waiting = f". {_count(users)} not built before it is mended" if users else ""
        return [
            false(READY, "Invalid", told + waiting),
            true(STALLED, "Invalid", told + waiting),
        ]
    columns = len({field.name for field in schema.spec.fields} | set(schema.spec.mapping))
    used = f"used by {_count(users)}" if users else "not used yet"
    return [true(READY, "Ready", f"{columns} column{'' if columns == 1 else 's'}, {used}")]


def _count(users: list[str]) -> str:
    return f"{len(users)} DataSource{'' if len(users) == 1 else 's'}"


def _tell(services: Services, obj: Object, before: Object, status: Object) -> None:
    """An event where the schema became sound, became unsound, or is unsound in another way."""
    former, now = find(before, READY) or {}, find(status, READY) or {}
    if now["status"] == "False" and now["message"] != former.get("message"):
        services.events.warn(obj, now["reason"], now["message"])
    elif now["status"] == "True" and former.get("status") != "True":
        services.events.say(obj, now["reason"], now["message"])
