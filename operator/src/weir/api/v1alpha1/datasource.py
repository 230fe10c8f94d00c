"""DataSource: where data comes from, what shape it has, where it goes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    Arn,
    BucketName,
    BucketRef,
    CustomResource,
    DeletionPolicy,
    Duration,
    Identifier,
    LocalRef,
    Model,
    Notifications,
    ObjectName,
    Partition,
    Path,
    Prefix,
    RunStatus,
    Schedule,
    Status,
    TimeZone,
    cel,
    exactly_one,
    rules,
    string_set,
    unchanging,
)
from weir.api.v1alpha1.schema import SchemaSpec

Header = Annotated[str, StringConstraints(max_length=4096)]
Url = Annotated[
    str,
    StringConstraints(
        min_length=8, max_length=2048, pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"
    ),
]
Host = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^(\*\.)?[A-Za-z0-9.:-]+$")
]
Param = Annotated[str, StringConstraints(min_length=1, max_length=128)]
SecretName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/_+=.@-]+(#[A-Za-z0-9_.-]+)?$"
    ),
]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Paginator(Model):
    """How one page leads to the next."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.type != 'cursor' || has(self.cursorPath) != has(self.cursorHeader)",
                "a cursor paginator needs cursorPath or cursorHeader, one of them",
            ),
            cel(
                "self.type == 'cursor' || (!has(self.cursorPath) && !has(self.cursorHeader))",
                "cursorPath and cursorHeader belong to type cursor",
            ),
            cel(
                "self.type == 'link' || !has(self.nextPath)",
                "nextPath belongs to type link",
            ),
        )
    )

    type: Literal["single", "pageNumber", "offset", "cursor", "link"] = Field(
        description="single: one answer is all. pageNumber and offset count in a query parameter. "
        "cursor takes a token from the answer. link follows nextPath in the body, or the header Link."
    )
    page_param: Param = Field("page", description="Query parameter of the page's number.")
    base_page: Annotated[int, Field(ge=0, le=1)] = Field(1, description="First page's number.")
    offset_param: Param = Field("offset", description="Query parameter of the offset.")
    limit_param: Param | None = Field(None, description="Query parameter of the page's size.")
    page_size: Annotated[int, Field(ge=1, le=100_000)] = Field(100, description="Rows a page.")
    total_path: Path | None = Field(
        None, description="Where the body gives the number of pages (pageNumber) or rows (offset)."
    )
    cursor_path: Path | None = Field(None, description="Where the body gives the next cursor.")
    cursor_header: Param | None = Field(None, description="Header that gives the next cursor.")
    cursor_param: Param = Field("cursor", description="Query parameter of the cursor.")
    next_path: Path | None = Field(
        None, description="Where the body gives the next URL. Default: the header Link, rel=next."
    )


class Incremental(Model):
    """Ask only for what is new since the last run."""

    cursor_field: Path = Field(description="Where a record gives the value that only grows.")
    cursor_param: Param = Field(description="Query parameter that takes the last value.")
    initial_value: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="Value of the first run."
    )


class RequestLimits(Model):
    """Bounds on what one extraction asks and takes."""

    timeout: Duration = Field("30s", description="For one request.")
    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        5, description="Tries of one request, the first included."
    )
    max_response_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = Field(
        52_428_800, description="Bytes of one answer."
    )
    max_pages: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        100_000, description="Pages of one extraction."
    )
    requests_per_second: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Requests a second at most."
    )


