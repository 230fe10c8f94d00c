"""SNS: topics with their subscriptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed
from weir.aws.documents import encode, ordered, policy
from weir.resource import Change, Observed, Resource, Traits

TOPIC = frozenset({"KmsMasterKeyId", "Policy", "Subscriptions"})
"""What the list of topics does not tell: all but their names."""


class Topic(ServiceAdapter):
    """A topic.

    Properties: ``KmsMasterKeyId``, ``Policy``, ``Subscriptions[{Protocol, Endpoint}]`` (all of them,
    when given). A subscription by mail waits for its reader's confirmation and counts as there.
    Attributes: ``arn``.
    """

    kind = "sns.Topic"
    service = "sns"
    tagged_as = ("sns",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "KmsMasterKeyId" in form:
            form["KmsMasterKeyId"] = form["KmsMasterKeyId"] or None
        if "Policy" in form:
            form["Policy"] = policy(form["Policy"])
        if "Subscriptions" in form:
            form["Subscriptions"] = ordered(form["Subscriptions"], "Protocol", "Endpoint")
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        arns = (topic["TopicArn"] for topic in self.calls.pages("ListTopics", "Topics"))
        return self.tagged(
            names,
            (Observed(_name(arn), {}, attributes=_named(arn), unseen=TOPIC) for arn in arns),
        )

    def look(self, name: str) -> Observed | None:
        arn = self.session.arn("sns", name)
        found = self.calls.find("GetTopicAttributes", name, TopicArn=arn)
        if found is None:
            return None
        attributes = found["Attributes"]
        subscriptions = [
            {"Protocol": item["Protocol"], "Endpoint": item["Endpoint"]}
            for item in self._subscriptions(arn)
        ]
        tags = self.calls("ListTagsForResource", name, ResourceArn=arn)
        return Observed(
            name=name,
            properties={
                "KmsMasterKeyId": attributes.get("KmsMasterKeyId") or None,
                "Policy": policy(attributes.get("Policy", "")),
                "Subscriptions": ordered(subscriptions, "Protocol", "Endpoint"),
            },
            attributes=_named(arn),
            tags=tagging.mapping(tags.get("Tags")),
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted, name = resource.properties, resource.name
        attributes = {}
        if wanted.get("KmsMasterKeyId"):
            attributes["KmsMasterKeyId"] = wanted["KmsMasterKeyId"]
        if wanted.get("Policy"):
            attributes["Policy"] = encode(wanted["Policy"])
        arn = self.calls(
            "CreateTopic", name, Name=name, Attributes=attributes, Tags=tagging.pairs(tags)
        )["TopicArn"]
        subscriptions = wanted.get("Subscriptions") or []
        for item in subscriptions:
            self._add(name, arn, item["Protocol"], item["Endpoint"])
        given = self.canonical({"KmsMasterKeyId": None, "Subscriptions": [], **wanted})
        # AWS gives a topic that is born without a policy one of its own.
        unknown = frozenset() if given.get("Policy") else frozenset({"Policy"})
        return Observed(name, given, attributes=_named(arn), tags=dict(tags), unseen=unknown)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted, fields, name = resource.properties, changed(changes), resource.name
        arn = observed.attributes["arn"]
        for field in sorted(fields & {"KmsMasterKeyId", "Policy"}):
            value = wanted[field] or ""
            self.calls(
                "SetTopicAttributes",
                name,
                TopicArn=arn,
                AttributeName=field,
                AttributeValue=encode(value) if isinstance(value, Mapping) else str(value),
            )
        if "Subscriptions" in fields:
            self._subscribe(name, arn, wanted["Subscriptions"] or [])
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls("TagResource", name, ResourceArn=arn, Tags=tagging.pairs(new))
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteTopic", observed.name, TopicArn=observed.attributes["arn"])

    def _subscriptions(self, arn: str) -> Iterator[Any]:
        return self.calls.pages("ListSubscriptionsByTopic", "Subscriptions", arn, TopicArn=arn)

    def _add(self, name: str, arn: str, protocol: str, endpoint: str) -> None:
        self.calls("Subscribe", name, TopicArn=arn, Protocol=protocol, Endpoint=endpoint)

    def _subscribe(self, name: str, arn: str, wanted: Sequence[Mapping[str, str]]) -> None:
        there = {(item["Protocol"], item["Endpoint"]): item for item in self._subscriptions(arn)}
        meant = {(item["Protocol"], item["Endpoint"]) for item in wanted}
        for protocol, endpoint in sorted(meant - set(there)):
            self._add(name, arn, protocol, endpoint)
        for key in sorted(set(there) - meant):
            subscription = there[key]["SubscriptionArn"]
            # One that nobody confirmed has no ARN yet and goes by itself after two days.
            if subscription.startswith("arn:"):
                self.calls.find("Unsubscribe", name, SubscriptionArn=subscription)


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _named(arn: str) -> dict[str, str]:
    return {"arn": arn, "name": _name(arn)}


ADAPTERS = (Topic,)
