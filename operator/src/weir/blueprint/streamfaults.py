"""What is wrong with a stream that neither the schema of the API nor a grant can tell?"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator

from weir.api.v1alpha1.stream import Batch, KeyMessage, Protobuf, Stream
from weir.blueprint import streams
from weir.blueprint.durations import seconds
from weir.blueprint.rest import Fault

KINESIS = re.compile(r"arn:[^:]+:kinesis:([a-z0-9-]+):[0-9]{12}:stream/[a-zA-Z0-9_.-]{1,128}")
CONSUMER = re.compile(KINESIS.pattern + r"/consumer/[a-zA-Z0-9_.-]{1,128}:[0-9]+")
MSK = re.compile(r"arn:[^:]+:kafka:([a-z0-9-]+):[0-9]{12}:cluster/[^/:]+/[^/:]+")
DAY = 86_400


def faults(stream: Stream, path: str, region: str | None) -> Iterator[Fault]:
    """Everything that is wrong with a stream in itself.

    Parameters
    ----------
    path
        Where it stands: ``spec.source.stream``.
    region
        The Platform's, where it is known: Lambda reads streams of its own region.
    """
    yield from _arns(stream, path, region)
    yield from _schema(stream, path)
    sealing = seconds(stream.seal_every)
    if not 60 <= sealing <= DAY:
        yield Fault("InvalidDuration", f"{path}.sealEvery", "write 1m to 1d")
    if stream.kinesis and not 60 <= seconds(stream.kinesis.lag_alarm) <= 365 * DAY:
        yield Fault("InvalidDuration", f"{path}.kinesis.lagAlarm", "write 1m to 365d")
    yield from _batch(stream.batch, f"{path}.batch")
    if stream.kafka and not stream.kafka.pollers and stream.batch.max_age:
        yield Fault(
            "InvalidBatch",
            f"{path}.batch.maxAge",
            "without kafka.pollers Lambda gives up on no record of Kafka by its age; set "
            "kafka.pollers, or leave maxAge out",
        )


def _arns(stream: Stream, path: str, region: str | None) -> Iterator[Fault]:
    stated = (
        (stream.kinesis.stream_arn if stream.kinesis else None, KINESIS, "kinesis.streamArn"),
        (
            stream.kinesis.consumer_arn if stream.kinesis else None,
            CONSUMER,
            "kinesis.consumerArn",
        ),
        (stream.kafka.cluster_arn if stream.kafka else None, MSK, "kafka.clusterArn"),
    )
    kinds = {
        "kinesis.streamArn": "Kinesis stream",
        "kinesis.consumerArn": "Kinesis stream's consumer",
        "kafka.clusterArn": "MSK cluster",
    }
    for arn, pattern, field in stated:
        if arn is None:
            continue
        found = pattern.fullmatch(arn)
        if not found:
            yield Fault("InvalidArn", f"{path}.{field}", f"{arn} is no ARN of a {kinds[field]}")
        elif region and found.group(1) != region:
            yield Fault(
                "InvalidArn",
                f"{path}.{field}",
                f"the {kinds[field]} is in {found.group(1)}, but the Platform in {region}: Lambda "
                "reads those of its own region only",
            )


def _schema(stream: Stream, path: str) -> Iterator[Fault]:
    if stream.avro_schema:
        yield from _avro(stream.avro_schema, f"{path}.avroSchema", of_rows=True)
    if stream.protobuf:
        yield from _protobuf(stream.protobuf, stream.protobuf.descriptors, f"{path}.protobuf")
    key = stream.kafka.key if stream.kafka else None
    if key and key.avro_schema:
        yield from _avro(key.avro_schema, f"{path}.kafka.key.avroSchema", of_rows=False)
    if key and key.protobuf:
        where = f"{path}.kafka.key.protobuf"
        if key.protobuf.descriptors:
            yield from _protobuf(key.protobuf, key.protobuf.descriptors, where)
        elif stream.protobuf and not any(
            _protobuf(stream.protobuf, stream.protobuf.descriptors, path)
        ):
            yield from _protobuf(key.protobuf, stream.protobuf.descriptors, where)


def _avro(text: str, where: str, *, of_rows: bool) -> Iterator[Fault]:
    try:
        document = json.loads(text)
    except ValueError as error:
        yield Fault("InvalidSchema", where, f"this is no JSON: {error}")
        return
    if of_rows and (not isinstance(document, dict) or document.get("type") != "record"):
        yield Fault(
            "InvalidSchema",
            where,
            'a row needs a record: {"type": "record", "name": ..., "fields": [...]}',
        )


def _protobuf(stated: Protobuf | KeyMessage, text: str, where: str) -> Iterator[Fault]:
    try:
        content = streams.descriptors(text)
    except (binascii.Error, ValueError) as error:
        yield Fault("InvalidSchema", f"{where}.descriptors", f"this is no base64: {error}")
        return
    name = stated.message.rpartition(".")[2]
    if name.encode() not in content:
        yield Fault(
            "InvalidSchema",
            f"{where}.message",
            f"the descriptors have no message {name}; make them of the file that defines it, "
            "with --include_imports",
        )


def _batch(batch: Batch, path: str) -> Iterator[Fault]:
    if seconds(batch.window) > 300:
        yield Fault("InvalidDuration", f"{path}.window", "records are gathered for 5m at most")
    if batch.max_age and not 60 <= seconds(batch.max_age) <= 7 * DAY:
        yield Fault("InvalidDuration", f"{path}.maxAge", "write 1m to 7d")
