"""Is this a schedule that EventBridge Scheduler takes?

Source: EventBridge Scheduler User Guide, *Schedule types*: ``rate(value unit)`` and
``cron(minutes hours day-of-month month day-of-week year)``.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass

RATE = re.compile(r"^rate\((\d+) (minutes?|hours?|days?)\)$")
CRON = re.compile(r"^cron\(([^()]+)\)$")
MONTHS = dict(
    zip(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
        range(1, 13),
        strict=True,
    )
)
DAYS = dict(zip(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], range(1, 8), strict=True))


@dataclass(frozen=True)
class CronField:
    """One of a cron expression's six: its bounds, names for values, and what only it may hold."""

    name: str
    low: int
    high: int
    names: dict[str, int]
    special: str = ""


CRON_FIELDS = (
    CronField("minutes", 0, 59, {}),
    CronField("hours", 0, 23, {}),
    CronField("day-of-month", 1, 31, {}, r"\?|L|LW|\d{1,2}W"),
    CronField("month", 1, 12, MONTHS),
    CronField("day-of-week", 1, 7, DAYS, r"\?|L|[1-7A-Z]{1,3}L|[1-7A-Z]{1,3}#[1-5]"),
    CronField("year", 1970, 2199, {}),
)


def schedule_fault(expression: str) -> str | None:
    """What is wrong with a schedule, or None. At least one minute apart follows from the grammar."""
    rate = RATE.match(expression)
    if rate:
        value, unit = int(rate.group(1)), rate.group(2)
        if value < 1:
            return f"{expression}: a rate is at least 1 minute"
        if (value == 1) == unit.endswith("s"):
            right = unit.rstrip("s") if value == 1 else f"{unit}s"
            return f"{expression}: write rate({value} {right})"
        return None
    cron = CRON.match(expression)
    if not cron:
        return f"{expression} is neither rate(value unit) nor cron(six fields)"
    parts = cron.group(1).split()
    if len(parts) != len(CRON_FIELDS):
        return (
            f"{expression} has {len(parts)} fields; AWS wants six: minutes hours day-of-month month "
            "day-of-week year, such as cron(0 6 * * ? *)"
        )
    for part, field in zip(parts, CRON_FIELDS, strict=True):
        fault = _field_fault(part, field)
        if fault:
            return f"{expression}: {fault}"
    if (parts[2] == "?") == (parts[4] == "?"):
        return f"{expression}: exactly one of day-of-month and day-of-week must be ?"
    return None


def _field_fault(text: str, field: CronField) -> str | None:
    if field.special and re.fullmatch(field.special, text.upper()):
        return None
    for item in text.split(","):
        span, _, step = item.partition("/")
        if step and not (step.isdigit() and int(step) > 0):
            return f"the step of {item!r} in {field.name} is no number above 0"
        if span == "*":
            continue
        low, dash, high = span.partition("-")
        ends = [_value(low, field), _value(high, field)] if dash else [_value(low, field)]
        for end, shown in zip(ends, (low, high), strict=False):
            if end is None or not field.low <= end <= field.high:
                return f"{shown!r} is no value of {field.name} ({field.low} to {field.high})"
    return None


def _value(text: str, field: CronField) -> int | None:
    return int(text) if text.isdigit() else field.names.get(text.upper())


def timezone_fault(zone: str) -> str | None:
    """Why a text is no IANA time zone, or None."""
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return f"{zone!r} is no IANA time zone; write one such as Europe/Berlin or UTC"
    return None