class RestApi(Model):
    """A REST endpoint that answers JSON."""

    endpoint: Url = Field(description="URL. Credentials belong into headers, as ${SECRET:name}.")
    method: Literal["GET", "POST"] = Field("GET", description="HTTP method.")
    headers: Annotated[dict[str, Header], Field(max_length=50)] = Field(
        default_factory=dict,
        description="Request headers; a value may hold ${SECRET:name} or ${SECRET:name#jsonKey}.",
        json_schema_extra=rules(
            cel(
                "self.all(k, k.matches('^[A-Za-z0-9!#$%&*+.^_|~-]{1,128}$'))",
                "a header's name has letters, digits and - only",
            )
        ),
    )
    params: Annotated[dict[str, Header], Field(max_length=50)] = Field(
        default_factory=dict, description="Query parameters; may hold ${SECRET:...}."
    )
    body: dict[str, Any] | None = Field(
        None,
        description="JSON body of a POST.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    schedule: Schedule = Field(
        description="When to ask: rate(1 hour), or cron(0 6 * * ? *). At least one minute apart."
    )
    timezone: TimeZone = Field("UTC", description="IANA zone of a cron schedule.")
    data_selector: Path | None = Field(
        None,
        description="Where the answer has its rows. Default: the answer itself if it is a list, "
        "else the list under data, results, items, records or value, else the object as one row.",
    )
    paginator: Paginator | None = Field(None, description="Default: single.")
    incremental: Incremental | None = Field(None, description="Default: everything, each time.")
    limits: RequestLimits = Field(default_factory=RequestLimits, description="Bounds.")
    allowed_hosts: Annotated[list[Host], Field(max_length=20)] = Field(
        default_factory=list,
        description="Hosts beside the endpoint's own that may get its credentials.",
        json_schema_extra=string_set(),
    )


class AttachmentRules(Model):
    """Which attachments are taken."""

    patterns: Annotated[list[Glob], Field(max_length=50)] = Field(
        default_factory=list, description="File name globs; none means all."
    )
    max_bytes: Annotated[int, Field(ge=1, le=41_943_040)] = Field(
        41_943_040, description="Bytes of one attachment, unpacked."
    )
    password_secret: SecretName | None = Field(
        None, description="Secret with the password of archives."
    )


class EmailTrust(Model):
    """Which verdicts of SES a mail needs."""

    spf: bool = Field(True, description="SPF must pass.")
    dkim: bool = Field(True, description="DKIM must pass.")
    dmarc: bool = Field(False, description="DMARC must pass.")
    spam: bool = Field(True, description="The spam verdict must pass.")
    virus: bool = Field(True, description="The virus verdict must pass.")


class Email(Model):
    """Attachments of mails to an address."""

    provider: Literal["ses", "workmail"] = Field("ses", description="Who receives the mail.")
    recipients: Annotated[
        list[Annotated[str, StringConstraints(min_length=3, max_length=254)]],
        Field(min_length=1, max_length=50),
    ] = Field(
        description="Addresses or domains that the mail is sent to.", json_schema_extra=string_set()
    )
    allowed_senders: Annotated[
        list[Annotated[str, StringConstraints(min_length=3, max_length=254)]], Field(max_length=200)
    ] = Field(
        default_factory=list,
        description="Senders or @domains; none means any.",
        json_schema_extra=string_set(),
    )
    trust: EmailTrust = Field(default_factory=EmailTrust, description="Verdicts.")
    attachments: AttachmentRules = Field(
        default_factory=AttachmentRules, description="Attachments."
    )


class CsvOptions(Model):
    """A CSV's dialect."""

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=4)] = Field(
        ",", description="Between fields."
    )
    quote: Annotated[str, StringConstraints(min_length=1, max_length=1)] = Field(
        '"', description="Around fields."
    )
    header: bool = Field(True, description="The first line names the columns.")
    encoding: Annotated[str, StringConstraints(max_length=32)] = Field(
        "utf-8", description="Encoding."
    )


class Files(Model):
    """Files that others put into S3."""

    bucket: BucketName = Field(description="Bucket that is watched.")
    prefix: Annotated[str, StringConstraints(max_length=512)] = Field(
        "", description="Prefix that is watched."
    )
    pattern: Glob | None = Field(None, description="Glob of the keys; none means all.")
    format: Literal[
        "csv", "tsv", "json", "jsonLines", "xml", "fixedWidth", "xlsx", "parquet", "avro", "orc"
    ] = Field("csv", description="Format.")
    compression: Literal["auto", "none", "gzip", "zip", "bz2", "zstd"] = Field(
        "auto", description="Compression."
    )
    csv: CsvOptions | None = Field(None, description="The CSV's dialect.")
    sweep: Schedule = Field(
        "rate(1 hour)",
        description="How often the prefix is listed, for files whose event was lost.",
    )


