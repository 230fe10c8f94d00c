"""EventBridge: rules of the default bus, with their targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, blind, changed, common_prefix
from weir.aws.documents import decode, encode, ordered
from weir.aws.errors import Transient
from weir.resource import Change, Observed, Resource, Traits

PAGE = 100
"""``Limit`` at most (EventBridge API, "ListRules")."""

RULE = frozenset({"EventPattern", "ScheduleExpression", "State", "Description", "RoleArn"})


class Rule(ServiceAdapter):
    """A rule and all its targets.

    Properties: ``EventPattern``, ``State``, ``Description``, ``Targets[{Id, Arn, ...}]``.
    Attributes: ``arn``.
    """

    kind = "events.Rule"
    service = "events"
    tagged_as = ("events:rule",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "EventPattern" in form:
            form["EventPattern"] = decode(form["EventPattern"])
        if "Targets" in form:
            form["Targets"] = ordered(form["Targets"], "Id")
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        prefix = common_prefix(sorted(names))[:64]
        only = {"NamePrefix": prefix} if prefix else {}
        rules = self.calls.pages("ListRules", "Rules", prefix, Limit=PAGE, **only)
        return self.tagged(names, (blind(_observed(rule), "Targets") for rule in rules))

    def look(self, name: str) -> Observed | None:
        rule = self.calls.find("DescribeRule", name, Name=name)
        if rule is None:
            return None
        seen = _observed(rule)
        targets = self.calls.pages("ListTargetsByRule", "Targets", name, Rule=name)
        tags = self.calls("ListTagsForResource", name, ResourceARN=rule["Arn"])
        whole = {**seen.properties, "Targets": ordered(targets, "Id")}
        return replace(seen, properties=whole, tags=tagging.mapping(tags.get("Tags")))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        arn = self._put_rule(resource, Tags=tagging.pairs(tags))
        self._put_targets(resource, [])
        seen = _observed({"Name": resource.name, "Arn": arn})
        given = self.canonical({"Targets": [], **resource.properties})
        return replace(seen, properties={**seen.properties, **given}, tags=dict(tags))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        fields = changed(changes)
        if fields & RULE:
            # PutRule takes tags for a new rule only.
            self._put_rule(resource)
        if "Targets" in fields:
            self._put_targets(resource, observed.properties["Targets"])
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls(
                "TagResource",
                resource.name,
                ResourceARN=observed.attributes["arn"],
                Tags=tagging.pairs(new),
            )
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        if self.calls.find("DescribeRule", name, Name=name) is None:
            return
        targets = self.calls.pages("ListTargetsByRule", "Targets", name, Rule=name)
        ids = [target["Id"] for target in targets]
        if ids:
            self.calls.find("RemoveTargets", name, Rule=name, Ids=ids)
        self.calls.find("DeleteRule", name, Name=name)

    def _put_rule(self, resource: Resource, **more: Any) -> str:
        wanted = resource.properties
        parameters = {key: wanted[key] for key in RULE if wanted.get(key)}
        if "EventPattern" in parameters:
            parameters["EventPattern"] = encode(decode(parameters["EventPattern"]))
        answer = self.calls("PutRule", resource.name, Name=resource.name, **parameters, **more)
        return str(answer["RuleArn"])

    def _put_targets(self, resource: Resource, seen: Sequence[Mapping[str, Any]]) -> None:
        name, wanted = resource.name, resource.properties.get("Targets") or []
        gone = sorted({item["Id"] for item in seen} - {item["Id"] for item in wanted})
        if wanted:
            answer = self.calls(
                "PutTargets", name, Rule=name, Targets=[dict(item) for item in wanted]
            )
            self._all_done(name, "PutTargets", answer)
        if gone:
            self._all_done(
                name, "RemoveTargets", self.calls("RemoveTargets", name, Rule=name, Ids=gone)
            )

    def _all_done(self, name: str, operation: str, answer: Mapping[str, Any]) -> None:
        failed = answer.get("FailedEntries") or []
        if answer.get("FailedEntryCount"):
            reasons = "; ".join(
                f"{item.get('TargetId')}: {item.get('ErrorCode')} {item.get('ErrorMessage')}"
                for item in failed
            )
            raise Transient(
                f"events {operation} {name}: {reasons}",
                service=self.service,
                operation=operation,
                resource=name,
            )


def _observed(rule: Mapping[str, Any]) -> Observed:
    name = rule["Name"]
    return Observed(
        name=name,
        properties={
            "EventPattern": decode(rule.get("EventPattern", "")),
            "ScheduleExpression": rule.get("ScheduleExpression") or None,
            "State": rule.get("State", "ENABLED"),
            "Description": rule.get("Description", ""),
            "RoleArn": rule.get("RoleArn"),
        },
        attributes={"arn": rule["Arn"], "name": name},
    )


ADAPTERS = (Rule,)
