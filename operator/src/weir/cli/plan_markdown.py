"""A plan for a comment on a pull request, however large the plan is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from weir.cli.plan_report import (
    SIGNS,
    WORDS,
    Reported,
    Told,
    differences,
    parts,
    summary,
)
from weir.reconcile.plan import Verb
from weir.resource import spoken, titled

LIMIT = 65_000
"""Bytes: GitHub takes 65,536 characters a comment, and whoever posts it adds a few."""
TABLE_SHARE, WARNINGS_SHARE = 16_000, 16_000
"""Bytes that the table of objects and the warnings may take; the objects have the rest."""
MARKS = {"data": "🔴 loses data", "runs": "🟠 interrupts runs", "iam": "🔑 permissions grow"}
OMITTED = "_{} more: `weir plan -o text` has them all._"
COLUMNS = (
    ("create", (Verb.CREATE,)),
    ("update", (Verb.UPDATE, Verb.ADOPT)),
    ("replace", (Verb.REPLACE,)),
    ("delete", (Verb.DELETE,)),
    ("keep", (Verb.RETAIN,)),
    ("in the way", (Verb.CONFLICT, Verb.MISSING)),
)


def markdown(reports: Sequence[Reported]) -> str:
    """A summary, a table of objects, what to look at, and each object folded away.

    Returns
    -------
    str
        At most :data:`LIMIT` bytes of UTF-8; what does not fit is counted.
    """
    text = f"### Weir plan\n\n**{_escaped(str(summary(reports)))}**"
    if not reports:
        return text
    head = "| Object | " + " | ".join(name for name, _ in COLUMNS) + " | |"
    rule = "|---" * (len(COLUMNS) + 2) + "|"
    rows = _fitted(map(_row, reports), TABLE_SHARE)
    text += "\n\n" + "\n".join([head, rule, *rows[0]])
    if rows[1]:
        text += f"\n\n{OMITTED.format(f'{rows[1]} objects')}"
    warnings, left = _fitted(_warnings(reports), WARNINGS_SHARE)
    if warnings:
        text += "\n\n#### To look at\n\n" + "\n".join(warnings)
        text += f"\n- {OMITTED.format(left)}" if left else ""
    return _with_objects(text, reports)


def _with_objects(text: str, reports: Sequence[Reported]) -> str:
    """Each object in full while there is room, then in short, then counted."""
    reserve = len(OMITTED) + 40
    room = LIMIT - _size(text) - reserve
    left = 0
    for one in reports:
        if one.planned.plan is not None and not one.told and not one.planned.notes:
            continue
        for section in (_section(one, True), _section(one, False)):
            if _size(section) + 2 <= room:
                text += "\n\n" + section
                room -= _size(section) + 2
                break
        else:
            left += 1
    return f"{text}\n\n{OMITTED.format(f'{left} objects')}" if left else text


def _row(one: Reported) -> str:
    plan = one.planned.plan
    if plan is None:
        blank = " | ".join("" for _ in COLUMNS)
        return f"| {_cell(one.title)} | {blank} | ❌ {_cell(one.planned.reason)} |"
    counts = [sum(line.action.verb in verbs for line in one.told) for _, verbs in COLUMNS]
    marks = [MARKS[name] for name in MARKS if any(_marked(name, line) for line in one.told)]
    numbers = " | ".join(str(count or "") for count in counts)
    return f"| {_cell(one.title)} | {numbers} | {' '.join(marks)} |"


def _marked(name: str, line: Told) -> bool:
    return {
        "data": line.action.loses_data,
        "runs": line.stops,
        "iam": bool(line.permissions),
    }[name]


def _warnings(reports: Iterable[Reported]) -> Iterator[str]:
    """What nobody should miss, the worst first."""
    found = list(reports)
    for one in found:
        if one.planned.plan is None:
            why = f"{one.planned.reason}: {one.planned.message}"
            yield f"- ❌ {_code(str(one.planned.key))} cannot be planned: {_escaped(why)}"
    lines = [(one, line) for one in found for line in one.told]
    for one, line in lines:
        if line.action.loses_data:
            yield f"- {MARKS['data']}: {_what(line)} of {_code(str(one.planned.key))}"
    for _, line in lines:
        if line.action.verb in (Verb.CONFLICT, Verb.MISSING):
            yield f"- ❌ {_what(line)}: {_escaped(line.action.reason)}"
    for _, line in lines:
        if _marked("runs", line):
            yield f"- {MARKS['runs']}: {_what(line)}: {_escaped(line.interrupts)}"
    for _, line in lines:
        # What is new has permissions, of course; what was there and may do more is what matters.
        if line.permissions and line.action.verb is not Verb.CREATE:
            for growth in line.permissions:
                yield f"- {MARKS['iam']}: {_code(spoken(line.action.name))}: {_code(str(growth))}"


def _what(line: Told) -> str:
    action = line.action
    return f"{WORDS[action.verb]} {action.kind} {_code(spoken(action.name))}"


def _section(one: Reported, full: bool) -> str:
    planned = one.planned
    head = f"<details><summary>{_html(one.title)}: {_html(one.counts)}</summary>"
    if planned.plan is None:
        head = f"<details><summary>{_html(one.title)}: cannot be planned</summary>"
    body = [f"> {_escaped(note)}" for note in planned.notes]
    if planned.plan is None:
        body.append(f"**{_escaped(planned.reason)}**: {_escaped(planned.message)}")
    elif one.told:
        rows = ["| | Resource | Name | Why |", "|---|---|---|---|", *map(_action, one.told)]
        body.append("\n".join(rows))
    if full:
        lines = [text for line in one.told for text in _diff(line)]
        if lines:
            body.append(_fenced(lines, "diff"))
        gained = [
            f"{spoken(line.action.name)}: {growth}"
            for line in one.told
            for growth in line.permissions
        ]
        if gained:
            body.append("Permissions that grow:\n\n" + _fenced(gained, "text"))
        costs = [f"{spoken(line.action.name)}: {cost}" for line in one.told for cost in line.costs]
        if costs:
            body.append("Bears on the bill:\n\n" + _fenced(costs, "text"))
    elif one.told:
        body.append("_The properties that differ are left out for length._")
    return "\n\n".join([head, *body, "</details>"])


def _action(line: Told) -> str:
    action = line.action
    why = [action.reason] if action.reason else []
    why += [f"runs: {line.interrupts}"] if line.interrupts else []
    loss = " **DATA IS LOST**" if action.loses_data else ""
    return (
        f"| `{SIGNS[action.verb]}` {WORDS[action.verb]}{loss} | {action.kind} "
        f"| {_code(spoken(action.name), cell=True)} | {_cell('; '.join(why))} |"
    )


def _diff(line: Told) -> Iterator[str]:
    found = differences(line.action)
    if found:
        yield f"  {titled(line.action.kind, line.action.name)}"
    for change in found:
        gone, new = parts(change)
        yield from (f"- {change.path}: {item}" for item in gone)
        yield from (f"+ {change.path}: {item}" for item in new)


def _fitted(lines: Iterable[str], size: int) -> tuple[list[str], int]:
    """The first lines that fit, and how many do not."""
    found: list[str] = []
    left = 0
    for line in lines:
        size -= _size(line) + 1
        if size >= 0 and not left:
            found.append(line)
        else:
            left += 1
    return found, left


def _size(text: str) -> int:
    return len(text.encode())


def _fenced(lines: Sequence[str], language: str) -> str:
    """A code block whose fence no line of it ends (CommonMark, "Fenced code blocks")."""
    text = "\n".join(line.replace("\n", " ").replace("\r", " ") for line in lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(value: str, cell: bool = False) -> str:
    """A code span, also of a text with backticks (CommonMark, "Code spans")."""
    text = " ".join(value.split())
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    tick = "`" * (longest + 1)
    pad = " " if longest else ""
    text = text.replace("|", "\\|") if cell else text
    return f"{tick}{pad}{text}{pad}{tick}"


def _escaped(value: str) -> str:
    """Text that Markdown takes for nothing else: no tag, no link, no mention, no emphasis."""
    text = " ".join(_html(value).split())
    text = re.sub(r"([\\`*_\[\]#|~])", r"\\\1", text)
    return text.replace("@", "@\u200b")


def _cell(value: str) -> str:
    return _escaped(value)


def _html(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