class Kinesis(Model):
    """A Kinesis stream."""

    stream_arn: Arn = Field(description="The stream.")
    enhanced_fan_out: bool = Field(False, description="Read through a consumer of its own.")
    starting_position: Literal["TRIM_HORIZON", "LATEST"] = Field(
        "TRIM_HORIZON", description="Where to start."
    )


class Kafka(Model):
    """Kafka topics, on MSK or self-managed."""

    model_config = ConfigDict(
        json_schema_extra=rules(exactly_one("clusterArn", "bootstrapServers"))
    )

    cluster_arn: Arn | None = Field(None, description="MSK cluster.")
    bootstrap_servers: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=3, max_length=300)]],
            Field(min_length=1, max_length=10),
        ]
        | None
    ) = Field(None, description="host:port of brokers.", json_schema_extra=string_set())
    topics: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=249)]],
        Field(min_length=1, max_length=10),
    ] = Field(description="Topics.", json_schema_extra=string_set())
    sasl_secret: SecretName | None = Field(
        None, description="Secret with username and password for SASL/SCRAM."
    )
    starting_position: Literal["TRIM_HORIZON", "LATEST"] = Field(
        "TRIM_HORIZON", description="Where to start."
    )


class Stream(Model):
    """A stream of records."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("kinesis", "kafka")))

    kinesis: Kinesis | None = Field(None, description="Kinesis.")
    kafka: Kafka | None = Field(None, description="Kafka.")
    format: Literal["json", "avro", "protobuf"] = Field("json", description="Format of a record.")
    registry: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="Glue schema registry's name, or a Confluent-style registry's URL."
    )
    seal_every: Duration = Field("5m", description="Longest time until landed records are sealed.")
    seal_bytes: Annotated[int, Field(ge=1_048_576, le=10_737_418_240)] = Field(
        134_217_728, description="Bytes after which landed records are sealed."
    )


class Source(Model):
    """Where data comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(exactly_one("restApi", "email", "files", "stream"))
    )

    rest_api: RestApi | None = Field(None, description="A REST endpoint.")
    email: Email | None = Field(None, description="Reserved: not served yet. Attachments of mails.")
    files: Files | None = Field(None, description="Reserved: not served yet. Files in S3.")
    stream: Stream | None = Field(
        None, description="Reserved: not served yet. A Kinesis or Kafka stream."
    )


