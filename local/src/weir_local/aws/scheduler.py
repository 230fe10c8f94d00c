"""EventBridge Scheduler: time zones, context attributes, the target's role, retries.

EventBridge Scheduler User Guide, "Schedule types", "Adding context attributes", "Time zones",
"Managing targets" and "Configuring a dead-letter queue".
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import botocore.exceptions

from weir_local.aws.access import RoleRefused
from weir_local.aws.serviceclient import client, role_session
from weir_local.aws.stepfunctions import boto_name, to_wire
from weir_local.aws.wire import Reply, Request, guard_service, json_error

logger = logging.getLogger("weir.local.aws.scheduler")

TICK_SECONDS = 1
RETRY_SECONDS = 1.0
RETRIES = 185
"""Scheduler's default of MaximumRetryAttempts."""

TRANSIENT = frozenset({"ThrottlingException", "TooManyRequestsException", "ServiceException"})


def zone(schedule: dict[str, Any]) -> ZoneInfo:
    """The time zone of a schedule's expression."""
    return ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")


def next_time(schedule: dict[str, Any], after: datetime) -> datetime | None:
    """When a schedule fires next.

    Wall-clock times that a zone skips are skipped, those that it repeats fire once.

    :param schedule: as stored
    :param after: an instant in UTC
    :returns: an instant in UTC later than *after*, or None when there is none
    """
    from ministack.services import eventbridge

    expression = str(schedule.get("ScheduleExpression", ""))
    if expression.startswith("at("):
        moment = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=zone(schedule))
        found: datetime | None = moment.astimezone(UTC)
        return found if found and found > after else None
    seconds = eventbridge._parse_rate_seconds(expression)
    if seconds:
        start = schedule.get("StartDate") or schedule.get("CreationDate") or 0
        base = datetime.fromtimestamp(float(start), UTC)
        passed = max(0, int((after - base).total_seconds() // seconds))
        return base + timedelta(seconds=seconds * (passed + 1))
    fields = eventbridge._parse_cron_fields(expression)
    if fields is None:
        return None
    wall = after.astimezone(zone(schedule)).replace(tzinfo=UTC)
    while True:
        wall = eventbridge._cron_next_fire(fields, wall)
        if wall is None:
            return None
        moment = wall.replace(tzinfo=zone(schedule)).astimezone(UTC)
        exists = moment.astimezone(zone(schedule)).replace(tzinfo=UTC) == wall
        if exists and moment > after:
            return moment  # type: ignore[no-any-return]


def substituted(text: str, arn: str, scheduled: datetime, execution: str, attempt: int) -> str:
    """A target's input with Scheduler's context attributes filled in."""
    values = {
        "schedule-arn": arn,
        "scheduled-time": scheduled.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "execution-id": execution,
        "attempt-number": str(attempt),
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def start_machine(clients: Callable[[str], Any], target: dict[str, Any], text: str) -> Any:
    """States: StartExecution."""
    return clients("stepfunctions").start_execution(stateMachineArn=target["Arn"], input=text)


def invoke_function(clients: Callable[[str], Any], target: dict[str, Any], text: str) -> Any:
    """Lambda: an asynchronous Invoke."""
    return clients("lambda").invoke(
        FunctionName=target["Arn"], InvocationType="Event", Payload=text.encode()
    )


def send_message(clients: Callable[[str], Any], target: dict[str, Any], text: str) -> Any:
    """SQS: SendMessage."""
    sqs = clients("sqs")
    name = target["Arn"].rsplit(":", 1)[-1]
    url = f"{sqs.meta.endpoint_url}/{target['Arn'].split(':')[4]}/{name}"
    return sqs.send_message(QueueUrl=url, MessageBody=text, **(target.get("SqsParameters") or {}))


def publish(clients: Callable[[str], Any], target: dict[str, Any], text: str) -> Any:
    """SNS: Publish."""
    return clients("sns").publish(TopicArn=target["Arn"], Message=text)


def universal(clients: Callable[[str], Any], target: dict[str, Any], text: str) -> Any:
    """Any API: ``arn:aws:scheduler:::aws-sdk:service:operation``."""
    from botocore import xform_name

    _, service, operation = target["Arn"].rsplit(":", 2)
    service_client = clients(boto_name(service))
    name = operation[:1].upper() + operation[1:]
    shape = service_client.meta.service_model.operation_model(name).input_shape
    given = to_wire(json.loads(text or "{}"), shape) if shape else {}
    return getattr(service_client, xform_name(name))(**given)


TARGETS: dict[str, Callable[[Callable[[str], Any], dict[str, Any], str], Any]] = {
    "states": start_machine,
    "lambda": invoke_function,
    "sqs": send_message,
    "sns": publish,
    "scheduler": universal,
}
"""Service of a target's ARN -> how it is called."""


def deliver(schedule: dict[str, Any], scheduled: datetime, region: str, account: str) -> None:
    """Call a schedule's target under its role, with the retries that it asks for."""
    target = schedule["Target"]
    group = f"arn:aws:scheduler:{region}:{account}:schedule-group/{schedule['GroupName']}"
    execution = str(uuid.uuid4())
    policy = target.get("RetryPolicy") or {}
    most = policy.get("MaximumRetryAttempts", RETRIES)
    deadline = time.monotonic() + policy.get("MaximumEventAgeInSeconds", 86_400)
    attempt = 0

    def clients(service: str) -> Any:
        session = role_session(target["RoleArn"], "scheduler.amazonaws.com", group, region)
        return client(session, service, region)

    while True:
        attempt += 1
        text = target.get("Input") or "{}"
        text = substituted(text, schedule["Arn"], scheduled, execution, attempt)
        try:
            TARGETS[target["Arn"].split(":")[2]](clients, target, text)
            return
        except (botocore.exceptions.ClientError, RoleRefused) as failed:
            logger.warning("schedule %s: %s", schedule["Name"], failed)
            response = getattr(failed, "response", {})
            code = response.get("Error", {}).get("Code", "")
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 403)
            transient = code in TRANSIENT or status >= 500
            if attempt > most or time.monotonic() > deadline or not transient:
                dead_letter(schedule, clients, text, str(failed))
                return
        except Exception:
            logger.exception("schedule %s could not call its target", schedule["Name"])
            return
        time.sleep(min(RETRY_SECONDS * 2**attempt, 60))


def dead_letter(
    schedule: dict[str, Any], clients: Callable[[str], Any], text: str, error: str
) -> None:
    """Send what could not be delivered to the target's dead-letter queue, if it has one."""
    queue = (schedule["Target"].get("DeadLetterConfig") or {}).get("Arn")
    if not queue:
        return
    attributes = {"ERROR_MESSAGE": error[:1000], "TARGET_ARN": schedule["Target"]["Arn"]}
    try:
        sqs = clients("sqs")
        sqs.send_message(
            QueueUrl=f"{sqs.meta.endpoint_url}/{queue.split(':')[4]}/{queue.rsplit(':', 1)[-1]}",
            MessageBody=text,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )
    except (botocore.exceptions.ClientError, RoleRefused) as failed:
        logger.warning("schedule %s: dead-letter queue: %s", schedule["Name"], failed)


_looked: dict[tuple[str, str, str], tuple[Any, datetime, datetime | None]] = {}
"""Account, region and key of a schedule -> its last change, since when it counts, and when it is
due after that, as far as that was found out."""


def tick(now: datetime | None = None) -> None:
    """Fire every schedule that has become due since the last look.

    :param now: an instant in UTC; the clock's by default
    """
    from ministack.core.responses import request_scope
    from ministack.services import scheduler

    now = now or datetime.now(UTC)
    for key, schedule in list(scheduler._schedules._data.items()):
        account, region, _ = key
        version = schedule.get("LastModificationDate")
        seen, since, due = _looked.get(key, (None, now, None))
        if seen == version and due is not None and due > now:
            continue
        if seen != version:
            # A new or changed schedule counts from its last change on.
            since = datetime.fromtimestamp(float(version or now.timestamp()), UTC)
        _looked[key] = (version, now, None)
        due = next_time(schedule, since)
        start = scheduler._to_epoch(schedule.get("StartDate"))
        end = scheduler._to_epoch(schedule.get("EndDate"))
        if due is None or due > now or schedule.get("State") != "ENABLED":
            later = due is not None and due > now
            _looked[key] = (version, since, due) if later else (version, now, None)
            continue
        if (start and due.timestamp() < start) or (end and due.timestamp() > end):
            continue
        with request_scope(account, region):
            context = contextvars.copy_context()
        threading.Thread(
            target=context.run,
            args=(deliver, dict(schedule), due, region, account),
            name=f"schedule-{schedule['Name']}",
            daemon=True,
        ).start()
        once = str(schedule.get("ScheduleExpression", "")).startswith("at(")
        if once and schedule.get("ActionAfterCompletion") == "DELETE":
            scheduler._schedules._data.pop(key, None)
    if len(_looked) > len(scheduler._schedules._data):
        for key in set(_looked).difference(scheduler._schedules._data):
            _looked.pop(key, None)


def guard(request: Request) -> Reply | None:
    """Refuse expressions and time zones that Scheduler refuses."""
    expression = request.json.get("ScheduleExpression")
    if request.method not in ("POST", "PUT") or not expression:
        return None
    if not request.path.startswith("/schedules/"):
        return None
    name = request.json.get("ScheduleExpressionTimezone") or "UTC"
    try:
        ZoneInfo(name)
        known = {**request.json, "CreationDate": 0}
        fires = next_time(known, datetime(1970, 1, 1, tzinfo=UTC))
    except (ZoneInfoNotFoundError, ValueError):
        fires = None
    if fires is not None:
        return None
    return json_error(
        "ValidationException",
        f"Invalid Schedule Expression {expression} in time zone {name}.",
    )


def install() -> None:
    """Replace the emulator's ticker."""
    from ministack.services import scheduler

    scheduler._SCHEDULE_TICK_INTERVAL = TICK_SECONDS
    scheduler._tick_schedules = tick
    guard_service("scheduler", guard)
