"""SQS: queues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, common_prefix
from weir.aws.documents import decode, encode, policy
from weir.aws.errors import Conflict
from weir.resource import Change, Observed, Resource, Traits

NUMBERS = (
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
)
TEXTS = ("KmsMasterKeyId",)
DOCUMENTS = ("RedrivePolicy", "Policy")
FIELDS = (*NUMBERS, *TEXTS, *DOCUMENTS)
DEFAULTS: Mapping[str, Any] = {
    "VisibilityTimeout": 30,
    "MessageRetentionPeriod": 345_600,
    "DelaySeconds": 0,
    "ReceiveMessageWaitTimeSeconds": 0,
    "KmsMasterKeyId": None,
    "RedrivePolicy": {},
    "Policy": {},
}
"""SQS API reference, "CreateQueue"."""


PAGE = 1000
"""``MaxResults`` at most (SQS API, "ListQueues")."""


class Queue(ServiceAdapter):
    """A standard queue.

    Properties: ``VisibilityTimeout`` and ``MessageRetentionPeriod`` (seconds), ``KmsMasterKeyId``,
    ``RedrivePolicy{deadLetterTargetArn, maxReceiveCount}``, ``Policy``. Attributes: ``arn``, ``url``.
    """

    kind = "sqs.Queue"
    service = "sqs"
    tagged_as = ("sqs",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "Policy" in form:
            form["Policy"] = policy(form["Policy"])
        if "RedrivePolicy" in form:
            form["RedrivePolicy"] = _redrive(form["RedrivePolicy"])
        if "KmsMasterKeyId" in form:
            form["KmsMasterKeyId"] = form["KmsMasterKeyId"] or None
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        prefix = common_prefix(sorted(names))
        only = {"QueueNamePrefix": prefix} if prefix else {}
        urls = self.calls.pages("ListQueues", "QueueUrls", prefix, MaxResults=PAGE, **only)
        return self.tagged(
            names,
            (
                Observed(_name(url), {}, attributes=self._named(url), unseen=frozenset(FIELDS))
                for url in urls
            ),
        )

    def _named(self, url: str) -> dict[str, str]:
        name = _name(url)
        return {"arn": self.session.arn("sqs", name), "url": url, "name": name}

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetQueueUrl", name, QueueName=name)
        if found is None:
            return None
        url = found["QueueUrl"]
        answer = self.calls.find("GetQueueAttributes", name, QueueUrl=url, AttributeNames=["All"])
        tags = self.calls.find("ListQueueTags", name, QueueUrl=url)
        # GetQueueUrl knows a deleted queue for some seconds longer.
        if answer is None or tags is None:
            return None
        attributes = answer["Attributes"]
        return Observed(
            name=name,
            properties={
                **{key: int(attributes[key]) for key in NUMBERS if key in attributes},
                "KmsMasterKeyId": attributes.get("KmsMasterKeyId") or None,
                "RedrivePolicy": _redrive(attributes.get("RedrivePolicy")),
                "Policy": policy(attributes.get("Policy", "")),
            },
            attributes=self._named(url),
            tags=tags.get("Tags", {}),
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted = resource.properties
        attributes = {
            key: _text(key, wanted[key]) for key in FIELDS if wanted.get(key) not in (None, {})
        }
        try:
            url = self.calls(
                "CreateQueue",
                resource.name,
                QueueName=resource.name,
                Attributes=attributes,
                tags=dict(tags),
            )["QueueUrl"]
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        given = self.canonical({**DEFAULTS, **wanted})
        return Observed(resource.name, given, attributes=self._named(url), tags=dict(tags))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name, url = resource.name, observed.attributes["url"]
        fields = sorted(changed(changes) & set(FIELDS) & set(resource.properties))
        if fields:
            self.calls(
                "SetQueueAttributes",
                name,
                QueueUrl=url,
                Attributes={key: _text(key, resource.properties[key]) for key in fields},
            )
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls("TagQueue", name, QueueUrl=url, Tags=new)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteQueue", observed.name, QueueUrl=observed.attributes["url"])


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _redrive(value: Any) -> dict[str, Any]:
    document = dict(decode(value) or {})
    if isinstance(document.get("maxReceiveCount"), str):
        document["maxReceiveCount"] = int(document["maxReceiveCount"])
    return document


def _text(key: str, value: Any) -> str:
    if key in DOCUMENTS:
        return encode(value) if value else ""
    return "" if value is None else str(value)


ADAPTERS = (Queue,)
