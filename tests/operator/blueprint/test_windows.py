"""A window's parts: no gap, no overlap, at the midnights and hours of its zone."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weir.blueprint.windows import MAX_PARTS, WindowRefused, split

BERLIN = "Europe/Berlin"


def local(parts: list[tuple[datetime, datetime]], zone: str) -> list[str]:
    return [one.astimezone(ZoneInfo(zone)).isoformat() for one, _ in parts]


def in_utc(text: str, zone: str) -> datetime:
    """Two moments compare in UTC: one that a zone leaves out equals none elsewhere (PEP 495)."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def hours(parts: list[tuple[datetime, datetime]]) -> list[float]:
    return [(high - low).total_seconds() / 3600 for low, high in parts]


def test_days_end_at_the_zones_midnights_when_the_clocks_change() -> None:
    parts = split("2025-03-29", "2025-04-01", BERLIN, "1d")
    assert local(parts, BERLIN) == [
        "2025-03-29T00:00:00+01:00",
        "2025-03-30T00:00:00+01:00",
        "2025-03-31T00:00:00+02:00",
    ]
    assert hours(parts) == [24, 23, 24]
    assert hours(split("2025-10-25", "2025-10-28", BERLIN, "1d")) == [24, 25, 24]


def test_hours_go_by_the_clock_a_doubled_one_twice_and_a_missing_one_not_at_all() -> None:
    doubled = split("2025-10-26", "2025-10-26T04:00", BERLIN, "1h")
    assert local(doubled, BERLIN) == [
        "2025-10-26T00:00:00+02:00",
        "2025-10-26T01:00:00+02:00",
        "2025-10-26T02:00:00+02:00",
        "2025-10-26T02:00:00+01:00",
        "2025-10-26T03:00:00+01:00",
    ]
    missing = split("2025-03-30", "2025-03-30T04:00", BERLIN, "1h")
    assert [one[11:16] for one in local(missing, BERLIN)] == ["00:00", "01:00", "03:00"]
    assert hours(split("2025-10-26", "2025-10-27", BERLIN, "6h")) == [7, 6, 6, 6]


def test_a_midnight_that_is_left_out_is_the_first_moment_after_it() -> None:
    zone = "America/Santiago"  # 2025-09-07: 00:00 becomes 01:00
    parts = split("2025-09-06", "2025-09-08", zone, "1d")
    assert local(parts, zone)[1] == "2025-09-07T01:00:00-03:00"
    assert hours(parts) == [24, 23]


def test_the_ends_of_a_window_need_not_lie_on_a_border() -> None:
    parts = split("2025-01-01T10:30:00Z", "2025-01-03T02:00", BERLIN, "1d")
    assert local(parts, BERLIN) == [
        "2025-01-01T11:30:00+01:00",
        "2025-01-02T00:00:00+01:00",
        "2025-01-03T00:00:00+01:00",
    ]
    assert parts[-1][1] == datetime(2025, 1, 3, 1, tzinfo=UTC)
    assert len(split("2025-01-01", "2025-02-01", "UTC", "7d")) == 5


@pytest.mark.parametrize(
    ("start", "end", "step", "what"),
    [
        ("2025-01-02", "2025-01-02", "1d", "empty"),
        ("2025-01-03", "2025-01-02", "1d", "empty"),
        ("2025-02-30", "2025-03-02", "1d", "no date"),
        ("2025-01-01", "2025-01-02", "36h", "whole days"),
        ("2025-01-01", "2025-01-02", "30s", "whole days"),
        ("2020-01-01", "2025-01-02", "1d", str(MAX_PARTS)),
    ],
)
def test_a_window_that_can_not_be_split_says_why(
    start: str, end: str, step: str, what: str
) -> None:
    with pytest.raises(WindowRefused, match=what):
        split(start, end, "UTC", step)


@example(start=date(2019, 9, 8), days=1, minutes=0, zone="America/Santiago", step="1d")
@example(start=date(2019, 9, 1), days=6, minutes=0, zone="America/Santiago", step="1d")
@given(
    start=st.dates(date(2000, 1, 1), date(2037, 1, 1)),
    days=st.integers(1, 9),
    minutes=st.integers(0, 1439),
    zone=st.sampled_from(
        ["UTC", BERLIN, "America/St_Johns", "Australia/Lord_Howe", "America/Santiago"]
    ),
    step=st.sampled_from(["1d", "2d", "1h", "5h", "90m", "30m"]),
)
def test_parts_follow_each_other_from_the_first_moment_to_the_last(
    start: date, days: int, minutes: int, zone: str, step: str
) -> None:
    begin = f"{start}T{minutes // 60:02}:{minutes % 60:02}"
    end = (start + timedelta(days=days + 1)).isoformat()
    parts = split(begin, end, zone, step)
    assert parts[0][0] == in_utc(begin, zone)
    assert parts[-1][1] == in_utc(end, zone)
    assert all(low < high for low, high in parts)
    assert all(one[1] == two[0] for one, two in itertools.pairwise(parts))
