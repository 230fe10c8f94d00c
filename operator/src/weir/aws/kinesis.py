"""Kinesis Data Streams: streams, and consumers with enhanced fan-out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, blind, changed, picked, split_pair, with_tags
from weir.aws.calls import wait_for
from weir.aws.errors import Conflict, Invalid, NotYet
from weir.resource import Change, Observed, Resource, Traits

PAGE = 100
"""Streams that one ListStreams gives by default; it takes up to 10,000 (Kinesis API reference)."""
UNLISTED = ("RetentionPeriodHours", "KmsKeyArn", "ShardCount")
"""What ListStreams leaves out."""
DEFAULT_RETENTION_HOURS = 24
SETTLE_SECONDS = 3.0
"""How long a call waits for a stream to be ACTIVE; on AWS most take longer, and are looked at again."""
RETRY_SECONDS = 10.0
PROVISIONED = "PROVISIONED"


class Stream(ServiceAdapter):
    """A data stream, named by its name; one that is not ours may be named by its ARN.

    Properties: ``StreamModeDetails{StreamMode}``, ``ShardCount`` (open shards, of ``PROVISIONED``
    alone), ``RetentionPeriodHours``, ``KmsKeyArn`` (None for none). Attributes: ``arn``, ``name``.
    """

    kind = "kinesis.Stream"
    service = "kinesis"
    tagged_as = ("kinesis:stream",)
    traits = Traits(holds_data=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "KmsKeyArn" in form:
            form["KmsKeyArn"] = form["KmsKeyArn"] or None
        if form.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
            form.pop("ShardCount", None)
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        ours = [name for name in names if not name.startswith("arn:")]
        yield from self.observe([name for name in names if name.startswith("arn:")]).values()
        listed = self.calls.pages(
            "ListStreams", "StreamSummaries", PaginationConfig={"PageSize": PAGE}
        )
        yield from self.tagged(ours, (blind(_observed(one), *UNLISTED) for one in listed))

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("DescribeStreamSummary", name, **_named(name))
        if found is None:
            return None
        summary = found["StreamDescriptionSummary"]
        arn = summary["StreamARN"]
        tags: dict[str, str] = {}
        if not name.startswith("arn:"):
            answer = self.calls.find("ListTagsForResource", name, ResourceARN=arn)
            if answer is None:
                return None
            tags = {one["Key"]: one["Value"] for one in answer.get("Tags", ())}
        return with_tags(_observed(summary, name), tags)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted, name = self.canonical(resource.properties), resource.name
        try:
            self.calls(
                "CreateStream",
                name,
                StreamName=name,
                Tags=dict(tags),
                **picked(wanted, ("StreamModeDetails", "ShardCount")),
            )
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        # What else is wanted can be said of an active stream only.
        seen = self._active(name)
        if not seen.settled:
            return seen
        return self._brought(resource, seen, set(wanted))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name = resource.name
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls("TagResource", name, ResourceARN=observed.attributes["arn"], Tags=new)
            self.tag_index.touched(observed.attributes["arn"])
        fields = changed(changes)
        if not fields:
            return self.rewritten(resource, observed, changes, tags)
        seen = self._active(name)
        if not seen.settled:
            raise NotYet(
                f"stream {name} is being changed already ({seen.detail}): the rest follows",
                service=self.service,
                resource=name,
                retry_after=RETRY_SECONDS,
            )
        return self._brought(resource, seen, fields)

    def delete(self, observed: Observed) -> None:
        if observed.detail != "StreamStatus: DELETING":
            self.calls.find("DeleteStream", observed.name, **_named(observed.name))

    def _brought(self, resource: Resource, seen: Observed, fields: set[str]) -> Observed:
        """Change what differs, one after the other: each makes the stream busy for a while."""
        wanted, name = self.canonical(resource.properties), resource.name
        steps = (
            ("StreamModeDetails", self._set_mode),
            ("ShardCount", self._reshard),
            ("RetentionPeriodHours", self._retain),
            ("KmsKeyArn", self._encrypt),
        )
        for field, step in steps:
            if field not in fields or field not in wanted:
                continue
            if wanted[field] == seen.properties.get(field):
                continue
            try:
                step(seen, wanted[field])
            except Invalid:
                # Who changes what is so already is refused: a try after one whose reply was lost.
                if self.must_see(name).properties.get(field) == seen.properties.get(field):
                    raise
            seen = self._active(name)
            if not seen.settled:
                break
        return seen

    def _set_mode(self, seen: Observed, mode: Mapping[str, Any]) -> None:
        arn = seen.attributes["arn"]
        self.calls("UpdateStreamMode", seen.name, StreamARN=arn, StreamModeDetails=dict(mode))

    def _reshard(self, seen: Observed, shards: int) -> None:
        """Toward the wanted count: to twice or half of what is there at most (Kinesis API,
        *UpdateShardCount*); the difference that is left is the next look's."""
        there = int(seen.properties.get("ShardCount") or shards)
        target = min(max(shards, math.ceil(there / 2)), there * 2)
        self.calls(
            "UpdateShardCount",
            seen.name,
            StreamName=seen.name,
            TargetShardCount=target,
            ScalingType="UNIFORM_SCALING",
        )

    def _retain(self, seen: Observed, hours: int) -> None:
        longer = hours > int(seen.properties.get("RetentionPeriodHours") or DEFAULT_RETENTION_HOURS)
        operation = f"{'Increase' if longer else 'Decrease'}StreamRetentionPeriod"
        self.calls(operation, seen.name, StreamName=seen.name, RetentionPeriodHours=hours)

    def _encrypt(self, seen: Observed, key: str | None) -> None:
        operation = "StartStreamEncryption" if key else "StopStreamEncryption"
        self.calls(
            operation,
            seen.name,
            StreamName=seen.name,
            EncryptionType="KMS",
            KeyId=key or seen.properties["KmsKeyArn"],
        )

    def _active(self, name: str) -> Observed:
        return wait_for(
            lambda: self.must_see(name),
            lambda seen: seen.settled,
            seconds=SETTLE_SECONDS,
            first=0.1,
        )


