"""Kinesis streams keep their closed shards, take the states of their changes, and hold AWS's limits.

Kinesis Data Streams Developer Guide, "Resharding a stream" (a parent stays readable until its
records expire, its children name it), "Quotas and limits"; API Reference, "ListShards",
"GetRecords" (ChildShards), "UpdateShardCount", "UpdateStreamMode", "TagResource". MiniStack drops
the parents with their records, and all records when the shard count is updated.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from weir_local.aws import kms
from weir_local.aws.wire import Handler, Reply, Request, guard_service, json_error

logger = logging.getLogger("weir.local.aws.kinesis")

Stream = dict[str, Any]
Shard = dict[str, Any]
Operation = Callable[[dict[str, Any]], Reply]

MAX_HASH_KEY = 2**128 - 1
CHANGE_SECONDS = 0.2
"""How long a stream is CREATING or UPDATING; AWS takes from seconds to minutes."""
RECORD_KIB = 1024
ON_DEMAND_SHARDS = 4
CONSUMERS = 20
WRITES_PER_SECOND = 1000
WRITE_BYTES_PER_SECOND = 1_048_576

JSON = {"Content-Type": "application/x-amz-json-1.1"}

arrivals = threading.Condition()
"""Notified when a stream has a new record or a new shard."""

_numbers = itertools.count(1)
_windows: dict[tuple[str, str], tuple[int, int, int]] = {}


def sequence_number(millis: int | None = None) -> str:
    """The next sequence number: 56 digits as on AWS, without leading zeros, always growing.

    :param millis: since the epoch; now by default
    """
    now = int(time.time() * 1000) if millis is None else millis
    return f"49{now:014d}{next(_numbers):040d}"


def announce() -> None:
    """Wake whoever waits for records."""
    with arrivals:
        arrivals.notify_all()


def is_open(shard: Shard) -> bool:
    """Whether a shard still takes records."""
    return "ending_sequence_number" not in shard


def open_shards(stream: Stream) -> list[str]:
    """The ids of the shards that take records, by hash key."""
    found = [name for name, shard in stream["shards"].items() if is_open(shard)]
    return sorted(found, key=lambda name: int(stream["shards"][name]["starting_hash_key"]))


def parents(shard: Shard) -> list[str]:
    """The ids of the shards that a shard continues."""
    return [
        str(shard[name])
        for name in ("parent_shard_id", "adjacent_parent_shard_id")
        if shard.get(name)
    ]


def children(stream: Stream, shard_id: str) -> list[dict[str, Any]]:
    """The shards that continue one, as GetRecords names them at its end."""
    return [
        {
            "ShardId": name,
            "ParentShards": parents(shard),
            "HashKeyRange": {
                "StartingHashKey": shard["starting_hash_key"],
                "EndingHashKey": shard["ending_hash_key"],
            },
        }
        for name, shard in sorted(stream["shards"].items())
        if shard_id in parents(shard)
    ]


def ok(answer: dict[str, Any] | None = None) -> Reply:
    """A successful reply."""
    return 200, dict(JSON), json.dumps(answer or {}).encode()


def invalid(message: str) -> Reply:
    """A refusal of a parameter."""
    return json_error("InvalidArgumentException", message)


def status(stream: Stream) -> str:
    """A stream's state now: CREATING or UPDATING for a moment, else ACTIVE."""
    name, until = stream.get("change", ("", 0.0))
    return name if time.time() < until else str(stream["StreamStatus"])


def change(stream: Stream, name: str) -> None:
    """Let a stream be in a state of change for a moment."""
    stream["change"] = (name, time.time() + CHANGE_SECONDS)


def close(stream: Stream, shard_id: str) -> None:
    """End a shard: it keeps its records and takes no more."""
    shard = stream["shards"][shard_id]
    shard["ending_sequence_number"] = sequence_number()
    shard["closed_at"] = time.time()


def grow(stream: Stream, start: int, end: int, parent: str, adjacent: str | None = None) -> str:
    """Add a child shard.

    :param start: its first hash key
    :param end: its last hash key
    :returns: its id
    """
    index = max(int(name.split("-")[1]) for name in stream["shards"]) + 1
    name = f"shardId-{index:012d}"
    stream["shards"] = {
        **stream["shards"],
        name: {
            "records": [],
            "starting_hash_key": str(start),
            "ending_hash_key": str(end),
            "starting_sequence_number": sequence_number(),
            "parent_shard_id": parent,
            "adjacent_parent_shard_id": adjacent,
        },
    }
    return name


