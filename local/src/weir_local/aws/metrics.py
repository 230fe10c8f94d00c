"""Embedded metric format becomes metrics, Step Functions counts, alarms look at their dimensions.

CloudWatch User Guide, "Specification: Embedded metric format", "Evaluating an alarm" and
"Configuring how CloudWatch alarms treat missing data"; Step Functions Developer Guide,
"Monitoring Step Functions metrics using Amazon CloudWatch".
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

logger = logging.getLogger("weir.local.aws.metrics")

EVALUATE_SECONDS = 2.0

EXECUTIONS = {
    "RUNNING": "ExecutionsStarted",
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
"""Status of an execution -> its metric in AWS/States."""

Datum = tuple[str, str, dict[str, str], float, str, float]
"""Namespace, name, dimensions, value, unit, time in seconds."""


def embedded(message: str) -> Iterator[Datum]:
    """The metrics in one log message; none when it is not in the embedded metric format.

    :param message: a log event's text
    """
    if not message.startswith("{") or '"_aws"' not in message:
        return
    try:
        document = json.loads(message)
        directives = document["_aws"]["CloudWatchMetrics"]
        moment = float(document["_aws"].get("Timestamp", time.time() * 1000)) / 1000
    except (ValueError, KeyError, TypeError):
        return
    for directive in directives:
        for metric in directive.get("Metrics", []):
            found = document.get(metric["Name"])
            for value in found if isinstance(found, list) else [found]:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                for names in directive.get("Dimensions") or [[]]:
                    dimensions = {name: str(document.get(name, "")) for name in names}
                    yield (
                        directive["Namespace"],
                        metric["Name"],
                        dimensions,
                        float(value),
                        metric.get("Unit", "None"),
                        moment,
                    )


def record(datum: Datum) -> None:
    """Store one value."""
    from ministack.services import cloudwatch

    namespace, name, dimensions, value, unit, moment = datum
    key = (namespace, name, cloudwatch._dims_key(dimensions))
    cloudwatch._metric_bucket(key).append(
        {"Timestamp": moment, "Value": value, "Unit": unit, "Dimensions": dimensions}
    )


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


def state_of(alarm: dict[str, Any], values: list[float | None]) -> str | None:
    """An alarm's state from the values of its last periods, None to keep the one it has.

    :param alarm: as stored
    :param values: newest first, None for a period without data
    """
    breaches = COMPARISONS[alarm["ComparisonOperator"]]
    threshold = float(alarm.get("Threshold") or 0)
    missing = alarm.get("TreatMissingData") or "missing"
    if all(value is None for value in values):
        if missing in ("missing", "ignore"):
            return "INSUFFICIENT_DATA" if missing == "missing" else None
        return "ALARM" if missing == "breaching" else "OK"
    needed = int(alarm.get("DatapointsToAlarm") or alarm.get("EvaluationPeriods") or 1)
    count = sum(
        missing == "breaching" if value is None else bool(breaches(value, threshold))
        for value in values
    )
    return "ALARM" if count >= needed else "OK"


def metric_of(alarm: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The key of the metric that an alarm is about."""
    from ministack.services import cloudwatch

    dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
    return alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions)


def evaluate(alarm: dict[str, Any], now: float | None = None) -> None:
    """Evaluate one metric alarm and tell its actions when the state changes.

    :param alarm: as stored, in its account and region
    :param now: seconds since the epoch; the clock's by default
    """
    from ministack.services import cloudwatch

    if alarm.get("ComparisonOperator") not in COMPARISONS or not alarm.get("MetricName"):
        return
    now = now or time.time()
    points = cloudwatch._metrics.get(metric_of(alarm)) or []
    period = int(alarm.get("Period") or 60)
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    values: list[float | None] = []
    for back in range(int(alarm.get("EvaluationPeriods") or 1)):
        inside = [
            point
            for point in points
            if now - period * (back + 1) < point["Timestamp"] <= now - period * back
        ]
        stats = cloudwatch._calc_stats(inside) if inside else None
        values.append(cloudwatch._stat_value(stats, statistic, inside) if inside else None)
    old, new = alarm["StateValue"], state_of(alarm, values)
    if new is None or new == old:
        return
    reason = (
        f"Threshold Crossed: {statistic} of {alarm['MetricName']} was {values[0]}, "
        f"{alarm['ComparisonOperator']} {alarm.get('Threshold')}"
    )
    alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(now))
    cloudwatch._record_history(alarm["AlarmName"], old, new, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, new, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


_stop = threading.Event()


_quiet: dict[tuple[str, str, str], tuple[dict[str, Any], Any, str]] = {}
"""Alarms whose metric had no data when they were last looked at: the alarm, the metric's key and
the state that it got. Its state stays until somebody else sets it or data comes."""


def is_quiet(key: tuple[str, str, str], alarm: dict[str, Any]) -> bool:
    """Whether an alarm needs no look: it had one without data, and there is none since.

    :param key: account, region and name
    :param alarm: as stored; another one where it was put anew
    """
    seen, metric, state = _quiet.get(key, (None, None, None))
    return seen is alarm and state == alarm["StateValue"] and not has_data(key, metric)


def has_data(key: tuple[str, str, str], metric: Any) -> bool:
    """Whether there is data of a metric in the account and region of an alarm's key."""
    from ministack.services import cloudwatch

    return bool(cloudwatch._metrics._data.get((*key[:2], metric)))


def look(key: tuple[str, str, str], alarm: dict[str, Any]) -> None:
    """Evaluate an alarm where there may be something to see.

    :param key: account, region and name
    :param alarm: as stored
    """
    from ministack.core.responses import request_scope

    if is_quiet(key, alarm):
        return
    metric = metric_of(alarm)
    with_data = has_data(key, metric)
    with request_scope(key[0], key[1]):
        evaluate(alarm)
    if with_data:
        _quiet.pop(key, None)
    else:
        _quiet[key] = (alarm, metric, alarm["StateValue"])


def watch() -> None:
    """Evaluate every alarm again and again, as CloudWatch does unasked."""
    from ministack.services import cloudwatch

    while not _stop.wait(EVALUATE_SECONDS):
        alarms = list(cloudwatch._alarms._data.items())
        for key, alarm in alarms:
            try:
                look(key, alarm)
            except Exception:
                logger.exception("alarm %s could not be evaluated", alarm.get("AlarmName"))
        if len(_quiet) > len(alarms):
            for key in set(_quiet).difference(key for key, _ in alarms):
                del _quiet[key]


def install() -> None:
    """Turn log events into metrics, count executions, and watch the alarms."""
    from ministack.services import cloudwatch, cloudwatch_logs, stepfunctions

    append = cloudwatch_logs._append_log_events
    status_event = stepfunctions._emit_execution_status_event

    def appended(stream: Any, events: list[dict[str, Any]]) -> None:
        append(stream, events)
        for event in events:
            for datum in embedded(str(event.get("message", ""))):
                record(datum)

    def status(execution: dict[str, Any]) -> None:
        name = EXECUTIONS.get(execution["status"])
        if name:
            dimensions = {"StateMachineArn": execution["stateMachineArn"]}
            record(("AWS/States", name, dimensions, 1.0, "Count", time.time()))
        status_event(execution)

    cloudwatch_logs._append_log_events = appended
    stepfunctions._emit_execution_status_event = status
    cloudwatch._evaluate_alarm = evaluate
    threading.Thread(target=watch, name="alarm-watch", daemon=True).start()


def uninstall() -> None:
    """Stop watching the alarms."""
    _stop.set()
