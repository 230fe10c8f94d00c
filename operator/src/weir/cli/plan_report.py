"""What there is to say of a plan, whatever it is printed as."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.cli.effects import Disturbance, cost, disturbance, stands
from weir.cli.permissions import Growth, grown
from weir.cli.plan import Planned
from weir.reconcile.plan import Action, Verb, shown
from weir.resource import Change

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
COUNTED = tuple(verb for verb in WORDS if verb is not Verb.NONE)
DONE = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.DELETE, Verb.ADOPT, Verb.RETAIN})
"""What is counted as *to do*."""
ITEM_LIMIT = 400
"""Characters of one value that are shown."""
NO_CHANGES = "No changes: AWS is as it should be."


@dataclass(frozen=True)
class Told:
    """One action and what else it does."""

    action: Action
    permissions: tuple[Growth, ...]
    disturbs: Disturbance | None
    running: int | None
    costs: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """Whether runs may end by it: unless it is known that none is under way."""
        return self.disturbs is not None and self.disturbs.stops and self.running != 0

    @property
    def interrupts(self) -> str:
        """What it does to runs, with how many run now; empty for nothing."""
        if self.disturbs is None:
            return ""
        now = ""
        if self.disturbs.stops and self.running is not None:
            count = self.running or "no"
            now = f" ({count} execution{'' if count == 1 else 's'} now)"
        return self.disturbs.what + now


@dataclass(frozen=True)
class Reported:
    """One object of the plan, with its actions but for those that do nothing."""

    planned: Planned
    told: tuple[Told, ...]

    @property
    def title(self) -> str:
        """``DataSource sales/customers``, with what is special about it."""
        one = self.planned
        marks = [] if one.asked else ["not in the files"]
        marks += ["is deleted"] if one.goes else []
        return f"{one.key} ({', '.join(marks)})" if marks else str(one.key)

    @property
    def counts(self) -> str:
        """``1 to create, 5 unchanged``."""
        plan = self.planned.plan
        counted = Counter(action.verb for action in plan.actions) if plan else Counter()
        return _counted(counted, tuple(WORDS)) or "nothing is wanted and nothing is there"


@dataclass(frozen=True)
class Summary:
    """A plan in figures."""

    verbs: Counter[Verb]
    loses_data: int
    interrupts: int
    permissions: int
    standing: Counter[str]
    """Kind that costs by being there -> how many more."""
    failed: int

    def __str__(self) -> str:
        parts = [_counted(self.verbs, COUNTED)] if _counted(self.verbs, COUNTED) else []
        if self.loses_data:
            parts.append(f"{self.loses_data} LOSE DATA")
        if self.interrupts:
            parts.append(f"{self.interrupts} may interrupt runs")
        if self.permissions:
            parts.append(f"{self.permissions} new permissions")
        standing = [f"{n:+d} {kind}" for kind, n in sorted(self.standing.items()) if n]
        if standing:
            parts.append(f"standing cost of {', '.join(standing)}")
        if self.failed:
            parts.append(f"{self.failed} object(s) cannot be planned")
        return f"Plan: {'; '.join(parts)}." if parts else NO_CHANGES


def report(results: Iterable[Planned]) -> tuple[Reported, ...]:
    """The objects that people want to see, in the order of the results."""
    return tuple(
        Reported(
            one,
            tuple(
                Told(action, grown(action), disturbance(action), one.running, cost(action))
                for action in (one.plan.actions if one.plan else ())
                if action.verb is not Verb.NONE
            ),
        )
        for one in results
        if one.shown
    )


def summary(reports: Sequence[Reported]) -> Summary:
    """All objects in figures."""
    told = [line for one in reports for line in one.told]
    standing: Counter[str] = Counter()
    for line in told:
        if stands(line.action):
            standing[line.action.kind] += 1 if line.action.verb is Verb.CREATE else -1
    return Summary(
        verbs=Counter(line.action.verb for line in told),
        loses_data=sum(line.action.loses_data for line in told),
        interrupts=sum(line.stops for line in told),
        permissions=sum(len(line.permissions) for line in told),
        standing=standing,
        failed=sum(one.planned.plan is None for one in reports),
    )


def exit_code(results: Iterable[Planned]) -> int:
    """0 without changes, 2 with changes, 1 where something can't be planned."""
    found = list(results)
    if any(one.plan is None for one in found):
        return 1
    return 2 if any(one.plan and one.plan.has_changes for one in found) else 0


def changes(action: Action) -> tuple[Change, ...]:
    """Every property and tag that differs."""
    return (*action.changes, *action.tag_changes)


def differences(action: Action) -> list[Change]:
    """The same for people: of lists of alike items (a dashboard's widgets), and of what is in them, only
    what differs, with its place."""
    return [one for change in changes(action) for one in _narrowed(change)]


def _narrowed(change: Change) -> Iterator[Change]:
    before, after = change.before, change.after
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield from _narrowed(
                    Change(f"{change.path}.{name}", before.get(name), after.get(name))
                )
    elif isinstance(before, list) and isinstance(after, list) and _alike(before, after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                yield from _narrowed(Change(f"{change.path}[{place}]", old, new))
    else:
        yield change


def _alike(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Whether items at the same place are the same thing, somewhat changed."""
    return len(before) == len(after) and all(
        old == new
        or (
            isinstance(old, Mapping)
            and isinstance(new, Mapping)
            and 2 * sum(name in new and old[name] == new[name] for name in old) >= len({*old, *new})
        )
        for old, new in zip(before, after, strict=True)
    )


def parts(change: Change) -> tuple[list[str], list[str]]:
    """What goes and what comes. Of lists only the items that differ: the others say nothing."""
    before, after = change.before, change.after
    if isinstance(before, list) and isinstance(after, list):
        gone = [shown(item, ITEM_LIMIT) for item in before if item not in after]
        new = [shown(item, ITEM_LIMIT) for item in after if item not in before]
        if gone or new:
            return gone, new
    return [shown(before, ITEM_LIMIT)], [shown(after, ITEM_LIMIT)]


def _counted(counts: Counter[Verb], verbs: Iterable[Verb]) -> str:
    return ", ".join(
        f"{counts[verb]} {'to ' if verb in DONE else ''}{WORDS[verb]}"
        for verb in verbs
        if counts[verb]
    )
