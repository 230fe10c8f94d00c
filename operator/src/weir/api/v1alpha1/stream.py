"""Sources that are streams: Kinesis and Kafka."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    Arn,
    Duration,
    Model,
    cel,
    exactly_one,
    rules,
    string_set,
    unchanging,
)

SecretRefName = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/_+=.@-]+$")
]
"""A secret whose keys are AWS's own: Lambda reads it whole."""
Moment = Annotated[
    str,
    StringConstraints(
        min_length=20,
        max_length=32,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    ),
]
"""RFC 3339: ``2026-01-31T00:00:00Z``."""
StartingPosition = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]
STARTS = (
    "Where a new source begins: with the oldest record that is kept, with those that come after "
    "this object was created, or at a time. Later the source goes on where it was."
)
STARTS_AT = "The time of AT_TIMESTAMP."
START_RULES = (
    cel(
        "(self.startingPosition == 'AT_TIMESTAMP') == has(self.startingTimestamp)",
        "startingTimestamp belongs to startingPosition AT_TIMESTAMP",
    ),
    *unchanging("startingPosition", "startingTimestamp"),
)


class CreatedStream(Model):
    """A Kinesis stream of the source's own."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(self.mode == 'provisioned') == has(self.shards)",
                "shards belongs to mode provisioned",
            )
        )
    )

    mode: Literal["onDemand", "provisioned"] = Field(
        "onDemand",
        description="Who sees to its capacity: AWS, or you by shards. AWS allows two changes of it "
        "in 24 hours.",
    )
    shards: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="Shards, of mode provisioned. AWS doubles or halves them at most, ten times in "
        "24 hours: further steps follow by themselves.",
    )
    retention_hours: Annotated[int, Field(ge=24, le=8760)] = Field(
        24, description="How long records are kept in the stream."
    )


class Kinesis(Model):
    """A Kinesis stream."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("streamArn", "create"),
            cel(
                "!has(self.consumerArn) || (has(self.streamArn) && "
                "self.consumerArn.startsWith(self.streamArn + '/consumer/'))",
                "consumerArn is of a consumer of streamArn",
            ),
            cel(
                "!has(self.consumerArn) || !has(self.enhancedFanOut) || !self.enhancedFanOut",
                "enhancedFanOut registers a consumer, consumerArn names one: set one of them",
            ),
            *START_RULES,
        )
    )

    stream_arn: Arn | None = Field(None, description="A stream of others; it must be granted.")
    create: CreatedStream | None = Field(
        None,
        description="Make a stream, encrypted with the Platform's key. With deletionPolicy Retain "
        "it stays when this object goes.",
    )
    enhanced_fan_out: bool = Field(
        False,
        description="Read through a consumer of its own, with 2 MB/s a shard that nobody else "
        "takes; AWS bills it by shard and hour.",
    )
    consumer_arn: Arn | None = Field(
        None,
        description="Enhanced fan-out through a consumer of streamArn that others registered, through "
        "which nobody else reads.",
    )
    starting_position: StartingPosition = Field("TRIM_HORIZON", description=STARTS)
    starting_timestamp: Moment | None = Field(None, description=STARTS_AT)
    lag_alarm: Duration = Field(
        "1h", description="Age of the last record read from which an alarm is raised."
    )


class MskIam(Model):
    """The function's role, which may read the topics."""


