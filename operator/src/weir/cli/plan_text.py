"""A plan for people at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from weir.cli.plan_report import SIGNS, WORDS, Reported, Told, differences, parts, summary
from weir.resource import titled

COLOURS = {
    "+": "32",
    "~": "33",
    "±": "31",
    "-": "31",
    "^": "36",
    "!": "31",
    "?": "31",
    "o": "36",
}
"""A line's sign -> its colour (ECMA-48, "Select graphic rendition")."""
ACTION = re.compile(r"^  ([-+~±^!?o]) ")
ALARM = re.compile(r"DATA IS LOST|LOSE DATA|cannot be planned")


def text(reports: Sequence[Reported], colour: bool = False) -> str:
    """Each object with what happens to it and what else that does, and a summary.

    Parameters
    ----------
    colour
        Whether a terminal shows it.
    """
    blocks = ["\n".join(_object(one)) for one in reports]
    lines = "\n\n".join([*blocks, str(summary(reports))])
    return "\n".join(map(_coloured, lines.split("\n"))) if colour else lines


def _object(one: Reported) -> Iterator[str]:
    yield one.title
    found = one.planned
    if found.plan is None:
        yield f"  cannot be planned: {found.reason}: {found.message}"
    else:
        for line in one.told:
            yield from _action(line)
        yield f"  {one.counts}"
    for note in found.notes:
        yield f"  note: {note}"


def _action(line: Told) -> Iterator[str]:
    action = line.action
    reason = f"  ({action.reason})" if action.reason else ""
    loss = "  DATA IS LOST" if action.loses_data else ""
    yield f"  {SIGNS[action.verb]} {titled(action.kind, action.name)}: {WORDS[action.verb]}{reason}{loss}"
    for change in differences(action):
        gone, new = parts(change)
        if isinstance(change.before, list) and isinstance(change.after, list):
            yield f"      {change.path}:"
            yield from (f"        - {item}" for item in gone)
            yield from (f"        + {item}" for item in new)
        else:
            yield f"      {change.path}: {gone[0]} -> {new[0]}"
    if line.interrupts:
        yield f"      runs: {line.interrupts}"
    for growth in line.permissions:
        yield f"      gains {growth.document}: {growth}"
    for cost in line.costs:
        yield f"      cost: {cost}"


def _coloured(line: str) -> str:
    if ALARM.search(line):
        return f"\x1b[1;31m{line}\x1b[0m"
    found = ACTION.match(line)
    if found:
        return f"\x1b[{COLOURS[found[1]]}m{line}\x1b[0m"
    if line and not line.startswith(" "):
        return f"\x1b[1m{line}\x1b[0m"
    return line
