"""EventBridge Scheduler: schedules of the default group. They take no tags of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws.base import ServiceAdapter, common_prefix
from weir.aws.calls import Answer
from weir.aws.documents import encode
from weir.aws.errors import Conflict
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

UNLISTED = frozenset(FIELDS) - {"State"}
"""What ListSchedules leaves out."""
PAGE = 100
"""``MaxResults`` at most (Scheduler API, "ListSchedules")."""


class Schedule(ServiceAdapter):
    """A schedule.

    Properties: ``ScheduleExpression``, ``ScheduleExpressionTimezone``, ``FlexibleTimeWindow``,
    ``Target{Arn, RoleArn, Input, RetryPolicy, DeadLetterConfig}`` (``Input`` a document or text),
    ``State``, ``KmsKeyArn``. Attributes: ``arn``.
    """

    kind = "scheduler.Schedule"
    service = "scheduler"
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {**DEFAULTS, **properties}
        if isinstance(form.get("Target"), Mapping):
            form["Target"] = _target(form["Target"])
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        chosen, prefix = set(names), common_prefix(sorted(names))[:64]
        only = {"NamePrefix": prefix} if prefix else {}
        for item in self.calls.pages(
            "ListSchedules", "Schedules", GroupName=GROUP, MaxResults=PAGE, **only
        ):
            if item["Name"] in chosen:
                yield Observed(
                    item["Name"],
                    {"State": item.get("State", "ENABLED")},
                    attributes={"arn": item["Arn"], "name": item["Name"]},
                    unseen=UNLISTED,
                    version=_modified(item),
                )

    def look(self, name: str) -> Observed | None:
        schedule = self.calls.find("GetSchedule", name, Name=name, GroupName=GROUP)
        if schedule is None:
            return None
        properties = self.canonical(
            {field: schedule[field] for field in FIELDS if schedule.get(field) is not None}
        )
        return Observed(
            name,
            properties,
            attributes={"arn": schedule["Arn"], "name": name},
            version=_modified(schedule),
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        try:
            arn = self._put("CreateSchedule", resource)["ScheduleArn"]
        except Conflict as taken:
            return self.taken_back(resource, {}, taken)
        name = resource.name
        wanted = {**self.canonical(resource.properties)}
        return Observed(name, wanted, attributes={"arn": arn, "name": name})

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        if not changes:
            return observed
        self._put("UpdateSchedule", resource)
        return self.rewritten(resource, observed, changes, {})

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteSchedule", observed.name, Name=observed.name, GroupName=GROUP)

    def _put(self, operation: str, resource: Resource) -> Answer:
        wanted = self.canonical(resource.properties)
        parameters = {
            field: wanted[field] for field in FIELDS if wanted.get(field) not in (None, "")
        }
        return self.calls(
            operation, resource.name, Name=resource.name, GroupName=GROUP, **parameters
        )


def _modified(schedule: Mapping[str, Any]) -> str:
    at = schedule.get("LastModificationDate")
    return at.isoformat() if at is not None else ""


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