class Destination(Model):
    """Where processed rows go, as Parquet."""

    bucket: BucketRef = Field("${BUCKET:processed}", description="Bucket.")
    prefix: Prefix = Field(description="Prefix, with a closing slash.")
    partition_by: Annotated[list[Partition], Field(max_length=8)] = Field(
        default_factory=list,
        description="year, month, day, hour of the landing time; a column; or a transform of a "
        "column: day(orderedAt, Europe/Berlin).",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    format: Literal["parquet", "iceberg"] = Field(
        "parquet", description="Table format. Reserved: iceberg is not served yet."
    )


class RedshiftTarget(Model):
    """The warehouse's table."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra=rules(
            cel(
                "!has(self.mode) || self.mode != 'merge' || has(self.keys)",
                "mode merge needs keys",
            ),
            *unchanging("schema", "table"),
        ),
    )

    schema_name: Identifier = Field(alias="schema", description="Schema.")
    table: Identifier = Field(description="Table.")
    distkey: Identifier | None = Field(None, description="Column that rows are distributed by.")
    sortkey: (
        Annotated[
            str,
            StringConstraints(
                max_length=600,
                pattern=r"^[A-Za-z_][A-Za-z0-9_$]*(, ?[A-Za-z_][A-Za-z0-9_$]*){0,7}$",
            ),
        ]
        | None
    ) = Field(None, description="Column that rows are sorted by, or several with commas.")
    mode: Literal["append", "replace", "merge"] | None = Field(
        None,
        description="append: add rows. replace: the table is what the source has. merge: by keys. "
        "Default: merge with keys, append with incremental, else replace.",
    )
    keys: Annotated[list[Identifier], Field(min_length=1, max_length=16)] | None = Field(
        None, description="Columns that identify a row.", json_schema_extra=string_set()
    )
    order_by: Identifier | None = Field(
        None,
        description="Column that tells a newer row from an older one. Default: the landing's "
        "sequence.",
    )
    deletes: Literal["ignore", "soft", "hard"] = Field(
        "ignore",
        description="What a row that the source no longer has means, in mode merge. Reserved: soft "
        "and hard are not served yet.",
    )
    min_rows: Annotated[int, Field(ge=0)] = Field(
        1, description="Mode replace leaves the table alone for fewer rows than this."
    )
    max_shrink_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        50,
        description="Mode replace leaves the table alone if it would lose more percent than this.",
    )


class ChildPipeline(Model):
    """Whether the source has a Pipeline of its own."""

    managed: bool = Field(
        True,
        description="A DataSource with redshift gets a Pipeline that lands, cleans and loads. "
        "False: you write one.",
    )


class DataSourceSpec(Model):
    """Where data comes from, what shape it has, where it goes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(has(self.schema) && has(self.schemaRef))",
                "set schema or schemaRef, not both",
            ),
            cel(
                "!has(self.redshift) || has(self.destination)",
                "redshift needs a destination: rows are loaded from there",
            ),
            *unchanging("platform"),
        )
    )

    platform: ObjectName = Field("default", description="Platform to run on.")
    source: Source = Field(description="Where data comes from.")
    schema_spec: SchemaSpec | None = Field(
        None, alias="schema", description="What shape it has. Default: inferred on the first run."
    )
    schema_ref: LocalRef | None = Field(None, description="A DataSchema with the shape.")
    destination: Destination | None = Field(None, description="Where it goes in S3.")
    redshift: RedshiftTarget | None = Field(None, description="Where it goes in the warehouse.")
    pipeline: ChildPipeline = Field(default_factory=ChildPipeline, description="The Pipeline.")
    notifications: Notifications | None = Field(None, description="Default: the Platform's.")
    suspend: bool = Field(False, description="Stop asking; everything stays as it is.")
    deletion_policy: DeletionPolicy = Field(
        "Retain",
        description="Whether the table in the warehouse goes when this object does. Landed and "
        "processed objects in S3 stay in any case.",
    )


class FrozenField(Model):
    """One column as it was inferred and frozen."""

    name: Annotated[str, StringConstraints(max_length=127)]
    type: Annotated[str, StringConstraints(max_length=24)]
    path: Annotated[str, StringConstraints(max_length=512)] | None = None


class FrozenSchema(Model):
    """The schema in force: what was stated, and what was inferred on the first run."""

    fields: Annotated[list[FrozenField], Field(max_length=1600)] = Field(
        default_factory=list, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )


class DataSourceStatus(Status):
    """Observed state of a DataSource."""

    last_run: RunStatus | None = Field(None, description="The last landing.")
    last_success_time: Annotated[str, StringConstraints(max_length=40)] | None = None
    sequence: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of the last manifest."
    )
    schema_spec: FrozenSchema | None = Field(None, alias="schema")
    first_execution: Annotated[str, StringConstraints(max_length=2048)] | None = Field(
        None, description="The landing that was started when the source was ready."
    )
    pipeline: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        None, description="The managed Pipeline."
    )


class DataSource(CustomResource):
    """Where data comes from, what shape it has, where it goes."""

    kind: Literal["DataSource"] = "DataSource"
    spec: DataSourceSpec
    status: DataSourceStatus = Field(default_factory=DataSourceStatus)
