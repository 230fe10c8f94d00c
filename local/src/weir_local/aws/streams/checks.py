"""What Lambda refuses of an event source mapping of a stream, and what it fills in.

Lambda API Reference, "CreateEventSourceMapping"; Lambda Developer Guide, "Lambda parameters for
Amazon Kinesis Data Streams event source mappings" and the same of Amazon MSK and self-managed
Apache Kafka; "Retain discarded batch records ..." (permissions of the destination).
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any

from weir_local.aws.streams import destinations, kafka, msk, reading, secrets

Mapping = dict[str, Any]

KINESIS = "kinesis"
MSK = "kafka"
SELF_MANAGED = "self-managed"

NUMBERS = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "ParallelizationFactor": (1, 10),
    "MaximumRetryAttempts": (-1, 10_000),
    "MaximumRecordAgeInSeconds": (-1, 604_800),
    "TumblingWindowInSeconds": (0, 900),
}
"""Field -> least and most."""

SHORTEST_AGE = 60

DEFAULTS: dict[str, Mapping] = {
    KINESIS: {
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "ParallelizationFactor": 1,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": -1,
        "BisectBatchOnFunctionError": False,
        "TumblingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {}},
    },
    MSK: {"BatchSize": 100, "DestinationConfig": {"OnFailure": {}}},
    SELF_MANAGED: {"BatchSize": 100, "DestinationConfig": {"OnFailure": {}}},
}
"""Kind of source -> what a mapping has when it is not given."""

NO_TOPIC = (
    "DocumentDBEventSourceConfig",
    "ParallelizationFactor",
    "Queues",
    "ScalingConfig",
    "TumblingWindowInSeconds",
)
"""Fields that no Kafka mapping has."""

FOREIGN: dict[str, frozenset[str]] = {
    KINESIS: frozenset(
        {
            "AmazonManagedKafkaEventSourceConfig",
            "DocumentDBEventSourceConfig",
            "LoggingConfig",
            "ProvisionedPollerConfig",
            "Queues",
            "ScalingConfig",
            "SelfManagedEventSource",
            "SelfManagedKafkaEventSourceConfig",
            "SourceAccessConfigurations",
            "Topics",
        }
    ),
    MSK: frozenset({"SelfManagedEventSource", "SelfManagedKafkaEventSourceConfig", *NO_TOPIC}),
    SELF_MANAGED: frozenset({"AmazonManagedKafkaEventSourceConfig", "EventSourceArn", *NO_TOPIC}),
}
"""Kind of source -> fields that belong to others."""

GROUP_CONFIG = {
    MSK: "AmazonManagedKafkaEventSourceConfig",
    SELF_MANAGED: "SelfManagedKafkaEventSourceConfig",
}
"""Kind of source -> the field with the consumer group."""

ACCESS = {
    MSK: frozenset({"CLIENT_CERTIFICATE_TLS_AUTH", "SASL_SCRAM_512_AUTH"}),
    SELF_MANAGED: frozenset({*secrets.SECRETS, "VPC_SECURITY_GROUP", "VPC_SUBNET"}),
}
"""Kind of source -> the types of SourceAccessConfigurations."""

PROVISIONED = (
    "BisectBatchOnFunctionError",
    "FunctionResponseTypes",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
)
"""What Kafka mappings have in provisioned mode alone."""

POLLERS = {"MinimumPollers": (1, 200), "MaximumPollers": (1, 2000)}
GROUP = re.compile(r"[a-zA-Z0-9-/*:_+=.@]{1,200}")

CHANGEABLE = (
    "BatchSize",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "FilterCriteria",
    "FunctionResponseTypes",
    "KMSKeyArn",
    "MaximumBatchingWindowInSeconds",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "MetricsConfig",
    "ParallelizationFactor",
    "ProvisionedPollerConfig",
    "SourceAccessConfigurations",
    "TumblingWindowInSeconds",
)
"""What UpdateEventSourceMapping may set, besides the function and whether it is enabled."""

KEPT = (
    *CHANGEABLE,
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "StartingPosition",
    "Topics",
)

STREAM = re.compile(r"arn:aws:kinesis:[a-z0-9-]+:\d{12}:stream/[a-zA-Z0-9_.-]+(/consumer/.+)?")


def kind(mapping: Mapping) -> str | None:
    """What a mapping reads, None when it is no stream."""
    if mapping.get("SelfManagedEventSource"):
        return SELF_MANAGED
    service = "".join(str(mapping.get("EventSourceArn") or "").split(":")[2:3])
    return service if service in (KINESIS, MSK) else None


def settings(mapping: Mapping) -> Mapping:
    """The fields of a request that a mapping keeps, with defaults."""
    given = {field: mapping[field] for field in KEPT if mapping.get(field) is not None}
    return {**DEFAULTS[str(kind(mapping))], **given}


def numbers(mapping: Mapping) -> Iterator[str]:
    """Numbers out of their bounds."""
    for field, (least, most) in NUMBERS.items():
        value = mapping.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            name = field[0].lower() + field[1:]
            bound, limit = (
                ("greater", least)
                if isinstance(value, int) and value < least
                else (
                    "less",
                    most,
                )
            )
            yield (
                f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy "
                f"constraint: Member must have value {bound} than or equal to {limit}"
            )
    age = mapping.get("MaximumRecordAgeInSeconds")
    if isinstance(age, int) and -1 < age < SHORTEST_AGE:
        yield (f"MaximumRecordAgeInSeconds must be -1 or from {SHORTEST_AGE} to 604800, not {age}")


def starts(mapping: Mapping) -> Iterator[str]:
    """Starting positions that make no sense."""
    from weir_local.aws.streams.mappings import seconds

    position = mapping.get("StartingPosition")
    moment = mapping.get("StartingPositionTimestamp")
    if position not in ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"):
        yield (
            f"1 validation error detected: Value '{position}' at 'startingPosition' failed to "
            "satisfy constraint: Member must satisfy enum value set: "
            "[LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
        )
    if (position == "AT_TIMESTAMP") != (moment is not None):
        yield (
            "StartingPositionTimestamp must be given with StartingPosition AT_TIMESTAMP, "
            "and only with it."
        )
    elif moment is not None and seconds(moment) > time.time() + 1:
        yield "StartingPositionTimestamp cannot be in the future."


def responses(mapping: Mapping) -> Iterator[str]:
    """Unknown response types."""
    for name in mapping.get("FunctionResponseTypes") or []:
        if name != "ReportBatchItemFailures":
            yield f"FunctionResponseTypes must be ReportBatchItemFailures, not {name}"


def exists(arn: str) -> bool:
    """Whether a destination is there."""
    from ministack.services import s3, sns, sqs

    service, name = arn.split(":")[2], arn.rsplit(":", 1)[-1]
    if service == "sqs":
        return sqs._queue_by_arn(arn) is not None
    if service == "sns":
        return sns._topic_by_arn_any_scope(arn) is not None
    return name in s3._buckets


def destination(mapping: Mapping, role: str, region: str) -> Iterator[str]:
    """Destinations that are none, are not there, or that the role may not write to."""
    config = mapping.get("DestinationConfig") or {}
    if (config.get("OnSuccess") or {}).get("Destination"):
        yield "OnSuccess destinations are not supported by event source mappings."
    arn = str((config.get("OnFailure") or {}).get("Destination") or "")
    if not arn:
        return
    if arn.count(":") < 5 or arn.split(":")[2] not in destinations.NEEDED:
        yield f"The destination ARN {arn} is invalid: give a queue, a topic or a bucket."
    elif not exists(arn):
        yield f"The destination ARN {arn} is invalid: there is no such resource."
    elif denied := destinations.denial(arn, role, region):
        yield denied


def source(mapping: Mapping, role: str, region: str) -> Iterator[str]:
    """Sources that are not there, or that the role may not read."""
    if kind(mapping) == KINESIS:
        yield from kinesis_source(mapping, role, region)
    else:
        yield from kafka_source(mapping, role, region)


def kafka_source(mapping: Mapping, role: str, region: str) -> Iterator[str]:
    """Clusters, topics, groups, secrets and pollers that Lambda does not take."""
    which = str(kind(mapping))
    arn = str(mapping.get("EventSourceArn") or "")
    if len(mapping.get("Topics") or []) != 1:
        yield "Topics must have exactly one topic."
    if which == MSK and msk.server(arn) is None:
        yield f"The cluster {arn} does not exist, or has no broker behind it."
    servers = ((mapping.get("SelfManagedEventSource") or {}).get("Endpoints") or {}).get(
        "KAFKA_BOOTSTRAP_SERVERS"
    )
    if which == SELF_MANAGED and not servers:
        yield "SelfManagedEventSource must have Endpoints with KAFKA_BOOTSTRAP_SERVERS."
    for access in mapping.get("SourceAccessConfigurations") or []:
        if access.get("Type") not in ACCESS[which]:
            yield f"SourceAccessConfigurations: {access.get('Type')} is not supported here."
        elif access["Type"] in secrets.SECRETS and not is_secret(str(access.get("URI"))):
            yield f"The secret {access.get('URI')} does not exist."
    yield from provisioned(mapping)
    yield from group(mapping)
    if denied := kafka.denial(mapping, role, region):
        yield f"The function execution role does not have permissions to read the topic: {denied}"


def is_secret(arn: str) -> bool:
    """Whether a secret is there."""
    from ministack.services import secretsmanager

    found = secretsmanager._resolve(arn)
    return bool(found[1] if isinstance(found, tuple) else found)


def provisioned(mapping: Mapping) -> Iterator[str]:
    """Pollers out of bounds, and error handling without provisioned pollers."""
    given = mapping.get("ProvisionedPollerConfig")
    for name, (least, most) in POLLERS.items():
        value = (given or {}).get(name)
        if value is not None and not least <= int(value) <= most:
            yield f"ProvisionedPollerConfig.{name} must be from {least} to {most}, not {value}."
    if not given:
        for name in PROVISIONED:
            if mapping.get(name) not in (None, False, [], -1):
                yield f"{name} of a Kafka event source needs provisioned mode."


def group(mapping: Mapping) -> Iterator[str]:
    """Consumer groups that are none, or that another mapping has."""
    from ministack.services import lambda_svc

    config = mapping.get(GROUP_CONFIG[str(kind(mapping))]) or {}
    name = config.get("ConsumerGroupId")
    if config.get("SchemaRegistryConfig"):
        yield "SchemaRegistryConfig is not served by the local AWS."
    if name is None:
        return
    if not GROUP.fullmatch(str(name)):
        yield f"ConsumerGroupId {name} is invalid."
    for uuid, other in lambda_svc._esms.items():
        if kind(other) not in GROUP_CONFIG or uuid == mapping.get("UUID"):
            continue
        if kafka.group_id(other) == name:
            yield f"ConsumerGroupId {name} is used by event source mapping {uuid}."


def kinesis_source(mapping: Mapping, role: str, region: str) -> Iterator[str]:
    """Streams that are not there, or that the role may not read."""
    from ministack.services import kinesis

    arn = str(mapping["EventSourceArn"])
    stream = reading.stream_arn(arn)
    if not STREAM.fullmatch(arn):
        yield f"Unrecognized event source, must be a Kinesis stream or consumer: {arn}"
    elif arn.split(":")[3] != region:
        yield f"The event source {arn} must be in the function's region, {region}."
    elif kinesis._resolve_stream_by_arn(stream) is None:
        yield f"Stream not found: {stream}"
    elif arn != stream and kinesis._consumer_from_arn(arn) is None:
        yield f"Consumer not found: {arn}"
    elif denied := reading.denial(arn, role):
        needed = ", ".join(reading.POLL if arn == stream else reading.FAN_OUT)
        yield (
            f"Cannot access stream {arn}. Please ensure the role can perform the {needed} Actions "
            f"on your stream in IAM. {denied}"
        )


def problem(mapping: Mapping, role: str) -> str | None:
    """Why Lambda refuses a mapping, or None.

    :param mapping: the request, or what an update makes of the mapping
    :param role: the ARN of the function's execution role
    """
    from ministack.core.responses import get_region

    region = str(get_region())
    foreign = sorted(FOREIGN[str(kind(mapping))].intersection(mapping))
    if foreign:
        return f"{', '.join(foreign)}: not supported for the event source."
    if mapping.get("TumblingWindowInSeconds"):
        return "TumblingWindowInSeconds is not served by the local AWS."
    found = itertools.chain(
        numbers(mapping),
        starts(mapping),
        responses(mapping),
        source(mapping, role, region),
        destination(mapping, role, region),
    )
    return next(found, None)
