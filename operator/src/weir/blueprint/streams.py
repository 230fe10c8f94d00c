"""What a source that is a stream wants on AWS beside what every source does.

Two functions: ``receive``, called by event source mappings, keeps records in the raw zone, and
``ingest``, called by the ingest machine as of every source, seals them into landings.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.stream import CreatedStream, Kafka, KeyMessage, Kinesis, Protobuf, Stream
from weir.blueprint import naming, network, pieces, policies
from weir.blueprint.durations import seconds
from weir.blueprint.facts import NetworkFacts, PlatformFacts
from weir.resource import Ref, Resource, Text
from weir_contract import sources

RECEIVE_MEMORY_MB = 1769
"""One processor (Lambda Developer Guide, *Memory*): decoding is what takes the time."""
RECEIVE_TIMEOUT_SECONDS = 120
"""A batch has 6 MB at most; one that hangs is tried again, and its shard waits meanwhile."""
PER_SHARD = 1
"""Batches of one shard at a time: positions move in order."""
GIVEN_UP = "aws/lambda/"
"""Where Lambda puts what it gave up on (Lambda Developer Guide, *Retain discarded batch records*):
``aws/lambda/<mapping's UUID>/<shard>/...``."""
GROUP_CHARACTERS = 200
"""Of a consumer group's name (Lambda API reference, *AmazonManagedKafkaEventSourceConfig*)."""
STREAM, CONSUMER = "stream", "consumer"
ACCESS = {
    "scram_sha512": "SASL_SCRAM_512_AUTH",
    "scram_sha256": "SASL_SCRAM_256_AUTH",
    "plain": "BASIC_AUTH",
    "mtls": "CLIENT_CERTIFICATE_TLS_AUTH",
}
"""Way of authentication -> ``SourceAccessType`` (Lambda API reference)."""
LOGINS: dict[str, sources.Login] = {
    "iam": "iam",
    "scram_sha512": "scramSha512",
    "scram_sha256": "scramSha256",
    "plain": "plain",
    "mtls": "mtls",
}
"""Way of authentication -> what the functions call it."""
NETWORK_READS = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)
"""What Lambda's pollers do with the function's role to reach brokers in a VPC (AWS Managed Policy
Reference, *AWSLambdaMSKExecutionRole*)."""


@dataclass(frozen=True)
class Parts:
    """The resources of a stream source, and what the sealing function needs of them.

    Parameters
    ----------
    uuids
        The mappings', with commas.
    mappings
        Their ARNs.
    given_up
        ARNs of what Lambda gave up on.
    objects
        Keys of schemas in the artifacts bucket.
    """

    resources: tuple[Resource, ...]
    uuids: Text
    mappings: tuple[Text, ...]
    given_up: tuple[Text, ...]
    objects: tuple[str, ...]


def seal_schedule(stream: Stream) -> str:
    """When the sealer looks: EventBridge Scheduler counts whole minutes."""
    count = max(1, pieces.minutes(seconds(stream.seal_every)))
    return f"rate({count} minute{'' if count == 1 else 's'})"


def stream_name(names: pieces.Naming) -> str:
    """The physical name of a stream of the source's own."""
    return names("stream", "stream")


def stream_arn(kinesis: Kinesis, facts: PlatformFacts, names: pieces.Naming) -> str:
    """The ARN of the stream that is read."""
    return kinesis.stream_arn or facts.arn("kinesis", f"stream/{stream_name(names)}")


def names_of(facts: PlatformFacts, namespace: str, name: str) -> pieces.Naming:
    """Physical names of a source's resources."""
    return pieces.Naming(facts.cluster, "DataSource", namespace, name)


