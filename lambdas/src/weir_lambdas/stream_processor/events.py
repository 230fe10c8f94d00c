"""What Lambda delivers of a stream, lane by lane: a Kinesis shard, or a partition of a Kafka topic.

Sources: AWS Lambda Developer Guide, *Using Lambda to process records from Amazon Kinesis Data
Streams* and *Using Lambda with self-managed Apache Kafka* / *with Amazon MSK* (example events, and
*Reporting batch item failures*).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from weir_contract.moments import iso
from weir_lambdas.common.errors import ConfigInvalid

ReadKey = Callable[[bytes], str | None]
"""A Kafka key's bytes -> what they say, as text; None where they are to be shown as they are. Raises
``Rejected`` where they are not what the source says that its keys are."""

CALENDAR_END_MILLIS = 253_402_300_800_000
"""The year 10000, in milliseconds since 1970."""

TEXT_ELSE = "base64:"
"""In front of a Kafka key or header that is no UTF-8 text."""


class Entry(NamedTuple):
    """One record as it was delivered.

    Parameters
    ----------
    place
        Its sequence number or offset.
    data
        Its bytes, as text in base64; None: a Kafka record without a value, which deletes its key.
    at
        When it arrived at the stream, seconds since 1970; for Kafka its timestamp, which its
        producer may have set. None where that is no time of the calendar: a producer may have set
        none, or microseconds.
    raw
        The record in the event.
    """

    place: int
    data: str | bytes | None
    at: float | None
    raw: Mapping[str, Any]

    def content(self) -> bytes:
        """Its bytes.

        Raises
        ------
        ValueError
            They are no base64.
        """
        if isinstance(self.data, bytes):
            return self.data
        try:
            return binascii.a2b_base64(self.data or "")
        except binascii.Error as error:
            raise ValueError("its data is no base64") from error


@dataclass
class Lane:
    """Records of one shard or one partition, in their order.

    Parameters
    ----------
    kind
        Who delivered them.
    id
        Names the lane among all of the source, in keys.
    title
        For people.
    about
        What ``_stream`` says of each record alike.
    partition
        ``topic-partition``, as a failure in Kafka's form names it.
    """

    kind: Literal["kinesis", "kafka"]
    id: str
    title: str
    about: Mapping[str, Any]
    partition: str = ""
    entries: list[Entry] = field(default_factory=list)

    def failure(self, place: int) -> dict[str, Any]:
        """An item of ``batchItemFailures``: from this place on the lane has to come again."""
        if self.kind == "kinesis":
            return {"itemIdentifier": str(place)}
        return {"itemIdentifier": {"partition": self.partition, "offset": place}}

    def reason(self, entry: Entry, why: Exception) -> str:
        """Where a record is, and why it can't be read, for people."""
        kind = "sequence number" if self.kind == "kinesis" else "offset"
        return f"{self.title}, {kind} {entry.place}: {why}"

    def key(self, entry: Entry) -> bytes:
        """The bytes of a Kafka record's key; none where it has no key."""
        return binascii.a2b_base64(entry.raw.get("key") or "")

    def metadata(self, entry: Entry, read_key: ReadKey | None = None) -> dict[str, Any]:
        """``_stream`` of a record.

        Parameters
        ----------
        read_key
            What reads a Kafka key that is no text; None: nothing does.

        Raises
        ------
        Rejected
            The key is not what the source says that its keys are.
        """
        at = None if entry.at is None else iso(datetime.fromtimestamp(entry.at, UTC))
        if self.kind == "kinesis":
            return {
                **self.about,
                "sequence": str(entry.place),
                "partitionKey": entry.raw["kinesis"].get("partitionKey"),
                "time": at,
            }
        keyed = entry.raw.get("key") is not None
        found = {
            **self.about,
            "offset": entry.place,
            "time": at,
            "key": _key(self.key(entry), read_key) if keyed else None,
            "headers": [
                {"name": name, "value": None if value is None else _text(_bytes(value))}
                for header in entry.raw.get("headers") or ()
                for name, value in header.items()
            ],
        }
        return found | {"tombstone": True} if entry.data is None else found


def _bytes(numbers: Sequence[int]) -> bytes:
    """Lambda writes a header's bytes as Java does: from -128 to 127."""
    return bytes(one & 0xFF for one in numbers)


def _key(value: bytes, read_key: ReadKey | None) -> str:
    read = read_key(value) if read_key else None
    return _text(value) if read is None else read


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return TEXT_ELSE + base64.b64encode(value).decode()


def lanes(event: Mapping[str, Any]) -> list[Lane]:
    """The lanes of an event, in the order in which they come.

    Raises
    ------
    ConfigInvalid
        It is no event of Kinesis, MSK or self-managed Kafka.
    """
    if isinstance(event.get("records"), Mapping):
        return _kafka(event)
    records = event.get("Records")
    if isinstance(records, list) and all("kinesis" in record for record in records):
        return _kinesis(records)
    raise ConfigInvalid("the event is none of Kinesis, Amazon MSK or Apache Kafka", "receive")


def kinesis_lane(stream: str, shard: str) -> Lane:
    """The lane of a shard, without records."""
    about = {"stream": stream, "shard": shard}
    return Lane("kinesis", f"{stream}/{shard}", f"shard {shard} of the stream {stream}", about)


def _kinesis(records: list[Mapping[str, Any]]) -> list[Lane]:
    found: dict[tuple[str, str], Lane] = {}
    for record in records:
        stream = str(record["eventSourceARN"]).partition("stream/")[2].partition("/")[0]
        shard = str(record["eventID"]).partition(":")[0]
        lane = found.get((stream, shard))
        if lane is None:
            lane = found[stream, shard] = kinesis_lane(stream, shard)
        told = record["kinesis"]
        at = float(told.get("approximateArrivalTimestamp") or 0)
        lane.entries.append(Entry(int(told["sequenceNumber"]), told["data"], at, record))
    return list(found.values())


def kafka_lane(cluster: str, topic: str, number: int) -> Lane:
    """The lane of a partition, without records.

    Parameters
    ----------
    cluster
        ARN of an MSK cluster, which ends in cluster/<name>/<uuid>; empty for another one, whose
        addresses change while it stays.
    """
    known = cluster.partition("cluster/")[2].partition("/")[0]
    name = f"{topic}-{number}"
    return Lane(
        "kafka",
        f"{known}/{name}" if known else name,
        f"partition {number} of the topic {topic}",
        {"topic": topic, "partition": number},
        name,
    )


def kafka_time(millis: int) -> float | None:
    """A Kafka record's timestamp as seconds since 1970; None where it is no time of the calendar."""
    return millis / 1000 if 0 <= millis < CALENDAR_END_MILLIS else None


def _kafka(event: Mapping[str, Any]) -> list[Lane]:
    cluster, found = str(event.get("eventSourceArn") or ""), []
    for records in event["records"].values():
        if not records:
            continue
        lane = kafka_lane(cluster, str(records[0]["topic"]), int(records[0]["partition"]))
        lane.entries += [
            Entry(int(one["offset"]), one.get("value"), kafka_time(int(one["timestamp"])), one)
            for one in records
        ]
        found.append(lane)
    return found