class KafkaAuth(Model):
    """How brokers know the reader."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("iam", "scramSha512", "scramSha256", "plain", "mtls"),
        )
    )

    iam: MskIam | None = Field(
        None, description="IAM, of MSK: write {}. The function's role may read the topics."
    )
    scram_sha512: SecretRefName | None = Field(
        None,
        description="SASL/SCRAM with SHA-512: a secret with the keys username and password.",
    )
    scram_sha256: SecretRefName | None = Field(
        None,
        description="SASL/SCRAM with SHA-256, of self-managed brokers: a secret like that.",
    )
    plain: SecretRefName | None = Field(
        None, description="SASL/PLAIN over TLS, of self-managed brokers: a secret like that."
    )
    mtls: SecretRefName | None = Field(
        None,
        description="A client certificate: a secret with the keys certificate, privateKey and, "
        "where it has one, privateKeyPassword.",
    )


class Pollers(Model):
    """Event pollers of one's own (Lambda's provisioned mode)."""

    model_config = ConfigDict(
        json_schema_extra=rules(cel("self.min <= self.max", "min can't be above max"))
    )

    min: Annotated[int, Field(ge=1, le=200)] = Field(1, description="At least.")
    max: Annotated[int, Field(ge=1, le=2000)] = Field(10, description="At most.")


Broker = Annotated[
    str,
    StringConstraints(
        min_length=3, max_length=300, pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"
    ),
]
Descriptors = Annotated[
    str,
    StringConstraints(
        min_length=4, max_length=349_528, pattern=r"^[A-Za-z0-9+/][A-Za-z0-9+/\s]+={0,2}\s*$"
    ),
]
"""A ``FileDescriptorSet`` in base64."""
Message = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=512,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
    ),
]
AvroSchema = Annotated[str, StringConstraints(min_length=2, max_length=131_072)]
Format = Literal["json", "avro", "protobuf"]


class Protobuf(Model):
    """The message that a record is."""

    descriptors: Descriptors = Field(
        description="FileDescriptorSet in base64: protoc --include_imports "
        "--descriptor_set_out=/dev/stdout orders.proto | base64."
    )
    message: Message = Field(description="Full name of the message: shop.v1.Order.")


class KeyMessage(Model):
    """The message that a key is."""

    descriptors: Descriptors | None = Field(
        None, description="FileDescriptorSet in base64. Default: stream.protobuf.descriptors."
    )
    message: Message = Field(description="Full name of the message: shop.v1.OrderKey.")


class Key(Model):
    """How the keys of records are written."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.format == 'avro' || !has(self.avroSchema)",
                "avroSchema belongs to format avro",
            ),
            cel(
                "(self.format == 'protobuf') == has(self.protobuf)",
                "protobuf.message belongs to format protobuf, which needs it",
            ),
        )
    )

    format: Format = Field(
        description="Format of a key. json and protobuf: with or without the id of stream.registry."
    )
    avro_schema: AvroSchema | None = Field(
        None,
        description="Avro schema (JSON) of keys without an id in front. Default: that of the id in "
        "front, by stream.registry.",
    )
    protobuf: KeyMessage | None = Field(None, description="The message, of format protobuf.")


Topic = Annotated[
    str, StringConstraints(min_length=2, max_length=249, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]+$")
]
"""As an event source mapping takes it (Lambda API reference, *CreateEventSourceMapping*)."""


class Kafka(Model):
    """Kafka topics, on MSK or self-managed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("clusterArn", "bootstrapServers"),
            cel(
                "!has(self.auth) || has(self.clusterArn) || !has(self.auth.iam)",
                "auth.iam is for MSK: it needs clusterArn",
            ),
            cel(
                "!has(self.auth) || has(self.bootstrapServers) || "
                "!(has(self.auth.plain) || has(self.auth.scramSha256))",
                "auth.plain and auth.scramSha256 are for bootstrapServers; MSK has iam, scramSha512 "
                "and mtls",
            ),
            cel(
                "!has(self.caSecret) || has(self.bootstrapServers)",
                "caSecret is for bootstrapServers: MSK's certificates are AWS's own",
            ),
            *START_RULES,
        )
    )

    cluster_arn: Arn | None = Field(
        None, description="MSK cluster, provisioned or serverless; it must be granted."
    )
    bootstrap_servers: Annotated[list[Broker], Field(min_length=1, max_length=10)] | None = Field(
        None,
        description="host:port of brokers; the hosts must be granted.",
        json_schema_extra=string_set(),
    )
    topics: Annotated[list[Topic], Field(min_length=1, max_length=10)] = Field(
        description="Topics.", json_schema_extra=string_set()
    )
    auth: KafkaAuth | None = Field(None, description="Default: none.")
    ca_secret: SecretRefName | None = Field(
        None,
        description="Secret with the key certificate: the authority (PEM) that signed the brokers' "
        "certificates, where it is no public one.",
    )
    consumer_group: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9/*:_+=.@-]+$"),
        ]
        | None
    ) = Field(
        None,
        description="What the names of the consumer groups begin with: each topic has one of its "
        "own, <consumerGroup>-<topic>. Default: from cluster, namespace and name.",
    )
    key: Key | None = Field(
        None,
        description="How the keys of records are written, for _stream.key: a key that is a record is "
        "its JSON there, a single value its text. Default: where the schema names _stream.key and "
        "stream.registry is there, json and avro are read by the id in front; else a key is text.",
    )
    pollers: Pollers | None = Field(
        None,
        description="Provisioned mode: AWS bills pollers by the hour, splits failing batches and "
        "gives up on them after batch.retries. Default: on demand, where a failing batch is tried "
        "until it passes.",
    )
    starting_position: StartingPosition = Field("TRIM_HORIZON", description=STARTS)
    starting_timestamp: Moment | None = Field(None, description=STARTS_AT)
    lag_alarm: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = Field(
        100_000, description="Records that wait in a topic from which an alarm is raised."
    )


class GlueRegistry(Model):
    """A registry of AWS Glue, in the Platform's account and region."""

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_$#.-]+$")
    ] = Field(description="Its name; it must be granted.")