def split(stream: Stream, shard_id: str, at: int) -> tuple[str, str]:
    """Split an open shard.

    :param at: the first hash key of the second child
    :returns: the children's ids
    """
    shard = stream["shards"][shard_id]
    close(stream, shard_id)
    first = grow(stream, int(shard["starting_hash_key"]), at - 1, shard_id)
    return first, grow(stream, at, int(shard["ending_hash_key"]), shard_id)


def merge(stream: Stream, left: str, right: str) -> str:
    """Merge two open shards that lie side by side.

    :returns: the child's id
    """
    bounds = [stream["shards"][name] for name in (left, right)]
    close(stream, left)
    close(stream, right)
    start = min(int(shard["starting_hash_key"]) for shard in bounds)
    end = max(int(shard["ending_hash_key"]) for shard in bounds)
    return grow(stream, start, end, left, right)


def reshard(stream: Stream, target: int) -> None:
    """Bring a stream to equal shards by merging all and splitting, as UpdateShardCount may do.

    AWS uses short-lived shards in between; here a hash range is cut at every old and new bound,
    then merged, so lineage is complete whatever the counts are.

    :param target: the new number of open shards
    """
    size = (MAX_HASH_KEY + 1) // target
    bounds = [size * number for number in range(1, target)]
    for bound in bounds:
        for name in open_shards(stream):
            shard = stream["shards"][name]
            if int(shard["starting_hash_key"]) < bound <= int(shard["ending_hash_key"]):
                split(stream, name, bound)
                break
    wanted = set(bounds)
    while len(names := open_shards(stream)) > target:
        for left, right in itertools.pairwise(names):
            if int(stream["shards"][right]["starting_hash_key"]) not in wanted:
                merge(stream, left, right)
                break


def found(data: dict[str, Any]) -> tuple[Stream | None, Reply]:
    """The stream that a call names, and the reply when there is none or it is not ACTIVE."""
    from ministack.core.responses import get_account_id
    from ministack.services import kinesis

    name, stream = kinesis._resolve_stream(data)
    if stream is None:
        name = str(name).rsplit("/", 1)[-1]
        message = f"Stream {name} under account {get_account_id()} not found."
        return None, json_error("ResourceNotFoundException", message)
    now = status(stream)
    if now != "ACTIVE":
        message = f"Stream {name} under account {get_account_id()} not ACTIVE, instead in state"
        return None, json_error("ResourceInUseException", f"{message} {now}")
    return stream, ok()


def split_shard(data: dict[str, Any]) -> Reply:
    """SplitShard."""
    stream, refused = found(data)
    if stream is None:
        return refused
    name, at = str(data.get("ShardToSplit")), str(data.get("NewStartingHashKey", ""))
    shard = stream["shards"].get(name)
    if shard is None or not is_open(shard):
        return json_error("ResourceNotFoundException", f"Could not find open shard {name}.")
    low, high = int(shard["starting_hash_key"]), int(shard["ending_hash_key"])
    if not at.isdecimal() or not low < int(at) <= high:
        return invalid(
            f"NewStartingHashKey {at} used in SplitShard() on shard {name} is not both greater "
            f"than one plus the shard's StartingHashKey {low} and less than the shard's "
            f"EndingHashKey {high}."
        )
    split(stream, name, int(at))
    change(stream, "UPDATING")
    announce()
    return ok()


def merge_shards(data: dict[str, Any]) -> Reply:
    """MergeShards."""
    stream, refused = found(data)
    if stream is None:
        return refused
    names = [str(data.get("ShardToMerge")), str(data.get("AdjacentShardToMerge"))]
    for name in names:
        if name not in stream["shards"] or not is_open(stream["shards"][name]):
            return json_error("ResourceNotFoundException", f"Could not find open shard {name}.")
    left, right = sorted(names, key=lambda name: int(stream["shards"][name]["starting_hash_key"]))
    end = int(stream["shards"][left]["ending_hash_key"])
    if left == right or int(stream["shards"][right]["starting_hash_key"]) != end + 1:
        return invalid(
            f"Shards {names[0]} and {names[1]} in stream {stream['StreamName']} are not an "
            "adjacent pair of shards eligible for merging"
        )
    merge(stream, names[0], names[1])
    change(stream, "UPDATING")
    announce()
    return ok()


