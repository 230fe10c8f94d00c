"""A source's configuration: what the operator writes to S3 and an ingestion Lambda reads.

REST sources have a module of their own, :mod:`weir_contract.rest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weir_contract.rest import Paginator as Paginator
from weir_contract.rest import RequestLimits as RequestLimits
from weir_contract.rest import RestApi as RestApi
from weir_contract.rows import RowContract

FileFormat = Literal[
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
    "auto",
    "stored",
]
"""``auto`` goes by a file's name; ``stored`` keeps it as it is, with a record of its own."""

Compression = Literal["auto", "none", "gzip", "zip", "7z", "bz2", "zstd"]


@dataclass(frozen=True)
class CsvDialect:
    """How a delimited text is written.

    Parameters
    ----------
    delimiter, quote, escape
        One character each; ``quote`` empty means that nothing is quoted, ``escape`` empty that a
        quote within quotes is doubled (RFC 4180).
    header
        The first line names the columns; else ``columns`` does, or they are ``column1`` and on.
    encoding
        Python's name of the encoding. A byte order mark goes before it.
    skip_lines
        Lines before the header that are not read.
    comment
        A line that begins so is not read; empty for none.
    null_values
        Unquoted texts that mean null.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    columns: tuple[str, ...] = ()
    encoding: str = "utf-8"
    skip_lines: int = 0
    comment: str = ""
    null_values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class FixedColumn:
    """A column of a fixed-width file: ``start`` from 1, ``width`` in characters."""

    name: str
    start: int
    width: int


@dataclass(frozen=True)
class Parsing:
    """How the bytes of a file become records.

    Parameters
    ----------
    format, compression
        ``auto`` tells the compression by the first bytes.
    csv
        For ``csv`` and ``tsv``.
    record_path
        For ``json``: where a document has its list of records; for ``xml``: the element that is one
        record. Default: the document's own list; the root's children.
    columns
        For ``fixedWidth``.
    sheet, header_row
        For ``xlsx``: the sheet's name (default: the first), and the row, from 1, with the names.
    max_bytes
        Of one file, unpacked.
    """

    format: FileFormat = "csv"
    compression: Compression = "auto"
    csv: CsvDialect = CsvDialect()
    record_path: str | None = None
    columns: tuple[FixedColumn, ...] = ()
    sheet: str | None = None
    header_row: int = 1
    max_bytes: int = 10_737_418_240


@dataclass(frozen=True)
class Files:
    """Files that others put into S3.

    ``pattern`` is a glob over the key below ``prefix`` (``**`` crosses folders); ``duplicates`` says
    what becomes of a file whose content was landed before under another name.
    """

    bucket: str
    prefix: str = ""
    pattern: str | None = None
    parsing: Parsing = Parsing()
    duplicates: Literal["skip", "land"] = "skip"


@dataclass(frozen=True)
class Trust:
    """What a mail must have shown to be taken: each True must be ``pass``.

    ``spam`` and ``virus`` are SES's own verdicts, the others are of RFC 7208, 6376 and 7489.
    """

    spf: bool = True
    dkim: bool = True
    dmarc: bool = False
    spam: bool = True
    virus: bool = True


@dataclass(frozen=True)
class Email:
    """Attachments of mails that SES, or WorkMail's message flow, has put into a bucket.

    Parameters
    ----------
    bucket, prefix
        Where the mails are.
    recipients
        Addresses or domains that a mail was sent to; empty means any.
    allowed_senders
        Addresses, or ``@example.com`` for a whole domain; empty means any.
    patterns
        Globs of the names of attachments that are taken; empty means all.
    inline
        Whether what is shown within a mail counts as an attachment too.
    max_bytes
        Of one attachment as it was sent.
    password
        ``${SECRET:name}`` of encrypted archives.
    workmail
        Id of the WorkMail organization whose message flow brings the mails: each has its envelope on
        top then. None where SES has stored them.
    """

    bucket: str
    prefix: str
    recipients: tuple[str, ...] = ()
    allowed_senders: tuple[str, ...] = ()
    trust: Trust = Trust()
    patterns: tuple[str, ...] = ()
    inline: bool = False
    max_bytes: int = 41_943_040
    password: str | None = None
    parsing: Parsing = Parsing("auto")
    duplicates: Literal["skip", "land"] = "skip"
    workmail: str | None = None


@dataclass(frozen=True)
class Registry:
    """Where the schemas of a stream's records are kept.

    Parameters
    ----------
    kind
        ``glue``: AWS Glue Schema Registry; ``confluent``: a registry with Confluent's HTTP API.
    name
        The registry's name, for ``glue``; its URL, for ``confluent``.
    credentials
        ``${SECRET:name}`` with ``username`` and ``password``, for ``confluent``; None: none.
    """

    kind: Literal["glue", "confluent"]
    name: str
    credentials: str | None = None


Login = Literal["none", "iam", "scramSha512", "scramSha256", "plain", "mtls"]
"""How Kafka's brokers know a reader."""


