"""A Kinesis mapping reads its stream: shard by shard, parents before children, in lanes.

Lambda Developer Guide, "Using Lambda to process records from Amazon Kinesis Data Streams" and
"Polling and batching streams": one batch at a time for each shard, or ParallelizationFactor
batches with the order kept for each partition key; a shard that appears later is read from its
start; a consumer with enhanced fan-out reads the same records.
"""

from __future__ import annotations

import bisect
import logging
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from weir_local.aws import kms
from weir_local.aws.access import role_denial
from weir_local.aws.functions import function_role
from weir_local.aws.streams import batching, destinations, shards
from weir_local.aws.streams.invoking import record_metric
from weir_local.aws.streams.shards import Shard, Stream
from weir_local.aws.streams.working import NOTHING_YET, Worker

logger = logging.getLogger("weir.local.aws.lambda")

POLL = ("DescribeStreamSummary", "DescribeStream", "ListShards", "GetShardIterator", "GetRecords")
FAN_OUT = ("DescribeStreamConsumer", "SubscribeToShard")
"""What the role needs on the consumer, besides describing the stream and listing its shards."""

IDLE_SECONDS = 0.5
CHECKPOINTS = "Checkpoints"
"""A mapping's field: shard -> {"positions": one sequence number a lane, "done": whether read}."""

_kept = threading.Lock()


def stream_arn(source: str) -> str:
    """The stream's ARN of a stream's or a consumer's."""
    return source.partition("/consumer/")[0]


def denial(source: str, role_arn: str) -> str | None:
    """Why a role may not read a stream for Lambda, or None.

    :param source: the ARN of the stream or of a consumer
    """
    from ministack.services import kinesis

    stream = stream_arn(source)
    region = source.split(":")[3]
    needed = [(operation, stream) for operation in (POLL if source == stream else POLL[:3])]
    needed += [(operation, source) for operation in (() if source == stream else FAN_OUT)]
    for operation, arn in needed:
        denied = role_denial(role_arn, f"kinesis:{operation}", arn, region)
        if denied:
            return denied
    found = kinesis._resolve_stream_by_arn(stream) or {}
    key = kms.key_arn(found.get("KeyId"))
    via = {"kms:viaservice": f"kinesis.{region}.amazonaws.com"}
    return role_denial(role_arn, "kms:Decrypt", key, region, via) if key else None


def sequence(record: dict[str, Any]) -> str:
    """A record's sequence number; all have the same length, so text order is their order."""
    return str(record["SequenceNumber"])


def beginning(shard: Shard, mapping: dict[str, Any], now: str) -> str:
    """The sequence number after which a mapping starts to read a shard.

    :param now: a sequence number of this moment, where LATEST begins
    """
    start = str(shard["starting_sequence_number"])
    position = mapping.get("StartingPosition")
    if position == "LATEST":
        return now
    if position == "AT_TIMESTAMP":
        moment = float(mapping.get("StartingPositionTimestamp") or 0)
        before = [r for r in shard["records"] if r["ApproximateArrivalTimestamp"] < moment]
        return sequence(before[-1]) if before else start
    return start


def lane_of(partition_key: str, lanes: int) -> int:
    """The lane of a partition key: records of one key never pass each other."""
    return zlib.crc32(partition_key.encode()) % lanes


def positions(mapping: dict[str, Any], shard_id: str) -> list[str] | None:
    """A mapping's checkpoints of a shard, None when it never saw the shard."""
    kept = (mapping.get(CHECKPOINTS) or {}).get(shard_id)
    return None if kept is None else list(kept["positions"])


def is_done(mapping: dict[str, Any], shard_id: str) -> bool:
    """Whether a mapping read a shard to its end."""
    return bool(((mapping.get(CHECKPOINTS) or {}).get(shard_id) or {}).get("done"))


def keep(mapping: dict[str, Any], shard_id: str, places: Sequence[str], done: bool = False) -> None:
    """Keep the checkpoints of a shard with the mapping, which is what is persisted."""
    with _kept:
        mapping[CHECKPOINTS] = {
            **(mapping.get(CHECKPOINTS) or {}),
            shard_id: {"positions": list(places), "done": done},
        }


def advance(mapping: dict[str, Any], shard_id: str, lane: int, position: str) -> None:
    """Keep the checkpoint of one lane of a shard."""
    with _kept:
        kept = dict((mapping.get(CHECKPOINTS) or {}).get(shard_id) or {"positions": []})
        places = list(kept["positions"])
        if lane < len(places):
            places[lane] = position
            kept["positions"] = places
            mapping[CHECKPOINTS] = {**mapping[CHECKPOINTS], shard_id: kept}


