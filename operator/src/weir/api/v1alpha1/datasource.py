"""DataSource: where data comes from, what shape it has, where it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
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
    cel,
    exactly_one,
    rules,
    string_set,
    unchanging,
)
from weir.api.v1alpha1.rest import RestApi as RestApi
from weir.api.v1alpha1.schema import SchemaSpec
from weir.api.v1alpha1.stream import Stream as Stream

Param = Annotated[str, StringConstraints(min_length=1, max_length=128)]
SecretName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/_+=.@-]+(#[A-Za-z0-9_.-]+)?$"
    ),
]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class EmailTrust(Model):
    """Which verdicts of SES a mail needs."""

    spf: bool = Field(True, description="SPF must pass.")
    dkim: bool = Field(True, description="DKIM must pass.")
    dmarc: bool = Field(False, description="DMARC must pass.")
    spam: bool = Field(True, description="The spam verdict must pass.")
    virus: bool = Field(True, description="The virus verdict must pass.")


OneCharacter = Annotated[str, StringConstraints(min_length=1, max_length=1, pattern=r"^[\t -~]$")]
MaybeCharacter = Annotated[str, StringConstraints(max_length=1, pattern=r"^[\t -~]?$")]
Encoding = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")
]


class CsvOptions(Model):
    """How a delimited text is written."""

    delimiter: OneCharacter = Field(",", description="Between fields; a tsv has tabs.")
    quote: MaybeCharacter = Field('"', description="Around fields; empty: nothing is quoted.")
    escape: MaybeCharacter = Field(
        "", description="Before a quote within quotes. Default: it is doubled."
    )
    header: bool = Field(True, description="The first line names the columns.")
    columns: Annotated[list[Param], Field(max_length=1600)] = Field(
        default_factory=list,
        description="Names of the columns where there is no header; else column1, column2, ...",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    encoding: Encoding = Field(
        "utf-8", description="Encoding; a byte order mark in the file goes before it."
    )
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Lines before the header that are not read."
    )
    comment: Annotated[str, StringConstraints(max_length=8)] = Field(
        "", description="A line that begins so is not read."
    )
    null_values: Annotated[
        list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=20)
    ] = Field(
        default_factory=lambda: [""],
        description="Unquoted texts that mean null.",
        json_schema_extra=string_set(),
    )


class FixedColumn(Model):
    """A column of a fixed-width file."""

    name: Param = Field(description="Column.")
    start: Annotated[int, Field(ge=1, le=100_000)] = Field(description="First character, from 1.")
    width: Annotated[int, Field(ge=1, le=65_535)] = Field(description="Characters.")


class FileOptions(Model):
    """How the bytes of a file become records."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.format != 'fixedWidth' || (has(self.columns) && size(self.columns) > 0)",
                "format fixedWidth needs columns",
            ),
            cel(
                "!has(self.recordPath) || self.format in ['json', 'xml']",
                "recordPath belongs to formats json and xml",
            ),
            cel(
                "!has(self.sheet) || self.format == 'xlsx'",
                "sheet belongs to format xlsx",
            ),
        )
    )

    format: Literal[
        "csv", "tsv", "json", "jsonLines", "xml", "fixedWidth", "xlsx", "parquet", "avro", "orc"
    ] = Field("csv", description="Format. xlsx also reads xls and ods.")
    compression: Literal["auto", "none", "gzip", "zip", "bz2", "zstd"] = Field(
        "auto", description="Compression. auto: told by the first bytes."
    )
    csv: CsvOptions | None = Field(
        None, description="Dialect of csv and tsv; encoding and skipLines also of other texts."
    )
    record_path: Path | None = Field(
        None,
        description="json: where the document has its list (a.b); xml: the element that is one "
        "record (orders/order). Default: the document's list; the root's children.",
    )
    columns: Annotated[list[FixedColumn], Field(max_length=1600)] = Field(
        default_factory=list,
        description="Columns of a fixed-width file.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    sheet: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        None, description="Sheet of a workbook. Default: the first."
    )
    header_row: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Row of a sheet with the columns' names, from 1."
    )
    max_bytes: Annotated[int, Field(ge=1024, le=107_374_182_400)] = Field(
        10_737_418_240, description="Bytes of one file, unpacked; a larger one is rejected."
    )


