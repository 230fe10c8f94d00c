"""A plan for people and for scripts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from weir.reconcile.plan import Action, Plan, Verb, shown

SIGNS = {
    Verb.CREATE: "+",
    Verb.UPDATE: "~",
    Verb.REPLACE: "±",
    Verb.DELETE: "-",
    Verb.RETAIN: "o",
    Verb.ADOPT: "^",
    Verb.CONFLICT: "!",
    Verb.MISSING: "?",
    Verb.NONE: " ",
}

WORDS = {
    Verb.CREATE: "create",
    Verb.UPDATE: "update in place",
    Verb.REPLACE: "replace",
    Verb.DELETE: "delete",
    Verb.RETAIN: "keep, no longer managed",
    Verb.ADOPT: "adopt",
    Verb.CONFLICT: "conflict",
    Verb.MISSING: "missing",
    Verb.NONE: "unchanged",
}


def plan_lines(plan: Plan) -> list[str]:
    """The plan as lines of text: what changes, property by property, then a count."""
    lines = [str(plan.owner)]
    for action in plan.actions:
        if action.verb is not Verb.NONE:
            lines += _action_lines(action)
    counts = Counter(action.verb for action in plan.actions)
    parts = [f"{counts[verb]} to {WORDS[verb]}" for verb in WORDS if counts[verb] and verb in _TODO]
    parts += [
        f"{counts[verb]} {WORDS[verb]}" for verb in WORDS if counts[verb] and verb not in _TODO
    ]
    lines.append(", ".join(parts) if parts else "nothing is wanted and nothing is there")
    return lines


_TODO = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.DELETE, Verb.ADOPT})


def _action_lines(action: Action) -> list[str]:
    warning = "  DATA IS LOST" if action.loses_data else ""
    reason = f"  ({action.reason})" if action.reason else ""
    head = f"  {SIGNS[action.verb]} {action.kind} {action.name}: {WORDS[action.verb]}"
    lines = [head + reason + warning]
    for change in (*action.changes, *action.tag_changes):
        lines.append(f"      {change.path}: {shown(change.before)} -> {shown(change.after)}")
    return lines


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values."""
    return {
        "object": str(plan.owner),
        "changes": plan.has_changes,
        "actions": [
            {
                "action": action.verb.value,
                "kind": action.kind,
                "id": action.logical_id,
                "name": action.name,
                "losesData": action.loses_data,
                "reason": action.reason,
                "changes": [
                    {
                        "path": change.path,
                        "before": shown(change.before, 2000),
                        "after": shown(change.after, 2000),
                    }
                    for change in (*action.changes, *action.tag_changes)
                ],
            }
            for action in plan.actions
        ],
    }
