"""When does a cron expression of EventBridge Scheduler fire next?

Source: EventBridge Scheduler User Guide, *Schedule types*: six fields, minutes hours day-of-month
month day-of-week year; Sunday is 1; ``L``, ``W`` and ``#`` as in Quartz.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from weir.blueprint.schedules import CRON, CRON_FIELDS, CronField

HORIZON_DAYS = 4 * 366 + 1
"""Days that are searched: the 29th of February comes every four years (but around 2100)."""

DayTest = Callable[[date], bool]


def next_fire(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first time after ``after``, in UTC; None where there is none within four years.

    Parameters
    ----------
    expression
        ``cron(...)`` that :func:`weir.blueprint.schedules.schedule_fault` finds nothing wrong with.
    timezone
        IANA zone of the expression.
    after
        With a zone.
    """
    match = CRON.match(expression)
    if match is None:
        return None
    parts = match[1].upper().split()
    minutes, hours, months, years = (_values(parts[at], CRON_FIELDS[at]) for at in (0, 1, 3, 5))
    on_day, on_weekday = _day_of_month(parts[2]), _day_of_week(parts[4])
    zone = ZoneInfo(timezone)
    first = after.astimezone(zone).date()
    for offset in range(HORIZON_DAYS):
        day = first + timedelta(days=offset)
        if day.year not in years or day.month not in months:
            continue
        if not on_day(day) or not on_weekday(day):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                found = local.astimezone(UTC)
                skipped = found.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None)
                if found > after and not skipped:
                    return found
    return None


def _values(text: str, field: CronField) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        low, dash, high = span.partition("-")
        if span == "*":
            start, end = field.low, field.high
        else:
            start = _value(low, field)
            end = _value(high, field) if dash else (field.high if step else start)
        if start <= end:
            found.update(range(start, end + 1, int(step or 1)))
        else:
            # FRI-MON goes over the end of the week.
            found.update(range(start, field.high + 1))
            found.update(range(field.low, end + 1))
    return frozenset(found)


def _value(text: str, field: CronField) -> int:
    return int(text) if text.isdigit() else field.names[text]


def _last(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _weekday(day: date) -> int:
    """Sunday is 1."""
    return day.isoweekday() % 7 + 1


def _nearest_weekday(day: date, target: int) -> int:
    """The weekday (Monday to Friday) nearest to a day of the month, within the month."""
    there = date(day.year, day.month, min(target, _last(day)))
    shift = {7: -1, 1: 1}.get(_weekday(there), 0)
    if shift == -1 and there.day == 1:
        shift = 2
    if shift == 1 and there.day == _last(day):
        shift = -2
    return there.day + shift


def _day_of_month(text: str) -> DayTest:
    if text == "?":
        return lambda _day: True
    if text == "L":
        return lambda day: day.day == _last(day)
    if text == "LW":
        return lambda day: day.day == _nearest_weekday(day, _last(day))
    if text.endswith("W"):
        target = int(text[:-1])
        return lambda day: day.day == _nearest_weekday(day, target)
    values = _values(text, CRON_FIELDS[2])
    return lambda day: day.day in values


def _day_of_week(text: str) -> DayTest:
    field = CRON_FIELDS[4]
    if text == "?":
        return lambda _day: True
    if text == "L":
        return lambda day: _weekday(day) == field.high
    if "#" in text:
        name, _, nth = text.partition("#")
        wanted, number = _value(name, field), int(nth)
        return lambda day: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == number
    if text.endswith("L"):
        last = _value(text[:-1], field)
        return lambda day: _weekday(day) == last and day.day > _last(day) - 7
    values = _values(text, field)
    return lambda day: _weekday(day) in values
