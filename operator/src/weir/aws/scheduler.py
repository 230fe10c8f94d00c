"""EventBridge Scheduler: schedules of the default group. They take no tags of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from weir.aws.base import FEW, ServiceAdapter, common_prefix
from weir.aws.documents import encode
from weir.resource import Change, Observed, Resource, Traits

GROUP = "default"
DEFAULTS: Mapping[str, Any] = {
    "ScheduleExpressionTimezone": "UTC",
    "State": "ENABLED",
    "ActionAfterCompletion": "NONE",
    "Description": "",
    "KmsKeyArn": None,
    "StartDate": None,
    "EndDate": None,
}
RETRY_DEFAULTS = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
"""Scheduler API reference, "RetryPolicy"."""

FIELDS = ("ScheduleExpression", "FlexibleTimeWindow", "Target", *DEFAULTS)


class Schedule(ServiceAdapter):
    """A schedule.

    Properties: ``ScheduleExpression``, ``ScheduleExpressionTimezone``, ``FlexibleTimeWindow``,
    ``Target{Arn, RoleArn, Input, RetryPolicy, DeadLetterConfig}`` (``Input`` a document or text),
    ``State``, ``KmsKeyArn``. Attributes: ``arn``.
    """

    kind = "scheduler.Schedule"
    service = "scheduler"
    traits = Traits()

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Any, Observed]] = {}

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {**DEFAULTS, **properties}
        if isinstance(form.get("Target"), Mapping):
            form["Target"] = _target(form["Target"])
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        wanted = set(names)
        if len(wanted) <= FEW:
            return super().observe(sorted(wanted))
        # The listing has no targets, but says when each was changed: only those are asked for.
        prefix = common_prefix(sorted(wanted))[:64]
        only = {"NamePrefix": prefix} if prefix else {}
        found: dict[str, Observed] = {}
        for item in self.calls.pages("ListSchedules", "Schedules", GroupName=GROUP, **only):
            name, modified = item["Name"], item.get("LastModificationDate")
            if name not in wanted:
                continue
            known = self._known.get(name)
            if known is not None and modified is not None and known[0] == modified:
                found[name] = known[1]
            else:
                found |= super().observe([name])
        return found

    def look(self, name: str) -> Observed | None:
        schedule = self.calls.find("GetSchedule", name, Name=name, GroupName=GROUP)
        if schedule is None:
            with self._lock:
                self._known.pop(name, None)
            return None
        properties = self.canonical(
            {field: schedule[field] for field in FIELDS if schedule.get(field) is not None}
        )
        seen = Observed(name, properties, attributes={"arn": schedule["Arn"], "name": name})
        with self._lock:
            self._known[name] = (schedule.get("LastModificationDate"), seen)
        return seen

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        return self._put("CreateSchedule", resource)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        return self._put("UpdateSchedule", resource) if changes else observed

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteSchedule", observed.name, Name=observed.name, GroupName=GROUP)
        with self._lock:
            self._known.pop(observed.name, None)

    def _put(self, operation: str, resource: Resource) -> Observed:
        wanted = self.canonical(resource.properties)
        parameters = {
            field: wanted[field] for field in FIELDS if wanted.get(field) not in (None, "")
        }
        self.calls(operation, resource.name, Name=resource.name, GroupName=GROUP, **parameters)
        return self.must_see(resource.name)


def _target(target: Mapping[str, Any]) -> dict[str, Any]:
    form = {**target, "RetryPolicy": {**RETRY_DEFAULTS, **(target.get("RetryPolicy") or {})}}
    if "Input" in form:
        form["Input"] = _input(form["Input"])
    return form


def _input(value: Any) -> str:
    # Text stays as it is, but for JSON text, whose spelling does not count.
    if not isinstance(value, str):
        return encode(value)
    if value.lstrip().startswith(("{", "[")):
        try:
            return encode(json.loads(value))
        except json.JSONDecodeError:
            return value
    return value


ADAPTERS = (Schedule,)