@dataclass(frozen=True)
class Kafka:
    """Where the brokers of Kafka's topics are, and what they are shown: a backfill reads them itself.

    Parameters
    ----------
    servers
        ``host:port`` of brokers; empty for Amazon MSK.
    cluster
        ARN of the MSK cluster; empty for others.
    login
        What the brokers want: as ``kafka.auth`` of the DataSource, or ``none``.
    secret
        ``${SECRET:...}`` with the keys ``username`` and ``password``; of ``mtls`` with
        ``certificate``, ``privateKey`` and, where it has one, ``privateKeyPassword``.
    authority
        ``${SECRET:...}`` with the key ``certificate``: who signed the brokers' certificates, where it
        is no public authority.
    """

    topics: tuple[str, ...]
    servers: tuple[str, ...] = ()
    cluster: str = ""
    login: Login = "none"
    secret: str | None = None
    authority: str | None = None


@dataclass(frozen=True)
class KeyFormat:
    """How the keys of Kafka's records are written.

    Parameters
    ----------
    avro_schema
        S3 URI of the Avro schema (JSON) of keys without an id in front; None: the registry has it.
    descriptors, message
        S3 URI of a ``FileDescriptorSet``, and the full name of the message that a key is.
    """

    format: Literal["json", "avro", "protobuf"]
    avro_schema: str | None = None
    descriptors: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Stream:
    """Records of a Kinesis stream, or of Kafka topics.

    Parameters
    ----------
    kind
        Who delivers them.
    name
        The stream's name, or the topics' with commas: for messages to people.
    arn
        Of a Kinesis stream; empty for Kafka.
    format
        How one record is written.
    registry
        Where the schema of a record is found, by the id in front of it; None: ``avro_schema`` or
        ``descriptors`` say it, and there is no id in front.
    avro_schema
        S3 URI of an Avro schema (JSON).
    descriptors, message
        S3 URI of a ``FileDescriptorSet`` (``protoc --include_imports --descriptor_set_out``), and
        the full name of the message that a record is.
    metadata
        Whether each record gets ``_stream``: its key, time, and place in the stream.
    seal_bytes
        Bytes of received records, as stored, that are sealed before their time has come.
    machine
        ARN of the state machine that seals.
    partial
        Whether the event source mappings take ``batchItemFailures`` (ReportBatchItemFailures); where
        they do not, a failure fails the whole call.
    kafka
        Of topics of Kafka: how a backfill reads them.
    key
        How keys are written, for ``_stream``; None: as the registry says, or as text.
    """

    kind: Literal["kinesis", "kafka"]
    name: str
    format: Literal["json", "avro", "protobuf"] = "json"
    registry: Registry | None = None
    avro_schema: str | None = None
    descriptors: str | None = None
    message: str | None = None
    metadata: bool = False
    seal_bytes: int = 134_217_728
    machine: str = ""
    partial: bool = True
    arn: str = ""
    kafka: Kafka | None = None
    key: KeyFormat | None = None


@dataclass(frozen=True)
class Egress:
    """Where outgoing requests may go. Public addresses always; others only where switched on.

    ``hosts`` empty means every public host; otherwise exact names or ``*.example.com``.
    """

    allow_loopback: bool = False
    allow_private: bool = False
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceConfig:
    """All that an ingestion Lambda needs to know, found at the S3 URI in ``WEIR_CONFIG``.

    Parameters
    ----------
    raw_bucket
        Bucket of the raw zone.
    state_table
        Name of the Platform's DynamoDB table.
    secrets
        Name as written in ``${SECRET:name}`` -> Secrets Manager id (name or ARN).
    rest_api
        The source, where it is one.
    """

    platform: str
    namespace: str
    name: str
    raw_bucket: str
    state_table: str
    contract: RowContract
    metrics_namespace: str = "Weir"
    kms_key_arn: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    egress: Egress = Egress()
    rest_api: RestApi | None = None
    quarantine_bucket: str = ""
    files: Files | None = None
    email: Email | None = None
    stream: Stream | None = None

    @property
    def id(self) -> str:
        """``namespace/name``, the source's key in the state table and in manifests."""
        return f"{self.namespace}/{self.name}"
