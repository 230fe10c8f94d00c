"""What ``weir status`` and ``weir run`` show: conditions and runs, from the objects alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from weir.resource import spoken

TROUBLE = frozenset({"Stalled", "Reconciling"})
"""Conditions of which True is the worse."""
FLOWS = frozenset({"DataSource", "Pipeline"})
"""Kinds through which data flows."""
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}


def condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of an object, or an Unknown one where it has none yet."""
    for found in item.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {"type": kind, "status": "Unknown", "reason": "Pending", "message": ""}


def summary(items: Sequence[Mapping[str, Any]]) -> Table:
    """One line an object: kind, name, Ready, Flowing, last run, rows, and the reason."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("Kind", "Name", "Ready", "Flowing", "Last run", "Rows", "Why"):
        table.add_column(name, overflow="fold")
    for item in items:
        ready, flowing = condition(item, "Ready"), condition(item, "Flowing")
        last = item.get("status", {}).get("lastRun") or {}
        flows = item["kind"] in FLOWS
        why = flowing if flows and ready["status"] == "True" else ready
        table.add_row(
            item["kind"],
            item["metadata"]["name"],
            _coloured(ready),
            _coloured(flowing) if flows else "",
            _run(last),
            "" if last.get("rows") is None else f"{last['rows']:,}",
            escape(f"{why['reason']}: {why['message']}" if why["message"] else why["reason"]),
        )
    return table


def details(item: Mapping[str, Any]) -> list[RenderableType]:
    """All there is to say of one object: where, conditions, AWS resources, last run."""
    status = item.get("status") or {}
    name = item["metadata"]["name"]
    namespace = item["metadata"].get("namespace")
    parts: list[RenderableType] = [
        f"[bold]{item['kind']} {namespace + '/' if namespace else ''}{name}[/]",
        _facts(item, status),
        "",
        _conditions(status),
    ]
    if status.get("resources"):
        parts += ["", _resources(status["resources"])]
    last = status.get("lastRun") or {}
    if last:
        parts += ["", _last_run(last)]
    if last.get("account"):
        parts.append(account(last))
    return parts


def _facts(item: Mapping[str, Any], status: Mapping[str, Any]) -> Table:
    spec = item.get("spec") or {}
    facts = {
        "Platform": spec.get("platform", "") if item["kind"] != "Platform" else "",
        "Account": status.get("accountId") or spec.get("accountId"),
        "Region": spec.get("region"),
        "Pipeline": status.get("pipeline") or spec.get("pipeline"),
        "Users": status.get("users"),
        "Started": status.get("started"),
        "Finished": status.get("finished"),
        **{f"Execution {n + 1}": arn for n, arn in enumerate(status.get("executions") or [])},
        "Last success": status.get("lastSuccessTime"),
        **{f"Console, {title}": link for title, link in (status.get("links") or {}).items()},
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, value in facts.items():
        if value not in (None, "") and not isinstance(value, dict):
            table.add_row(title, escape(str(value)))
    return table


def _conditions(status: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("Condition", "Status", "Since", "Reason", "Message"):
        table.add_column(name, overflow="fold")
    for one in status.get("conditions") or []:
        since = one.get("lastTransitionTime")
        table.add_row(
            one["type"],
            _coloured(one, bad_when_true=one["type"] in TROUBLE),
            age(since) if since else "",
            one["reason"],
            escape(one.get("message", "")),
        )
    return table


def _resources(lines: Sequence[Mapping[str, str]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("AWS resource", "Id", "State", "ARN or name"):
        table.add_column(name, overflow="fold")
    for line in lines:
        place = line.get("arn") or spoken(line["name"])
        table.add_row(line["kind"], line["id"], line.get("state", ""), escape(place))
    return table


def _last_run(last: Mapping[str, Any]) -> str:
    counts = [
        f"{last[name]:,} {name}" for name in ("rows", "quarantined") if last.get(name) is not None
    ]
    text = f"[bold]Last run[/] {escape(str(last['run']))}: {_run(last)}"
    text += f", {', '.join(counts)}" if counts else ""
    return text + (f"\n{escape(last['message'])}" if last.get("message") else "")


def account(run: Mapping[str, Any]) -> Table:
    """A run's account, a line a stage; all counts are rows."""
    columns = (
        "rowsIn",
        "rowsOut",
        "quarantined",
        "deduplicated",
        "filtered",
        "inserted",
        "updated",
        "stale",
        "deleted",
        "deletions",
    )
    stages = run.get("account") or []
    shown = [
        name
        for name in columns
        if name in {"rowsIn", "rowsOut"} or any(stage.get(name) for stage in stages)
    ]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("Stage")
    table.add_column("Kind")
    for name in shown:
        table.add_column(name, justify="right")
    for stage in stages:
        values = [stage.get(name) for name in shown]
        table.add_row(
            stage["stage"], stage["kind"], *("" if v is None else f"{v:,}" for v in values)
        )
    return table


def _coloured(found: Mapping[str, Any], bad_when_true: bool = False) -> str:
    status = found["status"]
    good = {"True": "False", "False": "True"}.get(status, status) if bad_when_true else status
    return f"[{COLOURS.get(good, 'white')}]{status}[/]"


def _run(last: Mapping[str, Any]) -> str:
    if not last:
        return "-"
    when = last.get("finished") or last.get("started")
    return f"{last.get('state', '')} {age(when)} ago" if when else str(last.get("state", ""))


def age(time: str) -> str:
    """How long ago a UTC time was: ``42s``, ``5m``, ``3h``, ``2d``."""
    then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
