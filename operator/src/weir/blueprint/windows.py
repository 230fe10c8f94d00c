"""A window of the past in parts, at the midnights and hours of a zone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from weir.blueprint.durations import seconds

DAY = 86_400
MAX_PARTS = 1_000
"""Parts of one window: more are more executions than anybody would look at."""

Stretch = tuple[datetime, datetime]
"""From the first moment on, before the second; both aware, UTC."""


class WindowRefused(ValueError):
    """A window that can't be split; the message says what to change."""


def moment(text: str, zone: ZoneInfo) -> datetime:
    """A moment as a PipelineRun states it, in UTC.

    Parameters
    ----------
    text
        A date, which is its midnight in the zone; or a date and a time, in the zone unless it has
        an offset.

    Raises
    ------
    WindowRefused
        There is no such date or time.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise WindowRefused(f"{text!r} is no date and time: {error}") from error
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def split(start: str, end: str, timezone: str, step: str) -> list[Stretch]:
    """The parts of a window, without a gap and without an overlap.

    Whole days end at the zone's midnights, also where one has 23 or 25 hours; a shorter step begins
    at each midnight anew and goes by the zone's clock, where an hour that comes twice is two parts
    and one that is left out none. The first and the last part may be shorter.

    Parameters
    ----------
    start, end
        As :func:`moment` reads them.
    step
        Whole days, or less than one.

    Raises
    ------
    WindowRefused
        It is empty, has more than :data:`MAX_PARTS` parts, or the step is neither.
    """
    zone = ZoneInfo(timezone)
    low, high, length = moment(start, zone), moment(end, zone), seconds(step)
    if low >= high:
        raise WindowRefused(f"from {start} is not before to {end}: the window is empty")
    if length < 60 or (length > DAY and length % DAY):
        raise WindowRefused(f"step {step} must be whole days, or from 1m up to a day")
    least = (high - low).total_seconds() / length
    if least > MAX_PARTS:
        raise WindowRefused(_too_many(least))
    cuts = [cut for cut in _borders(low, high, zone, length) if low < cut < high]
    edges = [low, *sorted(set(cuts)), high]
    if len(edges) - 1 > MAX_PARTS:
        raise WindowRefused(_too_many(len(edges) - 1))
    return list(itertools.pairwise(edges))


def _too_many(parts: float) -> str:
    return (
        f"the window has {parts:.0f} parts and may have {MAX_PARTS}: use a longer step, or several "
        "PipelineRuns"
    )


def _borders(low: datetime, high: datetime, zone: ZoneInfo, length: int) -> Iterator[datetime]:
    first, last = low.astimezone(zone).date(), high.astimezone(zone).date()
    days = max(1, length // DAY)
    for number in range(0, (last - first).days + 1, days):
        day = first + timedelta(days=number)
        for offset in range(0, DAY, min(length, DAY)):
            yield from _on_the_clock(day, offset, zone)


def _on_the_clock(day: date, offset: int, zone: ZoneInfo) -> Iterator[datetime]:
    """The moments at which the zone's clock shows so many seconds after midnight: one, or two, or
    none; a midnight that is left out is the first moment after it."""
    shown = datetime.combine(day, time()) + timedelta(seconds=offset)
    for fold in (0, 1):
        found = shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        back = found.astimezone(zone).replace(tzinfo=None)
        if back == shown or (offset == 0 and fold == 0):
            yield found
