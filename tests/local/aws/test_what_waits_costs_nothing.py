"""Alarms without data and schedules that are not due are not worked out again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ministack.core.responses import request_scope
from ministack.services import cloudwatch
from ministack.services import scheduler as schedules

from weir_local.aws import metrics, scheduler

ACCOUNT, REGION = "000000000000", "us-east-1"


@pytest.fixture(autouse=True)
def _scope() -> Iterator[None]:
    with request_scope(ACCOUNT, REGION):
        yield


def an_alarm() -> dict[str, Any]:
    return {
        "AlarmName": "waits",
        "AlarmArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:waits",
        "Namespace": "Waiting",
        "MetricName": "Rows",
        "Dimensions": [{"Name": "Source", "Value": "orders"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "StateValue": "INSUFFICIENT_DATA",
    }


def test_an_alarm_without_data_is_evaluated_when_data_comes_or_its_state_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, alarm = (ACCOUNT, REGION, "waits"), an_alarm()
    evaluated: list[str] = []
    inner = metrics.evaluate

    def evaluate(alarm: dict[str, Any]) -> None:
        inner(alarm)
        evaluated.append(alarm["StateValue"])

    monkeypatch.setattr(metrics, "evaluate", evaluate)
    for _ in range(3):
        metrics.look(key, alarm)
    assert evaluated == ["OK"]
    alarm["StateValue"] = "ALARM"
    for _ in range(2):
        metrics.look(key, alarm)
    assert evaluated == ["OK", "OK"]
    metrics.look(key, dict(alarm))
    assert evaluated == ["OK"] * 3
    metrics.record(("Waiting", "Rows", {"Source": "orders"}, 5.0, "Count", time.time()))
    for _ in range(2):
        metrics.look(key, alarm)
    assert evaluated[3:] == ["ALARM", "ALARM"]
    cloudwatch._metrics.clear()
    for _ in range(2):
        metrics.look(key, alarm)
    assert evaluated[5:] == ["OK"]


def test_a_schedule_is_worked_out_once_and_fires_when_it_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = datetime(2026, 11, 23, 12, tzinfo=UTC)
    worked_out, fired = [], []
    inner = scheduler.next_time

    def next_time(schedule: dict[str, Any], after: datetime) -> datetime | None:
        worked_out.append(after)
        return inner(schedule, after)

    def deliver(_schedule: dict[str, Any], due: datetime, *_: Any) -> None:
        fired.append(due)

    monkeypatch.setattr(scheduler, "next_time", next_time)
    monkeypatch.setattr(scheduler, "deliver", deliver)
    monkeypatch.setattr(schedules._schedules, "_data", {})
    schedules._schedules["default/waits"] = {
        "Name": "waits",
        "State": "ENABLED",
        "ScheduleExpression": "rate(1 hour)",
        "CreationDate": began.timestamp(),
        "LastModificationDate": began.timestamp(),
    }
    for minute in range(1, 60):
        scheduler.tick(began + timedelta(minutes=minute))
    assert (len(worked_out), fired) == (1, [])
    scheduler.tick(began + timedelta(minutes=61))
    scheduler.tick(began + timedelta(minutes=62))
    schedules._schedules["default/waits"].update(
        State="DISABLED", LastModificationDate=(began + timedelta(minutes=90)).timestamp()
    )
    for minute in range(91, 200):
        scheduler.tick(began + timedelta(minutes=minute))
    deadline = time.monotonic() + 10
    while not fired and time.monotonic() < deadline:
        time.sleep(0.01)
    assert fired == [began + timedelta(hours=1)]
    schedules._schedules.clear()
    scheduler.tick(began + timedelta(days=1))
    assert not scheduler._looked