def contract(stream: Stream, facts: PlatformFacts, namespace: str, name: str) -> sources.Stream:
    """A stream of the DataSource ``namespace/name`` as its functions read it."""
    names = names_of(facts, namespace, name)
    kinesis, kafka = stream.kinesis, stream.kafka
    if kinesis:
        arn = stream_arn(kinesis, facts, names)
        origin = arn.rpartition("/")[2]
    else:
        assert kafka is not None
        arn, origin = "", ",".join(sorted(kafka.topics))
    schema = schema_object(stream, facts, namespace, name)
    uri = schema.name if schema else None
    return sources.Stream(
        kind="kinesis" if kinesis else "kafka",
        name=origin,
        format=stream.format,
        registry=_registry(stream),
        avro_schema=uri if stream.avro_schema else None,
        descriptors=uri if stream.protobuf else None,
        message=stream.protobuf.message if stream.protobuf else None,
        metadata=stream.metadata,
        seal_bytes=stream.seal_bytes,
        machine=facts.machine_arn(names("machine", "ingest")),
        partial=kinesis is not None or (kafka is not None and kafka.pollers is not None),
        arn=arn,
        kafka=_kafka(kafka) if kafka else None,
        key=_key(stream, facts, namespace, name),
    )


def _key(
    stream: Stream, facts: PlatformFacts, namespace: str, name: str
) -> sources.KeyFormat | None:
    """How the keys of Kafka's records are written, as the functions read it."""
    key = stream.kafka.key if stream.kafka else None
    if key is None:
        return None
    own = key_schema_object(stream, facts, namespace, name)
    schema = own or (schema_object(stream, facts, namespace, name) if key.protobuf else None)
    uri = schema.name if schema else None
    return sources.KeyFormat(
        key.format,
        avro_schema=uri if key.avro_schema else None,
        descriptors=uri if key.protobuf else None,
        message=key.protobuf.message if key.protobuf else None,
    )


def _kafka(kafka: Kafka) -> sources.Kafka:
    """Where a backfill finds the brokers, and what it shows them."""
    way = next((way for way in LOGINS if kafka.auth and getattr(kafka.auth, way)), "none")
    secret = getattr(kafka.auth, way, None)
    return sources.Kafka(
        topics=tuple(sorted(kafka.topics)),
        servers=tuple(sorted(kafka.bootstrap_servers or ())),
        cluster=kafka.cluster_arn or "",
        login=LOGINS.get(way, "none"),
        secret=f"${{SECRET:{secret}}}" if isinstance(secret, str) else None,
        authority=f"${{SECRET:{kafka.ca_secret}}}" if kafka.ca_secret else None,
    )


def _registry(stream: Stream) -> sources.Registry | None:
    found = stream.registry
    if found is None:
        return None
    if found.glue:
        return sources.Registry("glue", found.glue.name)
    assert found.confluent is not None
    secret = found.confluent.secret
    return sources.Registry(
        "confluent", found.confluent.url, f"${{SECRET:{secret}}}" if secret else None
    )


def uses_glue_registry(stream: Stream) -> bool:
    """Whether a registry of Glue has a stream's schemas."""
    return stream.registry is not None and stream.registry.glue is not None


def descriptors(text: str) -> bytes:
    """A ``FileDescriptorSet`` as bytes.

    Raises
    ------
    ValueError
        The text is no base64.
    """
    return base64.b64decode("".join(text.split()), validate=True)


def schema_object(
    stream: Stream, facts: PlatformFacts, namespace: str, name: str
) -> Resource | None:
    """The schema of records that a spec holds, as an object that the functions read; None for none."""
    return _stored(
        "schema", stream.avro_schema, stream.protobuf, facts, f"{namespace}/schema/{name}"
    )


def key_schema_object(
    stream: Stream, facts: PlatformFacts, namespace: str, name: str
) -> Resource | None:
    """As :func:`schema_object`, of the keys of Kafka's records."""
    key = stream.kafka.key if stream.kafka else None
    if key is None:
        return None
    folder = f"{namespace}/key-schema/{name}"
    return _stored("key-schema", key.avro_schema, key.protobuf, facts, folder)


def _stored(
    logical_id: str,
    avro_schema: str | None,
    protobuf: Protobuf | KeyMessage | None,
    facts: PlatformFacts,
    place: str,
) -> Resource | None:
    if avro_schema:
        content, ending, kind = avro_schema.encode(), "avsc", "application/json"
        body: dict[str, Any] = {"Body": avro_schema}
    elif protobuf and protobuf.descriptors:
        content, ending = descriptors(protobuf.descriptors), "desc"
        kind = "application/octet-stream"
        body = {"BodyBase64": base64.b64encode(content).decode()}
    else:
        return None
    sha = hashlib.sha256(content).hexdigest()
    return Resource(
        "s3.Object",
        logical_id,
        f"s3://{facts.buckets['artifacts']}/config/{place}-{sha[:16]}.{ending}",
        {**body, "ContentType": kind, "Sha256": sha, "KmsKeyArn": facts.kms_key_arn},
        tagged=False,
    )