def update_shard_count(data: dict[str, Any]) -> Reply:
    """UpdateShardCount: at most double, at least half."""
    stream, refused = found(data)
    if stream is None:
        return refused
    current, target = len(open_shards(stream)), int(data.get("TargetShardCount") or 0)
    mode = (stream.get("StreamModeDetails") or {}).get("StreamMode")
    if mode == "ON_DEMAND":
        return json_error(
            "ValidationException", "Request is invalid. Cannot update shards of on-demand stream."
        )
    if target == current:
        return invalid(
            f"You've requested to update shard count to {target}, which is the current count"
        )
    if target > 2 * current or 2 * target < current or target < 1:
        bound = "more than double" if target > current else "less than half"
        return json_error(
            "LimitExceededException",
            f"UpdateShardCount cannot scale {'up' if target > current else 'down'} to {bound} your "
            f"current open shard count. Current open shard count: {current} Target: {target}",
        )
    reshard(stream, target)
    change(stream, "UPDATING")
    announce()
    return ok(
        {
            "StreamName": stream["StreamName"],
            "CurrentShardCount": current,
            "TargetShardCount": target,
            "StreamARN": stream["StreamARN"],
        }
    )


def update_stream_mode(data: dict[str, Any]) -> Reply:
    """UpdateStreamMode."""
    stream, refused = found(data)
    if stream is None:
        return refused
    mode = (data.get("StreamModeDetails") or {}).get("StreamMode")
    if mode not in ("PROVISIONED", "ON_DEMAND"):
        return json_error("ValidationException", f"StreamMode {mode} is not known")
    stream["StreamModeDetails"] = {"StreamMode": mode}
    change(stream, "UPDATING")
    return ok()


def update_max_record_size(data: dict[str, Any]) -> Reply:
    """UpdateMaxRecordSize: 1 to 10 MiB."""
    stream, refused = found(data)
    if stream is None:
        return refused
    size = int(data.get("MaxRecordSizeInKiB") or 0)
    if not RECORD_KIB <= size <= 10 * RECORD_KIB:
        return invalid(f"MaxRecordSizeInKiB must be from 1024 to 10240, not {size}")
    stream["MaxRecordSizeInKiB"] = size
    change(stream, "UPDATING")
    return ok()


def describe_limits(_: dict[str, Any]) -> Reply:
    """DescribeLimits: AWS's defaults, and the shards that are open."""
    from ministack.services import kinesis

    streams = list(kinesis._streams.values())
    on_demand = [
        stream
        for stream in streams
        if (stream.get("StreamModeDetails") or {}).get("StreamMode") == "ON_DEMAND"
    ]
    return ok(
        {
            "ShardLimit": 500,
            "OpenShardCount": sum(len(open_shards(stream)) for stream in streams),
            "OnDemandStreamCount": len(on_demand),
            "OnDemandStreamCountLimit": 50,
        }
    )


def tags_of(data: dict[str, Any]) -> dict[str, str] | None:
    """The tags of a stream or consumer by ARN, None when there is no such resource."""
    from ministack.services import kinesis

    arn = str(data.get("ResourceARN", ""))
    holder = kinesis._consumers.get(arn) or kinesis._resolve_stream_by_arn(arn)
    return None if holder is None else holder.setdefault("tags", {})


def tag(data: dict[str, Any]) -> Reply:
    """TagResource."""
    tags = tags_of(data)
    if tags is None:
        return json_error("ResourceNotFoundException", f"{data.get('ResourceARN')} not found")
    tags.update(data.get("Tags") or {})
    return ok()


def untag(data: dict[str, Any]) -> Reply:
    """UntagResource."""
    tags = tags_of(data)
    if tags is None:
        return json_error("ResourceNotFoundException", f"{data.get('ResourceARN')} not found")
    for name in data.get("TagKeys") or []:
        tags.pop(name, None)
    return ok()