def begin(mapping: dict[str, Any], stream: Stream) -> None:
    """Note where a mapping starts, once: later shards are read from their start."""
    if mapping.get(CHECKPOINTS) is not None:
        return
    now = shards.sequence_number()
    with _kept:
        mapping[CHECKPOINTS] = {}
    for name, shard in stream["shards"].items():
        after_end = not shards.is_open(shard) and mapping.get("StartingPosition") == "LATEST"
        keep(mapping, name, [beginning(shard, mapping, now)], after_end)


class Lane(Worker[dict[str, Any]]):
    """Reads one shard, or the partition keys of one lane of it."""

    def __init__(
        self, mapping: dict[str, Any], region: str, shard_id: str, number: int, position: str
    ) -> None:
        """:param number: which lane
        :param position: the sequence number after which it reads
        """
        super().__init__(mapping, region)
        self.shard_id = shard_id
        self.number = number
        self.position = position
        self.ended = False

    def rules(self) -> batching.Rules:
        """How the mapping treats batches; records are given up when they expire, at the latest."""
        from ministack.services import kinesis

        found = super().rules()
        stream = kinesis._resolve_stream_by_arn(stream_arn(str(self.mapping["EventSourceArn"])))
        kept = 3600.0 * (stream or {}).get("RetentionPeriodHours", 24)
        return replace(found, age=kept if found.age < 0 else min(found.age, kept))

    @property
    def lanes(self) -> int:
        """How many lanes the mapping has for each shard."""
        return int(self.mapping.get("ParallelizationFactor") or 1)

    def event(self, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The event of Kinesis records."""
        role = function_role(str(self.mapping["FunctionArn"]))
        source = str(self.mapping["EventSourceArn"])
        return {"Records": [self.element(record, role, source) for record in records]}

    def element(self, record: dict[str, Any], role: str, source: str) -> dict[str, Any]:
        """One record of the event."""
        from ministack.services import kinesis

        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": kinesis._ensure_base64(record["Data"]),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self.shard_id}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": role,
            "awsRegion": self.region,
            "eventSourceARN": source,
        }

    def rest(
        self, records: tuple[dict[str, Any], ...], reported: list[Any]
    ) -> tuple[dict[str, Any], ...]:
        """From the lowest sequence number reported on."""
        known = [sequence(record) for record in records]
        lowest = batching.lowest(reported, known)
        return () if lowest is None else records[lowest:]

    def arrived(self, record: dict[str, Any]) -> float:
        """The approximate arrival."""
        return float(record["ApproximateArrivalTimestamp"])

    def finish(self, records: Sequence[dict[str, Any]]) -> None:
        """Move the lane's checkpoint."""
        self.move(sequence(records[-1]))

    def move(self, position: str) -> None:
        """Keep a position of the lane."""
        self.position = max(self.position, position)
        advance(self.mapping, self.shard_id, self.number, self.position)

    def measure(self, records: Sequence[dict[str, Any]]) -> None:
        """IteratorAge: how old the last record of a batch is when the function gets it."""
        age = max(0.0, time.time() - self.arrived(records[-1]))
        record_metric(self.mapping, "IteratorAge", age * 1000, "Milliseconds")

    def describe(self, records: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """KinesisBatchInfo."""
        return "KinesisBatchInfo", {
            "shardId": self.shard_id,
            "startSequenceNumber": sequence(records[0]),
            "endSequenceNumber": sequence(records[-1]),
            "approximateArrivalOfFirstRecord": destinations.moment(self.arrived(records[0])),
            "approximateArrivalOfLastRecord": destinations.moment(self.arrived(records[-1])),
            "batchSize": len(records),
            "streamArn": stream_arn(str(self.mapping["EventSourceArn"])),
        }

    def source(self, _: Sequence[dict[str, Any]]) -> str:
        """The shard."""
        return self.shard_id

    def waiting(self, shard: Shard) -> tuple[list[dict[str, Any]], str]:
        """The lane's records after its position, and the position after all that was looked at."""
        records = shard["records"]
        start = bisect.bisect_right(records, self.position, key=sequence)
        seen = records[start:]
        lanes = self.lanes
        mine = [
            record
            for record in seen
            if lanes == 1 or lane_of(record["PartitionKey"], lanes) == self.number
        ]
        return mine, sequence(seen[-1]) if seen else self.position

    def batch(self, shard: Shard) -> list[dict[str, Any]]:
        """The next batch; empty when there is none, after some waiting.

        A batch is complete when it has its size or 6 MB, when the window is over, or when the
        shard is closed and will bring no more.
        """
        deadline: float | None = None
        while not self.stopping.is_set():
            rules = self.rules()
            closed = not shards.is_open(shard)
            records, seen = self.waiting(shard)
            if not records:
                if seen != self.position:
                    self.move(seen)
                self.ended = closed
                if closed or deadline is not None:
                    return []
                with shards.arrivals:
                    shards.arrivals.wait(IDLE_SECONDS)
                return []
            sizes = [len(str(record["Data"])) + 500 for record in records[: rules.size]]
            count = batching.cut(sizes, rules.size)
            deadline = deadline or time.monotonic() + rules.window
            full = count == rules.size or count < len(records)
            if full or closed or time.monotonic() >= deadline:
                return records[:count]
            with shards.arrivals:
                shards.arrivals.wait(min(IDLE_SECONDS, max(0.0, deadline - time.monotonic())))
        return []

    def filtered(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records that pass the mapping's filters."""
        from ministack.services import lambda_svc

        if not self.mapping.get("FilterCriteria"):
            return records
        by_number = {sequence(record): record for record in records}
        events = self.event(records)["Records"]
        passed = lambda_svc._apply_filter_criteria(events, self.mapping)
        return [by_number[each["kinesis"]["sequenceNumber"]] for each in passed]

    def run(self, shard: Shard) -> None:
        """Read until the shard ends or the mapping stops."""
        while not self.stopping.is_set() and not self.ended:
            records = self.batch(shard)
            if not records:
                continue
            kept = self.filtered(records)
            if not kept or self.process(kept):
                self.finish(records)


class KinesisReader:
    """Runs the lanes of one mapping."""

    def __init__(self, mapping: dict[str, Any], account: str, region: str) -> None:
        """:param mapping: as stored
        :param account: the mapping's
        :param region: the mapping's
        """
        self.mapping = mapping
        self.account = account
        self.region = region
        self.lanes: dict[str, list[tuple[Lane, threading.Thread]]] = {}
        self.denied: str | None = None
        self.asked = 0.0
        self.told = ""
        """What the mapping says of a problem that is not past."""

    def problem(self) -> str | None:
        """Why the mapping may not read now, asked of IAM every second."""
        from ministack.services import kinesis

        source = str(self.mapping["EventSourceArn"])
        if time.monotonic() - self.asked > 1:
            role = function_role(str(self.mapping["FunctionArn"]))
            self.denied = denial(source, role) if role else "The function does not exist"
            if source != stream_arn(source) and source not in kinesis._consumers:
                self.denied = f"Consumer {source} not found"
            self.asked = time.monotonic()
        return self.denied

    def tick(self) -> None:
        """Start what may be read now, and note what is read to its end."""
        from ministack.services import kinesis

        stream = kinesis._resolve_stream_by_arn(stream_arn(str(self.mapping["EventSourceArn"])))
        problem = "Stream not found" if stream is None else self.problem()
        if problem is not None or stream is None:
            self.stop()
            self.told = self.mapping["LastProcessingResult"] = f"PROBLEM: {problem}"
            return
        if self.told:
            self.told, self.mapping["LastProcessingResult"] = "", NOTHING_YET
        begin(self.mapping, stream)
        for name, started in list(self.lanes.items()):
            if any(thread.is_alive() for _, thread in started):
                continue
            del self.lanes[name]
            if all(lane.ended for lane, _ in started):
                keep(self.mapping, name, [lane.position for lane, _ in started], True)
        for name, shard in sorted(stream["shards"].items()):
            if name not in self.lanes and self.ready(stream, name, shard):
                self.start(name, shard)

    def ready(self, stream: Stream, name: str, shard: Shard) -> bool:
        """Whether a shard has more to read, and its parents none."""
        return not is_done(self.mapping, name) and all(
            is_done(self.mapping, parent)
            for parent in shards.parents(shard)
            if parent in stream["shards"]
        )

    def start(self, name: str, shard: Shard) -> None:
        """Start the lanes of a shard."""
        lanes = int(self.mapping.get("ParallelizationFactor") or 1)
        places = positions(self.mapping, name) or [str(shard["starting_sequence_number"])]
        if len(places) != lanes:
            # Keys change lanes with their number: all start where every lane has been.
            places = [min(places)] * lanes
        keep(self.mapping, name, places)
        self.lanes[name] = []
        for number, place in enumerate(places):
            lane = Lane(self.mapping, self.region, name, number, place)
            thread = threading.Thread(
                target=self.run, args=(lane, shard), name=f"kinesis-{name}-{number}", daemon=True
            )
            self.lanes[name].append((lane, thread))
            thread.start()

    def run(self, lane: Lane, shard: Shard) -> None:
        """A lane's thread."""
        from ministack.core.responses import request_scope

        with request_scope(self.account, self.region):
            try:
                lane.run(shard)
            except Exception:
                logger.exception("mapping %s stopped reading", self.mapping["UUID"])
                self.mapping["LastProcessingResult"] = "PROBLEM: internal Lambda error"
                lane.stopping.wait(1)

    def stop(self) -> None:
        """Ask every lane to end after its invocation."""
        for started in self.lanes.values():
            for lane, _ in started:
                lane.stopping.set()
        shards.announce()

    def ended(self) -> bool:
        """Whether no lane runs."""
        return not any(
            thread.is_alive() for started in self.lanes.values() for _, thread in started
        )