def broker_secrets(stream: Stream) -> tuple[str, ...]:
    """Names of the secrets that Lambda's pollers read, as the spec has them."""
    kafka = stream.kafka
    if kafka is None:
        return ()
    stated = [getattr(kafka.auth, way) for way in ACCESS] if kafka.auth else []
    return tuple(sorted({name for name in (*stated, kafka.ca_secret) if name}))


def consumer_group(kafka: Kafka, names: pieces.Naming, topic: str) -> str:
    """The consumer group of one topic. AWS wants another one for each mapping."""
    group = f"{kafka.consumer_group or names('kafka-group', 'receive')}-{topic}"
    if len(group) <= GROUP_CHARACTERS:
        return group
    tail = f"-{naming.short_hash(group)}"
    return group[: GROUP_CHARACTERS - len(tail)] + tail


def parts(
    source: DataSource, facts: PlatformFacts, stored: Resource, secrets: Sequence[Resource]
) -> Parts:
    """Stream, consumer, receiving function and mappings of a source.

    Parameters
    ----------
    stored
        The source's configuration.
    secrets
        The secrets that the source names, as resources.
    """
    stream = source.spec.source.stream
    assert stream is not None
    names = names_of(facts, source.namespace, source.name)
    schemas = tuple(
        found
        for made in (schema_object, key_schema_object)
        if (found := made(stream, facts, source.namespace, source.name))
    )
    origin = tuple(_origin(source, stream, facts, names))
    function = names("function", "receive")
    role = pieces.role(
        facts,
        "receive-role",
        names("role", "receive"),
        trust=policies.trust(facts, "lambda"),
        policy=_policy(source, stream, facts, names, (stored, *schemas), secrets),
        description=f"Weir: receives the records of {source.id}",
    )
    needs = tuple(one.logical_id for one in (stored, *schemas))
    code = pieces.function(
        facts,
        "receive",
        function,
        handler="stream_processor",
        module="receive",
        role_name=role.name,
        role_id=role.logical_id,
        environment={"WEIR_CONFIG": stored.name},
        timeout=RECEIVE_TIMEOUT_SECONDS,
        memory=RECEIVE_MEMORY_MB,
        depends_on=needs,
        artifact="streams",
    )
    mappings = tuple(_mappings(source, stream, facts, names, function, origin, secrets))
    references = [Ref(one.logical_id, "uuid") for one in mappings]
    separated = [part for one in references for part in (one, ",")][:-1]
    below = facts.bucket_arn("quarantine", GIVEN_UP)
    return Parts(
        resources=(*schemas, *origin, role, *code, *mappings),
        uuids=Text(tuple(separated)),
        mappings=tuple(
            Text((facts.arn("lambda", "event-source-mapping:"), one)) for one in references
        ),
        given_up=tuple(Text((below, one, "/*")) for one in references),
        objects=tuple(pieces.object_key(one) for one in schemas),
    )


def _origin(
    source: DataSource, stream: Stream, facts: PlatformFacts, names: pieces.Naming
) -> Iterable[Resource]:
    """The Kinesis stream that is read, and the consumer through which; nothing for Kafka."""
    kinesis = stream.kinesis
    if kinesis is None:
        return
    arn = stream_arn(kinesis, facts, names)
    if kinesis.create:
        yield Resource(
            "kinesis.Stream",
            STREAM,
            stream_name(names),
            _created(kinesis.create, facts),
            deletion=pieces.data_deletion(source.spec.deletion_policy == "Delete"),
        )
    else:
        yield Resource("kinesis.Stream", STREAM, arn, external=True)
    if kinesis.enhanced_fan_out:
        reader = names("consumer", "receive")
        yield Resource("kinesis.Consumer", CONSUMER, f"{arn}|{reader}", {}, (STREAM,))


def _created(wanted: CreatedStream, facts: PlatformFacts) -> dict[str, Any]:
    mode = "ON_DEMAND" if wanted.mode == "onDemand" else "PROVISIONED"
    return {
        "StreamModeDetails": {"StreamMode": mode},
        **({"ShardCount": wanted.shards} if wanted.shards else {}),
        "RetentionPeriodHours": wanted.retention_hours,
        "KmsKeyArn": facts.kms_key_arn,
    }