def _named(name: str) -> dict[str, str]:
    return {"StreamARN": name} if name.startswith("arn:") else {"StreamName": name}


def _observed(summary: Mapping[str, Any], name: str | None = None) -> Observed:
    """A stream of ``DescribeStreamSummary`` or ``ListStreams``."""
    status = summary["StreamStatus"]
    mode = (summary.get("StreamModeDetails") or {}).get("StreamMode", PROVISIONED)
    properties: dict[str, Any] = {
        "StreamModeDetails": {"StreamMode": mode},
        "RetentionPeriodHours": summary.get("RetentionPeriodHours"),
        "KmsKeyArn": summary.get("KeyId") if summary.get("EncryptionType") == "KMS" else None,
    }
    if mode == PROVISIONED:
        properties["ShardCount"] = summary.get("OpenShardCount")
    return Observed(
        name=name or summary["StreamName"],
        properties=properties,
        attributes={"arn": summary["StreamARN"], "name": summary["StreamName"]},
        settled=status == "ACTIVE",
        detail="" if status == "ACTIVE" else f"StreamStatus: {status}",
    )


def split_consumer(name: str) -> tuple[str, str]:
    """Stream ARN and consumer of a consumer's name ``streamArn|consumerName``.

    Raises
    ------
    Invalid
        It has not two parts.
    """
    return split_pair(name, "|", "is no streamArn|consumerName", "kinesis")


class Consumer(ServiceAdapter):
    """A registered consumer of a stream (enhanced fan-out), named ``streamArn|consumerName``.

    It has no properties. Attributes: ``arn``, ``name``, ``stream``.
    """

    kind = "kinesis.Consumer"
    service = "kinesis"

    def look(self, name: str) -> Observed | None:
        stream, consumer = split_consumer(name)
        found = self.calls.find(
            "DescribeStreamConsumer", name, StreamARN=stream, ConsumerName=consumer
        )
        if found is None:
            return None
        described = found["ConsumerDescription"]
        arn = described["ConsumerARN"]
        answer = self.calls.find("ListTagsForResource", name, ResourceARN=arn)
        if answer is None:
            return None
        tags = {one["Key"]: one["Value"] for one in answer.get("Tags", ())}
        return with_tags(_consumer(name, described), tags)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        stream, consumer = split_consumer(resource.name)
        try:
            made = self.calls(
                "RegisterStreamConsumer",
                resource.name,
                StreamARN=stream,
                ConsumerName=consumer,
                Tags=dict(tags),
            )
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return with_tags(_consumer(resource.name, made["Consumer"]), tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        new = tagging.missing(observed.tags, tags)
        if new:
            arn = observed.attributes["arn"]
            self.calls("TagResource", resource.name, ResourceARN=arn, Tags=new)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        if observed.detail != "ConsumerStatus: DELETING":
            self.calls.find(
                "DeregisterStreamConsumer", observed.name, ConsumerARN=observed.attributes["arn"]
            )


def _consumer(name: str, described: Mapping[str, Any]) -> Observed:
    stream, consumer = split_consumer(name)
    status = described["ConsumerStatus"]
    return Observed(
        name=name,
        properties={},
        attributes={"arn": described["ConsumerARN"], "name": consumer, "stream": stream},
        settled=status == "ACTIVE",
        detail="" if status == "ACTIVE" else f"ConsumerStatus: {status}",
    )


ADAPTERS = (Stream, Consumer)
