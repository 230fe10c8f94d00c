"""Lambda: event source mappings, which read a queue or stream and call a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, split_pair, with_tags
from weir.aws.calls import wait_for
from weir.aws.errors import Conflict, NotYet
from weir.resource import Change, Observed, Resource, Traits
from weir_contract.pollers import PROBLEM, trouble

MAPPINGS_PAGE = 100
"""Mappings that one ListEventSourceMappings gives at most (Lambda API reference)."""
KAFKA = "kafka:"
"""What stands before the topic in the name of a mapping of Kafka."""
SETTLE_SECONDS = 3.0
"""How long a call waits until AWS has done it. On AWS most take longer: the engine looks again."""


def split_mapping(name: str) -> tuple[str, str]:
    """Function and source of a mapping's name: ``functionName|arn`` or ``functionName|kafka:topic``.

    Raises
    ------
    Invalid
        It has not two parts.
    """
    otherwise = f"is neither functionName|eventSourceArn nor functionName|{KAFKA}topic"
    return split_pair(name, "|", otherwise, "lambda")


class EventSourceMapping(ServiceAdapter):
    """What reads a queue or stream and invokes a function.

    AWS gives it no name. Ours is ``functionName|arn`` of the queue or stream, also where it reads
    that by a consumer, and ``functionName|kafka:topic`` for Kafka, so that another consumer or
    another cluster is a replacement: two mappings never read the same at once.

    Properties: as ``CreateEventSourceMapping``. ``StartingPositionTimestamp`` (RFC 3339) counts at
    creation alone. Attributes: ``uuid``, ``arn``, and ``problem``: what keeps its pollers from
    reading (:func:`weir_contract.pollers.trouble`), empty where they read.
    """

    kind = "lambda.EventSourceMapping"
    service = "lambda"
    tagged_as = ("lambda:event-source-mapping",)
    traits = Traits(
        immutable=frozenset(
            {
                "FunctionName",
                "EventSourceArn",
                "SelfManagedEventSource",
                "StartingPosition",
                "Topics",
                "AmazonManagedKafkaEventSourceConfig",
                "SelfManagedKafkaEventSourceConfig",
            }
        ),
        unordered=frozenset({"FunctionResponseTypes", "SourceAccessConfigurations"}),
    )

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {
            key: value for key, value in properties.items() if key != "StartingPositionTimestamp"
        }
        if isinstance(form.get("FunctionName"), str):
            form["FunctionName"] = _function_name(form["FunctionName"])
        for name, shape in _MAPPING_SHAPES.items():
            if name in form:
                form[name] = shape(form[name])
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        wanted = dict.fromkeys(names)
        functions = dict.fromkeys(split_mapping(name)[0] for name in wanted)
        found: dict[str, Observed] = {}
        for function in functions:
            for seen in self._listed(FunctionName=function):
                if seen.name in wanted:
                    listed = self.calls.find("ListTags", seen.name, Resource=seen.attributes["arn"])
                    if listed is not None:  # Else it went between the two calls.
                        found[seen.name] = with_tags(seen, listed.get("Tags", {}))
        return found

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        return self.tagged(names, self._listed())

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        given = {key: value for key, value in resource.properties.items() if value is not None}
        try:
            made = self.calls("CreateEventSourceMapping", resource.name, Tags=dict(tags), **given)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return with_tags(self._calm(self._observed(made)), tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        fields = changed(changes) & set(resource.properties) - self.traits.immutable
        seen = observed
        if fields:
            answer = self.calls(
                "UpdateEventSourceMapping",
                resource.name,
                UUID=observed.attributes["uuid"],
                **{field: resource.properties[field] for field in fields},
            )
            seen = with_tags(self._calm(self._observed(answer)), observed.tags)
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls("TagResource", resource.name, Resource=observed.attributes["arn"], Tags=new)
        return with_tags(seen, {**observed.tags, **new})

    def delete(self, observed: Observed) -> None:
        """Delete it and wait until it is gone: until then AWS takes no other of its function and
        source, and it may call the function.

        Raises
        ------
        NotYet
            AWS is still at it.
        """
        name = observed.name
        if observed.properties.get("State") != DELETING:
            self.calls.find("DeleteEventSourceMapping", name, UUID=observed.attributes["uuid"])
        left = wait_for(
            lambda: self._again(observed),
            lambda seen: seen is None,
            seconds=SETTLE_SECONDS,
            first=0.1,
        )
        if left is not None:
            raise NotYet(
                f"event source mapping {name} is being deleted: what comes next waits for it",
                service=self.service,
                resource=name,
                retry_after=5.0,
            )

    def _again(self, seen: Observed) -> Observed | None:
        """One that was seen before, without its tags."""
        found = self.calls.find("GetEventSourceMapping", seen.name, UUID=seen.attributes["uuid"])
        return None if found is None else self._observed(found)

    def _calm(self, seen: Observed) -> Observed:
        """One that was just written, looked at again for a moment while AWS changes it."""
        return wait_for(
            lambda: self._again(seen) or seen,
            lambda found: found.settled,
            seconds=SETTLE_SECONDS,
            first=0.1,
        )

    def _listed(self, **filters: str) -> Iterator[Observed]:
        for mapping in self.calls.pages(
            "ListEventSourceMappings", "EventSourceMappings", MaxItems=MAPPINGS_PAGE, **filters
        ):
            yield self._observed(mapping)

    def _observed(self, mapping: Mapping[str, Any]) -> Observed:
        function = _function_name(mapping["FunctionArn"])
        state = mapping.get("State", "Enabled")
        arn = mapping.get("EventSourceMappingArn") or self.session.arn(
            "lambda", f"event-source-mapping:{mapping['UUID']}"
        )
        properties = {key: value for key, value in mapping.items() if key not in _MAPPING_STATE}
        for field, shape in _MAPPING_SHAPES.items():
            properties[field] = shape(properties.get(field))
        reason = mapping.get("StateTransitionReason", "")
        result = mapping.get("LastProcessingResult", "")
        return Observed(
            name=f"{function}|{_source(mapping)}",
            properties={
                "FunctionResponseTypes": [],
                "MaximumBatchingWindowInSeconds": 0,
                **properties,
                "FunctionName": function,
                "Enabled": state not in ("Disabled", "Disabling"),
                "State": state,
            },
            attributes={"uuid": mapping["UUID"], "arn": arn, "problem": trouble(mapping)},
            settled=state in ("Enabled", "Disabled"),
            detail="; ".join(
                text
                for text in (
                    "" if state == "Enabled" else f"State: {state}",
                    "" if reason in _OWN_DOING else reason,
                    result if result.startswith(PROBLEM) else "",
                )
                if text
            ),
        )


DELETING = "Deleting"
_OWN_DOING = ("", "User action", "USER_INITIATED")
"""What AWS gives as the reason of a state that a call of ours brought about."""


def _source(mapping: Mapping[str, Any]) -> str:
    """What a mapping's name says of what it reads."""
    topics = mapping.get("Topics")
    if topics:
        return f"{KAFKA}{topics[0]}"
    return str(mapping.get("EventSourceArn", "")).partition("/consumer/")[0]