def _mappings(
    source: DataSource,
    stream: Stream,
    facts: PlatformFacts,
    names: pieces.Naming,
    function: str,
    origin: Sequence[Resource],
    secrets: Sequence[Resource],
) -> Iterable[Resource]:
    """What reads the stream and calls the function: one mapping, of Kafka one for each topic."""
    kinesis, kafka, batch = stream.kinesis, stream.kafka, stream.batch
    control: dict[str, Any] = {
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": batch.retries,
        "MaximumRecordAgeInSeconds": seconds(batch.max_age) if batch.max_age else -1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    common: dict[str, Any] = {
        "FunctionName": function,
        "Enabled": not source.spec.suspend,
        "BatchSize": batch.records,
        "MaximumBatchingWindowInSeconds": seconds(batch.window),
        "DestinationConfig": {"OnFailure": {"Destination": facts.bucket_arn("quarantine")}},
    }
    if kinesis:
        arn = stream_arn(kinesis, facts, names)
        consumer = any(one.logical_id == CONSUMER for one in origin)
        yield Resource(
            "lambda.EventSourceMapping",
            "mapping",
            f"{function}|{arn}",
            {
                **common,
                **control,
                **_start(source),
                "EventSourceArn": Ref(CONSUMER) if consumer else kinesis.consumer_arn or arn,
                "ParallelizationFactor": PER_SHARD,
            },
            ("receive", *(one.logical_id for one in origin)),
        )
        return
    assert kafka is not None
    cluster: dict[str, Any] = (
        {"EventSourceArn": kafka.cluster_arn}
        if kafka.cluster_arn
        else {
            "SelfManagedEventSource": {
                "Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": sorted(kafka.bootstrap_servers or ())}
            }
        }
    )
    member = "AmazonManaged" if kafka.cluster_arn else "SelfManaged"
    for topic in sorted(kafka.topics):
        group = {"ConsumerGroupId": consumer_group(kafka, names, topic)}
        yield Resource(
            "lambda.EventSourceMapping",
            f"mapping-{naming.short_hash(topic)}",
            f"{function}|kafka:{topic}",
            {
                **common,
                **cluster,
                **(_pollers(kafka, control) if kafka.pollers else {}),
                **_start(source),
                "Topics": [topic],
                f"{member}KafkaEventSourceConfig": group,
                "SourceAccessConfigurations": _access(kafka, _vpc(source, facts)),
            },
            ("receive", *(one.logical_id for one in secrets)),
        )


def _pollers(kafka: Kafka, control: dict[str, Any]) -> dict[str, Any]:
    """Of Kafka, Lambda splits, counts and gives up with pollers of one's own alone (Lambda Developer
    Guide, *Configuring error handling controls for Kafka event sources*)."""
    assert kafka.pollers is not None
    limits = {"MinimumPollers": kafka.pollers.min, "MaximumPollers": kafka.pollers.max}
    return {**control, "ProvisionedPollerConfig": limits}