class Files(FileOptions):
    """Files that others put into S3."""

    bucket: BucketName = Field(description="Bucket that is watched.")
    prefix: Annotated[str, StringConstraints(max_length=512)] = Field(
        "", description="Prefix that is watched."
    )
    pattern: Glob | None = Field(
        None,
        description="Glob of the keys below the prefix: *.csv, in/**/*.csv. Default: all.",
    )
    duplicates: Literal["skip", "land"] = Field(
        "skip", description="What becomes of a file whose content was landed under another name."
    )
    sweep: Schedule = Field(
        "rate(1 hour)",
        description="How often the prefix is looked through, for files whose event was lost and "
        "for buckets that send none.",
    )


class AttachmentOptions(FileOptions):
    """Which attachments are taken, and how they become records."""

    format: Literal[
        "auto",
        "stored",
        "csv",
        "tsv",
        "json",
        "jsonLines",
        "xml",
        "fixedWidth",
        "xlsx",
        "parquet",
        "avro",
        "orc",
    ] = Field(  # type: ignore[assignment]
        "auto",
        description="Format. auto: by the ending of the name; a pdf is stored. stored: every "
        "attachment is kept as it is, with a record that says where.",
    )
    patterns: Annotated[list[Glob], Field(max_length=50)] = Field(
        default_factory=list,
        description="Globs of the names that are taken. Default: all.",
        json_schema_extra=string_set(),
    )
    inline: bool = Field(False, description="Also what is shown within the mail.")
    max_attachment_bytes: Annotated[int, Field(ge=1, le=41_943_040)] = Field(
        41_943_040, description="Bytes of one attachment as it was sent."
    )
    password_secret: SecretName | None = Field(
        None, description="Secret with the password of encrypted zip and 7z archives."
    )
    duplicates: Literal["skip", "land"] = Field(
        "skip", description="What becomes of a mail that comes again with the same Message-ID."
    )


Address = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\s<>,;]+$")]


Recipient = Annotated[
    str,
    StringConstraints(
        min_length=3,
        max_length=254,
        pattern=r"^([A-Za-z0-9_.+=-]+@|\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
        r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$",
    ),
]


class Receive(Model):
    """A receipt rule of SES that is made for this source, in the rule set that is active."""

    recipients: Annotated[list[Recipient], Field(min_length=1, max_length=50)] = Field(
        description="Whose mails are received: user@example.com (also with a label: "
        "user+x@example.com), example.com (every address of the domain), .example.com (of all "
        "domains below it). The Platform grants them (grants[].mailRecipients), and a recipient is "
        "one source's.",
        json_schema_extra=string_set(),
    )
    require_tls: bool = Field(
        False, description="Refuse mails that come over a connection without TLS."
    )


class WorkMail(Model):
    """A WorkMail organization whose message flow passes mails on. Legacy: AWS ends WorkMail."""

    organization_id: Annotated[
        str, StringConstraints(min_length=34, max_length=34, pattern=r"^m-[0-9a-f]{32}$")
    ] = Field(
        description="The organization's id, in the account and region of the Platform, which grants "
        "its ARN (grants[].externalArns): arn:aws:workmail:REGION:ACCOUNT:organization/ID. Somebody "
        "makes the rule in WorkMail's console; the condition MailRouted says with which function."
    )


