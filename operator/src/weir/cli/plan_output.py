"""A plan of several objects as text, as JSON, and as Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from weir.cli.permissions import grown
from weir.cli.plan import Planned
from weir.reconcile.plan import Action, Verb, shown
from weir.reconcile.plan_text import SIGNS, WORDS, plan_json, plan_lines
from weir.resource import Change

COUNTED = tuple(verb for verb in WORDS if verb is not Verb.NONE)
ITEM_LIMIT = 400
"""Characters of one value that are shown."""
NO_CHANGES = "No changes: AWS is as the files say."


def exit_code(results: Iterable[Planned]) -> int:
    """0 without changes, 2 with changes, 1 where something can't be planned."""
    found = list(results)
    if any(one.plan is None for one in found):
        return 1
    return 2 if any(one.plan and one.plan.has_changes for one in found) else 0


def text(results: Sequence[Planned]) -> str:
    """For people: each object with what happens to it, the permissions that grow, and a count."""
    blocks = []
    for one in results:
        if not one.shown:
            continue
        lines = [_title(one)]
        if one.plan is None:
            lines.append(f"  cannot be planned: {one.reason}: {one.message}")
        else:
            told = [action for action in one.plan.actions if action.verb is not Verb.NONE]
            lines += [line for action in told for line in _action_lines(action)]
            # The last line of the engine's own text counts.
            lines.append(f"  {plan_lines(one.plan)[-1]}")
            lines += _permission_lines(one)
        if one.note:
            lines.append(f"  note: {one.note}")
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, summary(results)])


def as_json(results: Sequence[Planned]) -> dict[str, Any]:
    """For scripts. ``changes`` and ``failed`` are what the exit code says."""
    return {
        "changes": exit_code(results) == 2 or any(one.plan and one.plan.writes for one in results),
        "failed": any(one.plan is None for one in results),
        "objects": [_object_json(one) for one in results if one.shown],
    }


def markdown(results: Sequence[Planned]) -> str:
    """For a comment on a pull request."""
    parts = [f"**Weir plan.** {summary(results)}"]
    for one in results:
        if not one.shown:
            continue
        parts.append(f"### {_title(one)}")
        if one.note:
            parts.append(f"_{one.note}_")
        if one.plan is None:
            parts.append(f"**Cannot be planned**: {one.reason}: {_cell(one.message)}")
            continue
        told = [action for action in one.plan.actions if action.verb is not Verb.NONE]
        if not told:
            parts.append("Nothing changes.")
            continue
        rows = ["| | Resource | Name | Why |", "|---|---|---|---|"]
        rows += [_row(action) for action in told]
        parts.append("\n".join(rows))
        details = [line for action in told for line in _diff(action)]
        if details:
            parts.append("```diff\n" + "\n".join(details) + "\n```")
        permissions = _permission_lines(one)
        if permissions:
            body = "\n".join(line.strip() for line in permissions)
            parts.append(
                f"<details><summary>IAM permissions that grow</summary>\n\n```\n{body}\n```\n\n"
                "</details>"
            )
    return "\n\n".join(parts)


def summary(results: Sequence[Planned]) -> str:
    """One sentence over all objects."""
    failed = [one for one in results if one.plan is None]
    actions = [action for one in results if one.plan for action in one.plan.actions]
    counts = Counter(action.verb for action in actions)
    parts = [f"{counts[verb]} to {WORDS[verb]}" for verb in COUNTED if counts[verb]]
    losing = sum(action.loses_data for action in actions)
    if losing:
        parts.append(f"{losing} of them LOSE DATA")
    growing = sum(len(grown(action)) for action in actions)
    if growing:
        parts.append(f"{growing} new IAM permissions")
    if failed:
        parts.append(f"{len(failed)} object(s) cannot be planned")
    return f"Plan: {', '.join(parts)}." if parts else NO_CHANGES


def _title(one: Planned) -> str:
    return str(one.key) if one.asked else f"{one.key} (not in the files)"


def _permission_lines(one: Planned) -> list[str]:
    lines = []
    for action in one.plan.actions if one.plan else ():
        found = grown(action)
        if found:
            lines.append(f"  permissions that {action.kind} {action.name} gains:")
            lines += [f"      {permission}" for permission in found]
    return lines


def _object_json(one: Planned) -> dict[str, Any]:
    head = {
        "kind": one.key.kind,
        "namespace": one.key.namespace,
        "name": one.key.name,
        "inFiles": one.asked,
        "note": one.note,
    }
    if one.plan is None:
        return {**head, "error": {"reason": one.reason, "message": one.message}}
    body = plan_json(one.plan)
    for line, action in zip(body["actions"], one.plan.actions, strict=True):
        line["permissions"] = [str(permission) for permission in grown(action)]
    return {**head, **body}


def _row(action: Action) -> str:
    loss = " **DATA IS LOST**" if action.loses_data else ""
    word = WORDS[action.verb]
    return (
        f"| `{SIGNS[action.verb]}` {word}{loss} | {action.kind} | `{_cell(action.name)}` "
        f"| {_cell(action.reason)} |"
    )


def _action_lines(action: Action) -> list[str]:
    reason = f"  ({action.reason})" if action.reason else ""
    loss = "  DATA IS LOST" if action.loses_data else ""
    head = f"  {SIGNS[action.verb]} {action.kind} {action.name}: {WORDS[action.verb]}"
    lines = [head + reason + loss]
    for change in (*action.changes, *action.tag_changes):
        gone, new = parts(change)
        if isinstance(change.before, list) and isinstance(change.after, list):
            lines.append(f"      {change.path}:")
            lines += [f"        - {item}" for item in gone]
            lines += [f"        + {item}" for item in new]
        else:
            lines.append(f"      {change.path}: {gone[0]} -> {new[0]}")
    return lines


def parts(change: Change) -> tuple[list[str], list[str]]:
    """What goes and what comes. Of lists only the items that differ: the others say nothing."""
    before, after = change.before, change.after
    if isinstance(before, list) and isinstance(after, list):
        gone = [shown(item, ITEM_LIMIT) for item in before if item not in after]
        new = [shown(item, ITEM_LIMIT) for item in after if item not in before]
        if gone or new:
            return gone, new
    return [shown(before, ITEM_LIMIT)], [shown(after, ITEM_LIMIT)]


def _diff(action: Action) -> list[str]:
    changes = (*action.changes, *action.tag_changes)
    if not changes:
        return []
    lines = [f"  {action.kind} {action.name}"]
    for change in changes:
        gone, new = parts(change)
        lines += [f"- {change.path}: {item}" for item in gone]
        lines += [f"+ {change.path}: {item}" for item in new]
    return lines


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
