from __future__ import annotations

from datetime import UTC, datetime

import pytest

from weir.reconcile.cron import next_fire
from weir.reconcile.runs import deadline, flowing

START = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("0 6 * * ? *", "2026-03-02T06:00"),
        ("45 12 * * ? *", "2026-03-01T12:45"),
        ("0/15 * * * ? *", "2026-03-01T12:45"),
        ("0 6 ? * MON-FRI *", "2026-03-02T06:00"),
        ("0 6 ? * 1 *", "2026-03-08T06:00"),
        ("0 6 ? * FRI-MON *", "2026-03-02T06:00"),
        ("0 6 L * ? *", "2026-03-31T06:00"),
        ("0 6 LW 5 ? *", "2026-05-29T06:00"),
        ("0 6 15W 3 ? *", "2026-03-16T06:00"),
        ("0 6 1W 8 ? *", "2026-08-03T06:00"),
        ("0 6 ? * 6L *", "2026-03-27T06:00"),
        ("0 6 ? * TUE#2 *", "2026-03-10T06:00"),
        ("0 6 ? * L *", "2026-03-07T06:00"),
        ("0 0 29 2 ? *", "2028-02-29T00:00"),
        ("0 6,18 1 JAN,JUL ? *", "2026-07-01T06:00"),
    ],
)
def test_a_cron_expression_fires_next_at(fields: str, expected: str) -> None:
    found = next_fire(f"cron({fields})", "UTC", START)
    assert found is not None
    assert found.strftime("%Y-%m-%dT%H:%M") == expected


def test_a_cron_expression_counts_in_its_own_zone_and_skips_the_hour_that_does_not_exist() -> None:
    berlin = next_fire("cron(30 2 * * ? *)", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert berlin == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_an_expression_of_a_past_year_never_fires() -> None:
    assert next_fire("cron(0 6 * * ? 2020)", "UTC", START) is None


def test_a_daily_schedule_is_late_an_hour_after_its_time() -> None:
    assert deadline("cron(0 6 * * ? *)", "UTC", START) == datetime(2026, 3, 2, 7, tzinfo=UTC)


def test_a_quarter_hourly_schedule_is_late_when_the_next_one_is_due() -> None:
    assert deadline("cron(0/15 * * * ? *)", "UTC", START) == datetime(2026, 3, 1, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "status", "reason"),
    [
        (datetime(2026, 3, 2, 6, 59, tzinfo=UTC), "True", "RunSucceeded"),
        (datetime(2026, 3, 2, 7, 1, tzinfo=UTC), "False", "Late"),
    ],
)
def test_flowing_by_a_cron_schedule(now: datetime, status: str, reason: str) -> None:
    last = {"run": "r", "state": "Succeeded", "rows": 4, "quarantined": 1}
    found = flowing(last, "2026-03-01T12:30:00Z", START, "cron(0 6 * * ? *)", False, now)
    assert (found.status, found.reason) == (status, reason)
    assert "2026-03-02T07:00:00Z" in found.message
    if status == "True":
        assert "4 rows" in found.message
        assert "1 went to quarantine" in found.message


def test_what_flowing_says_stays_the_same_while_nothing_happens() -> None:
    last = {"run": "r", "state": "Succeeded", "rows": 4, "quarantined": 0}
    said = {
        flowing(last, "2026-03-01T12:30:00Z", START, "rate(1 hour)", False, now).message
        for now in (datetime(2026, 3, 1, 13, tzinfo=UTC), datetime(2026, 3, 1, 14, tzinfo=UTC))
    }
    assert len(said) == 1


def test_before_the_first_run_is_due_nobody_can_say() -> None:
    found = flowing(None, None, START, "cron(0 6 * * ? *)", False, START)
    assert (found.status, found.reason) == ("Unknown", "NotDue")