class Email(Model):
    """Attachments of mails that SES or WorkMail receives."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("bucket", "receive", "workmail"),
            cel(
                "has(self.bucket) || !has(self.prefix) || self.prefix == ''",
                "prefix belongs to bucket",
            ),
            cel(
                "!has(self.receive) || !has(self.recipients) || size(self.recipients) == 0",
                "recipients belongs to bucket or workmail; with receive state receive.recipients",
            ),
        )
    )

    bucket: BucketName | None = Field(
        None,
        description="Bucket that a receipt rule of somebody else's writes to, which is watched.",
    )
    prefix: Annotated[str, StringConstraints(max_length=512)] = Field(
        "", description="The object key prefix of that rule's S3 action."
    )
    receive: Receive | None = Field(
        None, description="A receipt rule of the source's own, which the operator makes."
    )
    workmail: WorkMail | None = Field(
        None,
        description="Legacy, AWS ends WorkMail on 31 March 2027: mails that an inbound rule of a "
        "WorkMail organization passes to a function of the source's own (Run Lambda).",
    )
    recipients: Annotated[list[Address], Field(max_length=50)] = Field(
        default_factory=list,
        description="Of the mails in bucket, or of WorkMail: addresses or domains that one was "
        "received for. Default: any.",
        json_schema_extra=string_set(),
    )
    allowed_senders: Annotated[list[Address], Field(max_length=200)] = Field(
        default_factory=list,
        description="Senders or @domains; none means any.",
        json_schema_extra=string_set(),
    )
    trust: EmailTrust = Field(default_factory=EmailTrust, description="Verdicts.")
    attachments: AttachmentOptions = Field(
        default_factory=AttachmentOptions, description="Attachments."
    )
    sweep: Schedule = Field(
        "rate(1 hour)",
        description="How often the prefix is looked through, for mails whose event was lost.",
    )


class Source(Model):
    """Where data comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(exactly_one("restApi", "email", "files", "stream"))
    )

    rest_api: RestApi | None = Field(None, description="A REST endpoint.")
    email: Email | None = Field(None, description="Attachments of mails.")
    files: Files | None = Field(None, description="Files in S3.")
    stream: Stream | None = Field(None, description="A Kinesis stream, or topics of Kafka.")


def of_merge(deletes: str) -> tuple[dict[str, str], ...]:
    """The rules of a target that may be merged into.

    Parameters
    ----------
    deletes
        What is said where deletions are taken in another mode.
    """
    return (
        cel("!has(self.mode) || self.mode != 'merge' || has(self.keys)", "mode merge needs keys"),
        cel(
            "!has(self.deletes) || self.deletes == 'ignore' || !has(self.mode) || "
            "self.mode == 'merge'",
            deletes,
        ),
    )


class IcebergOptions(Model):
    """How the Iceberg table takes a run's rows."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *of_merge("deletes: soft needs mode merge"),
        ),
    )

    mode: Literal["append", "replace", "merge"] | None = Field(
        None,
        description="append: add rows. replace: the table is what the source has. merge: by keys. "
        "Default: as the Pipeline's first load; without one merge with keys, append with "
        "incremental and of streams, else replace.",
    )
    keys: Annotated[list[Identifier], Field(min_length=1, max_length=16)] | None = Field(
        None,
        description="Columns that identify a row. Default: those of the first load, else the "
        "schema's.",
        json_schema_extra=string_set(),
    )
    order_by: Identifier | None = Field(
        None,
        description="Column that tells a newer row from an older one. Default: that of the first "
        "load, else the landing's sequence.",
    )
    min_rows: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Mode replace leaves the table alone for fewer rows than this. Default: that "
        "of the first load, else 1.",
    )
    max_shrink_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None,
        description="Mode replace leaves the table alone if it would lose more percent than this. "
        "Default: that of the first load, else 50.",
    )
    deletes: Literal["ignore", "soft"] | None = Field(
        None,
        description="What a deletion (schema.deletion) does in mode merge. soft: the row stays, and "
        "_weir_deleted_at says when it was deleted. ignore: nothing. Default: as the Pipeline's first load, "
        "else ignore. A table whose first load has hard has to state one: nothing would remember what "
        "is gone from an Iceberg table.",
    )
    keep_snapshots: Duration = Field(
        "5d", description="How long a former state of the table can be queried."
    )


PARQUET_OR_ICEBERG = "(has({0}.format) ? {0}.format : 'parquet')"
"""In CEL: a destination's format."""


