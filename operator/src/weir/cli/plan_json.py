"""A plan for scripts. docs/plan.md and docs/plan.schema.json say what each field means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weir.cli.permissions import Growth
from weir.cli.plan import Planned
from weir.cli.plan_report import (
    COUNTED,
    Reported,
    Summary,
    Told,
    changes,
    exit_code,
    report,
    summary,
)
from weir.reconcile.plan import Action, Verb, shown

SCHEMA = "weir.dev/plan/v1"
"""Fields may be added under this name; one that goes or means something else gives it another."""
VALUE_LIMIT = 2000
"""Characters of one value."""


def as_json(results: Sequence[Planned]) -> dict[str, Any]:
    """The plan as plain JSON values. ``changes`` and ``failed`` are what the exit code says."""
    reports = report(results)
    return {
        "schema": SCHEMA,
        "changes": exit_code(results) == 2
        or any(one.plan is not None and one.plan.has_changes for one in results),
        "failed": any(one.plan is None for one in results),
        "summary": _summary(summary(reports)),
        "objects": [_object(one) for one in reports],
    }


def _summary(found: Summary) -> dict[str, int]:
    return {
        **{verb.value: found.verbs[verb] for verb in COUNTED},
        "losesData": found.loses_data,
        "interrupts": found.interrupts,
        "permissions": found.permissions,
        "failed": found.failed,
    }


def _object(one: Reported) -> dict[str, Any]:
    found = one.planned
    head = {
        "kind": found.key.kind,
        "namespace": found.key.namespace,
        "name": found.key.name,
        "inFiles": found.asked,
        "operation": "delete" if found.goes else "apply",
        "notes": list(found.notes),
    }
    if found.plan is None:
        error = {"reason": found.reason, "message": found.message}
        return {**head, "changes": False, "error": error, "actions": []}
    told = {id(line.action): line for line in one.told}
    return {
        **head,
        "changes": found.plan.has_changes,
        "actions": [_action(action, told.get(id(action))) for action in found.plan.actions],
    }


def _action(action: Action, told: Told | None) -> dict[str, Any]:
    return {
        "action": action.verb.value,
        "kind": action.kind,
        "id": action.logical_id,
        "name": action.name,
        "reason": action.reason,
        "losesData": action.loses_data,
        "changes": [
            {
                "path": change.path,
                "before": _value(change.before),
                "after": _value(change.after),
            }
            for change in changes(action)
        ]
        if action.verb is not Verb.NONE
        else [],
        "interrupts": _disturbance(told),
        "permissions": [_growth(one) for one in told.permissions] if told else [],
        "costs": list(told.costs) if told else [],
    }


def _value(value: Any) -> str | None:
    return None if value is None else shown(value, VALUE_LIMIT)


def _disturbance(told: Told | None) -> dict[str, Any] | None:
    if told is None or told.disturbs is None:
        return None
    return {
        "what": told.disturbs.what,
        "stops": told.disturbs.stops,
        "running": told.running if told.disturbs.stops else None,
    }


def _growth(one: Growth) -> dict[str, Any]:
    return {
        "document": one.document,
        "why": one.why,
        "actions": list(one.actions),
        "resources": list(one.resources),
        "principals": list(one.principals),
        "condition": one.condition,
        "text": str(one),
    }