def list_tags(data: dict[str, Any]) -> Reply:
    """ListTagsForResource."""
    tags = tags_of(data)
    if tags is None:
        return json_error("ResourceNotFoundException", f"{data.get('ResourceARN')} not found")
    return ok({"Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]})


ADDED: dict[str, Operation] = {
    "DescribeLimits": describe_limits,
    "ListTagsForResource": list_tags,
    "TagResource": tag,
    "UntagResource": untag,
    "UpdateMaxRecordSize": update_max_record_size,
    "UpdateStreamMode": update_stream_mode,
}
"""Operations that MiniStack does not have."""


def create_stream(inner: Operation) -> Operation:
    """CreateStream takes tags and the record size, and an on-demand stream has four shards."""

    def create(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        given = dict(data)
        on_demand = (data.get("StreamModeDetails") or {}).get("StreamMode") == "ON_DEMAND"
        if on_demand and data.get("ShardCount"):
            return invalid("ShardCount cannot be given for an on-demand stream")
        if on_demand:
            given["ShardCount"] = ON_DEMAND_SHARDS
        reply = inner(given)
        if reply[0] == 200:
            stream = kinesis._streams[data["StreamName"]]
            stream["tags"] = dict(data.get("Tags") or {})
            stream["MaxRecordSizeInKiB"] = int(data.get("MaxRecordSizeInKiB") or RECORD_KIB)
            change(stream, "CREATING")
        return reply

    return create


def register_consumer(inner: Operation) -> Operation:
    """RegisterStreamConsumer: at most 20 for a stream, and with tags."""

    def register(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        arn = data.get("StreamARN")
        if sum(consumer["StreamARN"] == arn for consumer in kinesis._consumers.values()) >= (
            CONSUMERS
        ):
            return json_error(
                "LimitExceededException", f"A stream has at most {CONSUMERS} consumers"
            )
        code, headers, body = inner(data)
        if code == 200:
            answer = json.loads(body)
            consumer = kinesis._consumers[answer["Consumer"]["ConsumerARN"]]
            consumer["tags"] = dict(data.get("Tags") or {})
            consumer["active_at"] = time.time() + CHANGE_SECONDS
            answer["Consumer"]["ConsumerStatus"] = "CREATING"
            body = json.dumps(answer).encode()
        return code, headers, body

    return register


def consumer_status(consumer: dict[str, Any]) -> str:
    """A consumer's state now."""
    settled = time.time() >= float(consumer.get("active_at", 0))
    return str(consumer["ConsumerStatus"]) if settled else "CREATING"


def described(inner: Operation) -> Operation:
    """Descriptions and listings tell the state of change, open shards and the record size."""

    def describe(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        code, headers, body = inner(data)
        if code != 200:
            return code, headers, body
        answer = json.loads(body)
        told = [answer.get("StreamDescription"), answer.get("StreamDescriptionSummary")]
        for each in [*told, *answer.get("StreamSummaries", [])]:
            if each:
                stream = kinesis._streams[each["StreamName"]]
                each["StreamStatus"] = status(stream)
        if told[1]:
            stream = kinesis._streams[told[1]["StreamName"]]
            told[1]["OpenShardCount"] = len(open_shards(stream))
            told[1]["MaxRecordSizeInKiB"] = stream.get("MaxRecordSizeInKiB", RECORD_KIB)
        consumers = [answer.get("ConsumerDescription"), *answer.get("Consumers", [])]
        for each in consumers:
            if each:
                each["ConsumerStatus"] = consumer_status(kinesis._consumers[each["ConsumerARN"]])
        return code, headers, json.dumps(answer).encode()

    return describe


def in_filter(shard: Shard, wanted: dict[str, Any]) -> bool:
    """Whether a shard passes ListShards' ShardFilter."""
    kind = wanted.get("Type")
    ended = float(shard.get("closed_at", float("inf")))
    if kind == "AT_LATEST":
        return is_open(shard)
    if kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
        moment = float(wanted.get("Timestamp") or 0)
        began = int(str(shard["starting_sequence_number"])[2:16]) / 1000
        return ended >= moment and (kind == "FROM_TIMESTAMP" or began <= moment)
    return kind != "AT_TRIM_HORIZON" or not shard.get("parent_shard_id")


def list_shards(inner: Operation) -> Operation:
    """ListShards with a filter."""

    def listing(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        wanted = data.get("ShardFilter") or {}
        given = dict(data)
        if wanted.get("Type") == "AFTER_SHARD_ID":
            given["ExclusiveStartShardId"] = wanted.get("ShardId")
        code, headers, body = inner(given)
        if code != 200 or not wanted:
            return code, headers, body
        _, stream = kinesis._resolve_stream(data)
        answer = json.loads(body)
        answer["Shards"] = [
            each
            for each in answer["Shards"]
            if in_filter(stream["shards"][each["ShardId"]], wanted)
        ]
        return code, headers, json.dumps(answer).encode()

    return listing


def get_records(inner: Operation) -> Operation:
    """GetRecords ends at the end of a closed shard and names its children."""

    def read(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        iterator = kinesis._shard_iterators.get(data.get("ShardIterator"))
        code, headers, body = inner(data)
        if code != 200 or iterator is None:
            return code, headers, body
        stream = kinesis._streams[iterator["stream"]]
        shard = stream["shards"][iterator["shard_id"]]
        answer = json.loads(body)
        following = kinesis._shard_iterators[answer["NextShardIterator"]]
        if not is_open(shard) and following["position"] >= len(shard["records"]):
            del answer["NextShardIterator"]
            answer["ChildShards"] = children(stream, iterator["shard_id"])
            body = json.dumps(answer).encode()
        return code, headers, body

    return read


def too_large(stream: Stream, record: dict[str, Any]) -> bool:
    """Whether a record's data and partition key together are over the stream's limit."""
    data = record.get("Data") or ""
    size = len(base64.b64decode(data)) if isinstance(data, str) else len(data)
    limit = int(stream.get("MaxRecordSizeInKiB", RECORD_KIB)) * 1024
    return size + len(str(record.get("PartitionKey", "")).encode()) > limit


def throttled(stream: Stream, record: dict[str, Any]) -> bool:
    """Whether a shard took its 1,000 records or 1 MiB of this second (WEIR_KINESIS_THROTTLE=1)."""
    from ministack.services import kinesis

    explicit = record.get("ExplicitHashKey")
    hash_key = int(explicit) if explicit else kinesis._partition_key_to_hash(record["PartitionKey"])
    key = (stream["StreamARN"], kinesis._route_to_shard(hash_key, stream))
    second, count, size = _windows.get(key, (0, 0, 0))
    now = int(time.time())
    count, size = (count, size) if second == now else (0, 0)
    count, size = count + 1, size + len(str(record.get("Data", ""))) * 3 // 4
    if count > WRITES_PER_SECOND or size > WRITE_BYTES_PER_SECOND:
        return True
    _windows[key] = (now, count, size)
    return False


def writes(inner: Operation) -> Operation:
    """PutRecord and PutRecords: a record's size counts its key, the pollers are told."""

    def put(data: dict[str, Any]) -> Reply:
        from ministack.services import kinesis

        _, stream = kinesis._resolve_stream(data)
        records = data.get("Records", [data])
        if stream is not None and status(stream) == "CREATING":
            return found(data)[1]
        if stream is not None and any(too_large(stream, record) for record in records):
            kib = stream.get("MaxRecordSizeInKiB", RECORD_KIB)
            return invalid(f"Record data and partition key together exceed the stream's {kib} KiB")
        if os.environ.get("WEIR_KINESIS_THROTTLE") == "1" and stream is not None:
            late = [throttled(stream, record) for record in records]
            if "Records" not in data and any(late):
                return json_error(
                    "ProvisionedThroughputExceededException", "Rate exceeded for the shard"
                )
            if any(late):
                return partly(inner, data, late)
        reply = inner(data)
        announce()
        return reply

    return put


def partly(inner: Operation, data: dict[str, Any], late: list[bool]) -> Reply:
    """PutRecords of which some are throttled: the others are written."""
    kept = [record for record, refused in zip(data["Records"], late, strict=True) if not refused]
    written: Iterator[dict[str, Any]] = iter(())
    answer: dict[str, Any] = {"EncryptionType": "NONE"}
    if kept:
        code, headers, body = inner({**data, "Records": kept})
        if code != 200:
            return code, headers, body
        answer = json.loads(body)
        written = iter(answer["Records"])
    error = {
        "ErrorCode": "ProvisionedThroughputExceededException",
        "ErrorMessage": "Rate exceeded for the shard",
    }
    answer["Records"] = [dict(error) if refused else next(written) for refused in late]
    answer["FailedRecordCount"] = sum(late)
    announce()
    return ok(answer)


def route(hash_key: int, stream: Stream) -> str:
    """The open shard of a hash key."""
    for name in open_shards(stream):
        shard = stream["shards"][name]
        if int(shard["starting_hash_key"]) <= hash_key <= int(shard["ending_hash_key"]):
            return name
    raise LookupError(f"no open shard of {stream['StreamName']} has the hash key {hash_key}")


def expire(inner: Callable[[Stream], None]) -> Callable[[Stream], None]:
    """Records expire, and closed shards with the last of them."""

    def expired(stream: Stream) -> None:
        inner(stream)
        cutoff = time.time() - stream["RetentionPeriodHours"] * 3600
        stream["shards"] = {
            name: shard
            for name, shard in stream["shards"].items()
            if is_open(shard) or shard["records"] or float(shard["closed_at"]) >= cutoff
        }

    return expired


def encryption_guard(request: Request) -> Reply | None:
    """An encrypted stream's writers need kms:GenerateDataKey, its readers kms:Decrypt.

    Kinesis Data Streams Developer Guide, "Permissions to use user-generated KMS keys".
    """
    from ministack.services import kinesis

    operation, given = request.operation, request.json
    if operation == "StartStreamEncryption":
        if given.get("KeyId") != "alias/aws/kinesis" and kms.key_arn(given.get("KeyId")) is None:
            return json_error("KMSNotFoundException", f"Key {given.get('KeyId')} does not exist")
        return None
    if operation in ("PutRecord", "PutRecords"):
        _, stream = kinesis._resolve_stream(given)
        return kms.refusal(request, (stream or {}).get("KeyId"), ("kms:GenerateDataKey",))
    if operation == "GetRecords":
        iterator = kinesis._shard_iterators.get(given.get("ShardIterator")) or {}
        stream = kinesis._streams.get(iterator.get("stream", "")) or {}
        return kms.refusal(request, stream.get("KeyId"), ("kms:Decrypt",))
    return None


def with_added(inner: Handler) -> Handler:
    """The service with the operations of :data:`ADDED`."""

    async def handler(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        request = Request("kinesis", method, path, headers, body, query)
        operation = ADDED.get(request.operation)
        if operation is not None:
            return operation(request.json)
        return await inner(method, path, headers, body, query)

    return handler


def tagged_streams() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Streams and consumers with their tags, for the tagging API."""
    from ministack.services import kinesis

    for holders, field in ((kinesis._streams, "StreamARN"), (kinesis._consumers, "ConsumerARN")):
        for holder in holders.values():
            tags = (holder.get("tags") or {}).items()
            yield str(holder[field]), [{"Key": key, "Value": value} for key, value in tags]


def install() -> None:
    """Mend MiniStack's Kinesis."""
    from ministack import app
    from ministack.services import kinesis, tagging

    shard_out = kinesis._shard_out

    def shard_with_end(shard_id: str, shard: Shard) -> dict[str, Any]:
        told: dict[str, Any] = shard_out(shard_id, shard)
        if not is_open(shard):
            ending = shard["ending_sequence_number"]
            told["SequenceNumberRange"]["EndingSequenceNumber"] = ending
        return told

    wrapped: dict[str, Callable[[Operation], Operation]] = {
        "_create_stream": create_stream,
        "_describe_stream": described,
        "_describe_stream_consumer": described,
        "_describe_stream_summary": described,
        "_get_records": get_records,
        "_list_consumers": described,
        "_list_shards": list_shards,
        "_list_streams": described,
        "_put_record": writes,
        "_put_records": writes,
        "_register_consumer": register_consumer,
    }
    for name, wrap in wrapped.items():
        setattr(kinesis, name, wrap(getattr(kinesis, name)))
    put_internal = kinesis.put_record_internal

    def put_for_service(*arguments: Any, **named: Any) -> bool:
        written = bool(put_internal(*arguments, **named))
        announce()
        return written

    kinesis.put_record_internal = put_for_service
    kinesis._next_sequence_number = sequence_number
    kinesis._expire_records = expire(kinesis._expire_records)
    kinesis._route_to_shard = route
    kinesis._shard_out = shard_with_end
    kinesis._split_shard = split_shard
    kinesis._merge_shards = merge_shards
    kinesis._update_shard_count = update_shard_count
    guard_service("kinesis", encryption_guard)
    app.SERVICE_HANDLERS["kinesis"] = with_added(app.SERVICE_HANDLERS["kinesis"])
    tagging._COLLECTORS["kinesis"] = tagged_streams
