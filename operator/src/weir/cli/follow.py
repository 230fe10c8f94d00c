"""What ``weir status`` and ``weir run`` show: conditions and runs, from the objects alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

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
        why = ready if ready["status"] != "True" else flowing
        table.add_row(
            item["kind"],
            item["metadata"]["name"],
            _coloured(ready),
            _coloured(flowing) if item["kind"] in {"DataSource", "Pipeline"} else "",
            _run(last),
            "" if last.get("rows") is None else f"{last['rows']:,}",
            f"{why['reason']}: {why['message']}" if why["message"] else why["reason"],
        )
    return table


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


def _coloured(found: Mapping[str, Any]) -> str:
    return f"[{COLOURS.get(found['status'], 'white')}]{found['status']}[/]"


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
