"""Step Functions: state machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import FEW, ServiceAdapter, changed
from weir.aws.documents import decode, encode
from weir.aws.errors import AccessDenied, Conflict
from weir.resource import Change, Observed, Resource, Traits

SETTINGS = frozenset({"definition", "roleArn", "loggingConfiguration", "tracingConfiguration"})

PAGE = 1000
"""``maxResults`` at most (Step Functions API, "ListStateMachines")."""


class StateMachine(ServiceAdapter):
    """A state machine.

    Properties: ``definition`` (a document), ``roleArn``, ``type``, ``loggingConfiguration``,
    ``tracingConfiguration``. Attributes: ``arn``.
    """

    kind = "states.StateMachine"
    service = "stepfunctions"
    tagged_as = ("states:stateMachine",)
    traits = Traits(immutable=frozenset({"type"}))

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "definition" in form:
            form["definition"] = decode(form["definition"])
        if "loggingConfiguration" in form:
            form["loggingConfiguration"] = _logging(form["loggingConfiguration"])
        if "tracingConfiguration" in form:
            form["tracingConfiguration"] = _tracing(form["tracingConfiguration"])
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        return self.tagged(
            names,
            (
                Observed(
                    machine["name"],
                    {"type": machine.get("type", "STANDARD")},
                    attributes={"arn": machine["stateMachineArn"], "name": machine["name"]},
                    unseen=SETTINGS,
                )
                for machine in self.calls.pages(
                    "ListStateMachines", "stateMachines", maxResults=PAGE
                )
            ),
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name, kind = resource.name, resource.properties.get("type", "STANDARD")
        try:
            arn = self.calls(
                "CreateStateMachine",
                name,
                name=name,
                type=kind,
                tags=tagging.pairs(tags, "key", "value"),
                **self._settings(resource, SETTINGS),
            )["stateMachineArn"]
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return Observed(
            name,
            {
                "type": kind,
                "loggingConfiguration": _logging(None),
                "tracingConfiguration": _tracing(None),
                **self.canonical(resource.properties),
            },
            attributes={"arn": arn, "name": name},
            tags=dict(tags),
        )

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name, arn = resource.name, observed.attributes["arn"]
        settings = self._settings(resource, changed(changes) & SETTINGS)
        if settings:
            self.calls("UpdateStateMachine", name, stateMachineArn=arn, **settings)
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls(
                "TagResource", name, resourceArn=arn, tags=tagging.pairs(new, "key", "value")
            )
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        arn = observed.attributes["arn"]
        self.calls.find("DeleteStateMachine", observed.name, stateMachineArn=arn)

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        wanted = list(dict.fromkeys(names))
        tags = self._indexed() if len(wanted) > FEW else {}
        found = {name: self._look(name, tags) for name in wanted}
        return {name: seen for name, seen in found.items() if seen is not None}

    def _indexed(self) -> Mapping[str, Mapping[str, str]]:
        try:
            return self.tag_index.read()
        except AccessDenied:
            return {}

    def _look(self, name: str, tags: Mapping[str, Mapping[str, str]]) -> Observed | None:
        arn = self.session.arn("states", f"stateMachine:{name}")
        machine = self.calls.find("DescribeStateMachine", name, stateMachineArn=arn)
        if machine is None:
            return None
        own = tags.get(arn)
        if own is None:
            listed = self.calls.find("ListTagsForResource", name, resourceArn=arn)
            if listed is None:
                return None
            own = tagging.mapping(listed.get("tags"), "key", "value")
        status = machine.get("status", "ACTIVE")
        return Observed(
            name=name,
            properties={
                "definition": decode(machine["definition"]),
                "roleArn": machine["roleArn"],
                "type": machine.get("type", "STANDARD"),
                "loggingConfiguration": _logging(machine.get("loggingConfiguration")),
                "tracingConfiguration": _tracing(machine.get("tracingConfiguration")),
            },
            attributes={"arn": arn, "name": name},
            tags=dict(own),
            settled=status == "ACTIVE",
            detail="" if status == "ACTIVE" else f"status: {status}",
        )

    def _settings(self, resource: Resource, fields: Any) -> dict[str, Any]:
        wanted = self.canonical(resource.properties)
        settings = {field: wanted[field] for field in fields if wanted.get(field) is not None}
        if "definition" in settings:
            settings["definition"] = encode(settings["definition"])
        return settings


def _logging(value: Mapping[str, Any] | None) -> dict[str, Any]:
    form = {"level": "OFF", "includeExecutionData": False, **(value or {})}
    form["destinations"] = [
        {"cloudWatchLogsLogGroup": {"logGroupArn": _group(item)}}
        for item in form.get("destinations") or ()
    ]
    return form


def _group(destination: Mapping[str, Any]) -> str:
    # Step Functions wants, and gives back, the spelling that ends with ":*".
    arn = str(destination["cloudWatchLogsLogGroup"]["logGroupArn"])
    return arn if arn.endswith(":*") else f"{arn}:*"


def _tracing(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"enabled": bool((value or {}).get("enabled"))}


ADAPTERS = (StateMachine,)