class Destination(Model):
    """Where processed rows go: Parquet files, or an Apache Iceberg table."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.iceberg) || (has(self.format) && self.format == 'iceberg')",
                "iceberg is for format: iceberg",
            ),
            cel(
                f"{PARQUET_OR_ICEBERG.format('self')} == {PARQUET_OR_ICEBERG.format('oldSelf')}",
                "format can't be changed: delete the object and create it anew",
            ),
            cel(
                f"{PARQUET_OR_ICEBERG.format('self')} != 'iceberg' || (self.prefix == "
                "oldSelf.prefix && has(self.bucket) == has(oldSelf.bucket) && "
                "(!has(self.bucket) || self.bucket == oldSelf.bucket))",
                "the place of an Iceberg table can't be changed: delete the object and create it "
                "anew",
            ),
        )
    )

    bucket: BucketRef = Field("${BUCKET:processed}", description="Bucket.")
    prefix: Prefix = Field(description="Prefix, with a closing slash.")
    partition_by: Annotated[list[Partition], Field(max_length=8)] = Field(
        default_factory=list,
        description="year, month, day, hour of the landing time; a column; or a transform of a "
        "column: day(orderedAt, Europe/Berlin).",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    format: Literal["parquet", "iceberg"] = Field(
        "parquet",
        description="parquet: files below the prefix, a run's beside those of others. iceberg: an "
        "Apache Iceberg table, into which each run is merged.",
    )
    iceberg: IcebergOptions | None = Field(None, description="Of format iceberg.")


class RedshiftTarget(Model):
    """The warehouse's table."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra=rules(
            *of_merge("deletes: soft and hard need mode merge"),
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
        "Default: merge with keys, append with incremental and of streams, else replace.",
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
        description="What a deletion that the source reports (schema.deletion) does, in mode merge. "
        "soft: _weir_deleted_at says since when the row is gone. hard: the row goes.",
    )
    tombstone_retention: Duration = Field(
        "90d",
        description="How long a deletion is remembered, so that older rows that come late do not "
        "bring the row back.",
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
    network: Literal["vpc", "public"] | None = Field(
        None,
        description="Where the source's function runs: in the Platform's VPC, or outside. Default: in "
        "the VPC where a URL holds a private address, or the Platform puts every function there.",
    )
    notifications: Notifications | None = Field(None, description="Default: the Platform's.")
    suspend: bool = Field(False, description="Stop asking; everything stays as it is.")
    deletion_policy: DeletionPolicy = Field(
        "Retain",
        description="Whether the table in the warehouse, an Iceberg table's entry in the catalog, and a "
        "stream that the source created, go when this object does. Landed and processed objects in S3 stay in any case.",
    )


class FrozenField(Model):
    """One column as it was inferred and frozen."""

    name: Annotated[str, StringConstraints(max_length=127)]
    type: Annotated[str, StringConstraints(max_length=24)]
    path: Annotated[str, StringConstraints(max_length=512)] | None = None
    max_length: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        None, description="For strings: VARCHAR length in bytes, where it is not 65535."
    )
    added: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of the landing that added the column (onNewField: add)."
    )
    widened_from: Annotated[str, StringConstraints(max_length=48)] | None = Field(
        None, description="What was stated of the type when it was widened (onTypeChange: widen)."
    )


class FrozenSchema(Model):
    """The schema in force: what was stated, what was inferred on the first run, and what landings
    have added and widened since."""

    landing: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="The landing after which it was read last, where it evolves."
    )
    fields: Annotated[list[FrozenField], Field(max_length=1600)] = Field(
        default_factory=list, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )


class DiscoveredColumn(Model):
    """One column as landings have shown it."""

    name: Annotated[str, StringConstraints(max_length=128)]
    type: Annotated[str, StringConstraints(max_length=24)] | None = Field(
        None, description="Not set: only nulls were seen."
    )
    taken: bool | None = Field(
        None, description="false: the schema lacks it, so that it is ignored."
    )
    missing: bool | None = Field(None, description="true: the newest landing lacks it.")


class DiscoveredSchema(Model):
    """What landings have shown of the source's shape, whatever the schema takes of it."""

    revision: Annotated[int, Field(ge=0)] = Field(
        0, description="Grows with each change; events are told up to it."
    )
    sequence: Annotated[int, Field(ge=0)] = Field(
        0, description="Number of the landing that changed it last."
    )
    format: Literal["jsonl", "parquet", "mixed"] = Field(
        "jsonl", description="How the newest landing is stored."
    )
    untaken: Annotated[int, Field(ge=0)] = Field(
        0, description="Columns that were seen and that the schema lacks."
    )
    missing: Annotated[int, Field(ge=0)] = Field(
        0, description="Columns that the newest landing lacks."
    )
    crawler: Annotated[str, StringConstraints(max_length=1024)] | None = Field(
        None, description="Why the last crawl failed."
    )
    columns: Annotated[list[DiscoveredColumn], Field(max_length=1600)] = Field(
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
    discovered: DiscoveredSchema | None = Field(
        None, description="What landings have shown of the source's shape."
    )
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