def _accesses(value: Any) -> list[dict[str, Any]]:
    return sorted(
        (dict(one) for one in value or ()), key=lambda one: (one["Type"], str(one["URI"]))
    )


def _brokers(value: Any) -> dict[str, Any]:
    servers = ((value or {}).get("Endpoints") or {}).get("KAFKA_BOOTSTRAP_SERVERS")
    return {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": sorted(servers)}} if servers else {}


def _consumer_group(value: Any) -> dict[str, Any]:
    """The group alone: of schema registries Lambda knows nothing here, our function asks them."""
    group = (value or {}).get("ConsumerGroupId")
    return {"ConsumerGroupId": group} if group else {}


def _failures(value: Any) -> dict[str, Any]:
    """AWS answers with an empty ``OnSuccess`` beside it."""
    given = (value or {}).get("OnFailure") or {}
    return {"OnFailure": dict(given)} if given else {}


def _document(value: Any) -> dict[str, Any]:
    return dict(value or {})


_MAPPING_SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "SourceAccessConfigurations": _accesses,
    "SelfManagedEventSource": _brokers,
    "AmazonManagedKafkaEventSourceConfig": _consumer_group,
    "SelfManagedKafkaEventSourceConfig": _consumer_group,
    "DestinationConfig": _failures,
    "ProvisionedPollerConfig": _document,
}
"""Property -> the form in which two of them compare equal."""

_MAPPING_STATE = {
    "UUID",
    "FunctionArn",
    "LastModified",
    "LastProcessingResult",
    "StateTransitionReason",
    "EventSourceMappingArn",
    "ResponseMetadata",
    "StartingPositionTimestamp",
}


def _function_name(name: str) -> str:
    return name.rpartition(":function:")[2] if ":function:" in name else name


ADAPTERS = (EventSourceMapping,)