def _start(source: DataSource) -> dict[str, Any]:
    """Where a new mapping begins.

    ``LATEST`` is the time at which the object was created: a mapping that is made anew would leave
    out what came in between, and AWS may leave out minutes while it makes one (Lambda Developer
    Guide, *Polling and stream starting positions*). What was received already is dropped.
    """
    moment = begins(source)
    if moment is None:
        return {"StartingPosition": "TRIM_HORIZON"}
    return {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": moment}


def begins(source: DataSource) -> str | None:
    """From when on a stream's own landings bring its records, ISO 8601; None: from the oldest."""
    stream = source.spec.source.stream
    assert stream is not None
    origin = stream.kinesis or stream.kafka
    assert origin is not None
    if origin.starting_position == "TRIM_HORIZON":
        return None
    return origin.starting_timestamp or source.metadata.get("creationTimestamp")


def _vpc(source: DataSource, facts: PlatformFacts) -> NetworkFacts | None:
    """The VPC in which Lambda's pollers of self-managed brokers run; None for the public net."""
    inside = network.is_inside(facts.network, network.needs_vpc(source))
    return facts.network if inside else None


def _access(kafka: Kafka, vpc: NetworkFacts | None) -> list[dict[str, Any]]:
    """How pollers reach brokers and what they show them."""
    found: list[dict[str, Any]] = []
    for way, kind in ACCESS.items():
        name = getattr(kafka.auth, way) if kafka.auth else None
        if name:
            found.append({"Type": kind, "URI": Ref(pieces.secret_logical_id(name))})
    if kafka.ca_secret:
        uri = Ref(pieces.secret_logical_id(kafka.ca_secret))
        found.append({"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": uri})
    if vpc and kafka.bootstrap_servers:
        found += [{"Type": "VPC_SUBNET", "URI": f"subnet:{one}"} for one in vpc.subnets]
        found += [
            {"Type": "VPC_SECURITY_GROUP", "URI": Text(("security_group:", one))}
            for one in vpc.security_groups
        ]
    return found


def _policy(
    source: DataSource,
    stream: Stream,
    facts: PlatformFacts,
    names: pieces.Naming,
    objects: Sequence[Resource],
    secrets: Sequence[Resource],
) -> policies.Document:
    """The role of the receiving function, which Lambda's pollers use too."""
    kinesis, kafka = stream.kinesis, stream.kafka
    reads: tuple[policies.Statement, ...] = ()
    services = ["s3", "dynamodb", "secretsmanager", "lambda"]
    if kinesis:
        services.append("kinesis")
        arn = stream_arn(kinesis, facts, names)
        # Behind the consumer's name AWS puts the second of its creation.
        own = f"{arn}/consumer/{names('consumer', 'receive')}:*"
        consumer = own if kinesis.enhanced_fan_out else kinesis.consumer_arn
        reads = policies.reads_kinesis(arn, consumer)
    if kafka:
        groups = [consumer_group(kafka, names, topic) for topic in sorted(kafka.topics)]
        reads = _reads_msk(kafka, groups)
    if kafka and (kafka.cluster_arn or _vpc(source, facts)):
        reads = (*reads, policies.allow("ReachBrokers", NETWORK_READS, ["*"]))
    if uses_glue_registry(stream):
        reads = (*reads, policies.reads_registry())
    return policies.receiving(
        facts,
        source=source.id,
        function=names("function", "receive"),
        objects=[pieces.object_key(one) for one in objects],
        machine=facts.machine_arn(names("machine", "ingest")),
        secrets=[one.name for one in secrets],
        services=services,
        reads=reads,
    )


def _reads_msk(kafka: Kafka, groups: Sequence[str]) -> tuple[policies.Statement, ...]:
    """What reading topics needs of IAM, as a member of these consumer groups."""
    if not kafka.cluster_arn:
        return ()
    iam = kafka.auth is not None and kafka.auth.iam is not None
    topics = sorted(kafka.topics) if iam else ()
    return policies.reads_msk(kafka.cluster_arn, topics, groups if iam else ())


def reads_past(stream: Stream) -> tuple[policies.Statement, ...]:
    """What a backfill of Kafka's topics needs beside the login's secret: it joins no group."""
    return _reads_msk(stream.kafka, ()) if stream.kafka else ()


def lag_alarm(
    source: DataSource, facts: PlatformFacts, topics: Sequence[str]
) -> tuple[Resource, ...]:
    """The alarm of a stream that is read too slowly, by Lambda's own metrics of the function."""
    stream = source.spec.source.stream
    assert stream is not None
    names = names_of(facts, source.namespace, source.name)
    function = names("function", "receive")
    if stream.kinesis:
        lag = stream.kinesis.lag_alarm
        metric, limit, what = "IteratorAge", seconds(lag) * 1000.0, f"is {lag} behind"
    else:
        assert stream.kafka is not None
        count = stream.kafka.lag_alarm
        metric, limit, what = "OffsetLag", float(count), f"has {count} records waiting"
    return (
        pieces.alarm(
            "alarm-lag",
            names("alarm", "lag"),
            f"The stream of {source.id} {what}. Look at the errors of {function}, then at the "
            "stream's shards or partitions.",
            ("AWS/Lambda", metric, "FunctionName", function),
            topics,
            statistic="Maximum",
            threshold=limit,
            period=60,
            periods=5,
        ),
    )
