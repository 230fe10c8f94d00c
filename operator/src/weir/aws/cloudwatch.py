"""CloudWatch: alarms and dashboards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, chunks, common_prefix, with_tags
from weir.aws.documents import decode, encode, ordered
from weir.aws.errors import Invalid
from weir.resource import Change, Observed, Resource, Traits

BATCH = 100
"""Alarm names that one DescribeAlarms takes, and alarms that it gives (CloudWatch API reference)."""

NO_DATA = "INSUFFICIENT_DATA"
"""The state that an alarm is born in (CloudWatch API reference, "PutMetricAlarm")."""

DEFAULTS: Mapping[str, Any] = {
    "ActionsEnabled": True,
    "AlarmActions": [],
    "OKActions": [],
    "InsufficientDataActions": [],
    "Dimensions": [],
    "TreatMissingData": "missing",
}
FIELDS = (
    "AlarmDescription",
    "MetricName",
    "Namespace",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
    "ThresholdMetricId",
    *DEFAULTS,
)


class Alarm(ServiceAdapter):
    """A metric alarm. Properties: as ``PutMetricAlarm``. Attributes: ``arn``, ``state``."""

    kind = "cloudwatch.Alarm"
    service = "cloudwatch"
    tagged_as = ("cloudwatch:alarm",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {
            **DEFAULTS,
            **{key: value for key, value in properties.items() if value is not None},
        }
        form["Dimensions"] = ordered(form["Dimensions"], "Name")
        for key in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            form[key] = sorted(form[key], key=str)
        if "EvaluationPeriods" in form:
            form.setdefault("DatapointsToAlarm", form["EvaluationPeriods"])
        if "Metrics" in form:
            form["Metrics"] = ordered(
                ({"ReturnData": True, **metric} for metric in form["Metrics"]), "Id"
            )
            if not form["Metrics"]:
                del form["Metrics"]
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        found: dict[str, Observed] = {}
        for seen in self._described(names):
            listed = self.calls(
                "ListTagsForResource", seen.name, ResourceARN=seen.attributes["arn"]
            )
            found[seen.name] = with_tags(seen, tagging.mapping(listed.get("Tags")))
        return found

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        return self.tagged(names, self._described(names))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        self._put(resource, Tags=tagging.pairs(tags))
        name = resource.name
        return Observed(
            name,
            self.canonical(resource.properties),
            attributes={
                "arn": self.session.arn("cloudwatch", f"alarm:{name}"),
                "name": name,
                "state": NO_DATA,
            },
            tags=dict(tags),
        )

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        if changes:
            # PutMetricAlarm takes tags for a new alarm only.
            self._put(resource)
        new = tagging.missing(observed.tags, tags)
        if new:
            arn = observed.attributes["arn"]
            self.calls("TagResource", resource.name, ResourceARN=arn, Tags=tagging.pairs(new))
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteAlarms", observed.name, AlarmNames=[observed.name])

    def _put(self, resource: Resource, **more: Any) -> None:
        wanted = self.canonical(resource.properties)
        given = {key: wanted[key] for key in FIELDS if wanted.get(key) is not None}
        if "Metrics" in given:
            del given["Dimensions"]
        self.calls("PutMetricAlarm", resource.name, AlarmName=resource.name, **given, **more)

    def _described(self, names: Sequence[str]) -> Iterator[Observed]:
        for batch in chunks(list(dict.fromkeys(names)), BATCH):
            for alarm in self.calls.pages(
                "DescribeAlarms",
                "MetricAlarms",
                AlarmNames=list(batch),
                AlarmTypes=["MetricAlarm"],
                MaxRecords=BATCH,
            ):
                name = alarm["AlarmName"]
                yield Observed(
                    name=name,
                    properties=self.canonical({key: alarm[key] for key in FIELDS if key in alarm}),
                    attributes={
                        "arn": alarm["AlarmArn"],
                        "name": name,
                        "state": alarm.get("StateValue", ""),
                    },
                )


class Dashboard(ServiceAdapter):
    """A dashboard. It takes no owner tags. Properties: ``DashboardBody`` (a document)."""

    kind = "cloudwatch.Dashboard"
    service = "cloudwatch"
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {"DashboardBody": decode(properties.get("DashboardBody") or {})}

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        chosen, prefix = set(names), common_prefix(sorted(names))
        only = {"DashboardNamePrefix": prefix} if prefix else {}
        for item in self.calls.pages("ListDashboards", "DashboardEntries", prefix, **only):
            if item["DashboardName"] in chosen:
                yield Observed(
                    item["DashboardName"],
                    {},
                    attributes={"arn": item.get("DashboardArn", ""), "name": item["DashboardName"]},
                    unseen=frozenset({"DashboardBody"}),
                    version=str(item.get("LastModified", "")),
                )

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetDashboard", name, DashboardName=name)
        if found is None:
            return None
        return Observed(
            name,
            {"DashboardBody": decode(found["DashboardBody"])},
            attributes={"arn": found.get("DashboardArn", ""), "name": name},
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        body = encode(self.canonical(resource.properties)["DashboardBody"])
        answer = self.calls(
            "PutDashboard", resource.name, DashboardName=resource.name, DashboardBody=body
        )
        messages = answer.get("DashboardValidationMessages") or []
        if any("should NOT" in item.get("Message", "") for item in messages):
            raise Invalid(
                f"cloudwatch PutDashboard {resource.name}: "
                + "; ".join(f"{item.get('DataPath')}: {item.get('Message')}" for item in messages),
                service=self.service,
                operation="PutDashboard",
                resource=resource.name,
            )
        return Observed(
            resource.name,
            self.canonical(resource.properties),
            attributes={"arn": self._arn(resource.name), "name": resource.name},
        )

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        return self.create(resource, tags) if changes else observed

    def _arn(self, name: str) -> str:
        # A dashboard is of no region.
        return (
            f"arn:{self.session.partition}:cloudwatch::{self.session.account_id}:dashboard/{name}"
        )

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteDashboards", observed.name, DashboardNames=[observed.name])


ADAPTERS = (Alarm, Dashboard)