class ConfluentRegistry(Model):
    """A registry with Confluent's HTTP API."""

    url: Annotated[
        str, StringConstraints(min_length=8, max_length=1024, pattern=r"^https?://[^\s]+$")
    ] = Field(description="Its address; the host must be granted.")
    secret: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/_+=.@-]+$"),
        ]
        | None
    ) = Field(None, description="Secret with the keys username and password.")


class Registry(Model):
    """Where the schemas of a stream's records are kept."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("glue", "confluent")))

    glue: GlueRegistry | None = Field(None, description="AWS Glue Schema Registry.")
    confluent: ConfluentRegistry | None = Field(
        None, description="Confluent's, Redpanda's, Karapace, Apicurio: what has its HTTP API."
    )


class Batch(Model):
    """How records reach the function."""

    records: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10_000, description="Records of one call at most; Lambda also stops at 6 MB."
    )
    window: Duration = Field(
        "5s", description="How long records are gathered for a call, up to 5m."
    )
    retries: Annotated[int, Field(ge=0, le=10_000)] = Field(
        10,
        description="How often a failing batch is tried again, split in halves, before Lambda gives "
        "up on it. What it gave up on is kept in quarantine and landed from there.",
    )
    max_age: Duration | None = Field(
        None,
        description="Records older than this are given up on, 1m to 7d. Default: none are.",
    )


class Stream(Model):
    """A stream of records."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("kinesis", "kafka"),
            cel(
                "self.format != 'avro' || has(self.registry) != has(self.avroSchema)",
                "format avro needs registry or avroSchema, one of them",
            ),
            cel(
                "self.format != 'protobuf' || has(self.protobuf)",
                "format protobuf needs protobuf: registries keep no descriptors",
            ),
            cel(
                "self.format == 'avro' || !has(self.avroSchema)",
                "avroSchema belongs to format avro",
            ),
            cel(
                "self.format == 'protobuf' || !has(self.protobuf)",
                "protobuf belongs to format protobuf",
            ),
            cel(
                "!has(self.kafka) || !has(self.kafka.key) || self.metadata",
                "kafka.key needs metadata: true: a key is shown in _stream",
            ),
            cel(
                "!has(self.kafka) || !has(self.kafka.key) || self.kafka.key.format != 'avro' || "
                "has(self.registry) || has(self.kafka.key.avroSchema)",
                "kafka.key of format avro needs its avroSchema, or registry",
            ),
            cel(
                "!has(self.kafka) || !has(self.kafka.key) || !has(self.kafka.key.protobuf) || "
                "has(self.protobuf) || has(self.kafka.key.protobuf.descriptors)",
                "kafka.key of format protobuf needs its descriptors, where protobuf has none",
            ),
        )
    )

    kinesis: Kinesis | None = Field(None, description="Kinesis.")
    kafka: Kafka | None = Field(None, description="Kafka.")
    format: Format = Field("json", description="Format of a record.")
    registry: Registry | None = Field(
        None,
        description="Registry whose id stands in front of each record. Of avro it tells the schema; "
        "of json and protobuf the id is taken off.",
    )
    avro_schema: AvroSchema | None = Field(
        None, description="Avro schema (JSON) of records without an id in front."
    )
    protobuf: Protobuf | None = Field(None, description="The message, of format protobuf.")
    metadata: bool = Field(
        False,
        description="Give each record _stream: its key, time, and place in the stream.",
    )
    seal_every: Duration = Field(
        "5m", description="Longest time until received records are landed, from 1m."
    )
    seal_bytes: Annotated[int, Field(ge=1_048_576, le=10_737_418_240)] = Field(
        134_217_728, description="Bytes of received records, as stored, that are landed at once."
    )
    batch: Batch = Field(default_factory=Batch, description="How records reach the function.")
