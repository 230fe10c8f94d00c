"""A pipeline's configuration: what the operator writes to S3 and the run's Lambdas and job read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from weir_contract.rows import PartitionField, RowContract

LoadMode = Literal["append", "replace", "merge"]
StageKind = Literal["clean", "transform", "validate", "write", "load", "unload"]

TABLE_FOLDER = "table"
RUNS_FOLDER = "runs/"
"""Folders of an Iceberg destination. Whoever removes files that a table does not name looks at the
table's own folder alone."""


@dataclass(frozen=True)
class Input:
    """A source that the pipeline reads: its id ``namespace/name`` and its contract.

    ``contract`` is the declared one; types that it lacks are in the state table's frozen contract.
    ``primary`` is the source whose manifests drive the run; the others are joined by name.
    """

    name: str
    source: str
    contract: RowContract
    primary: bool = True


@dataclass(frozen=True)
class IcebergTable:
    """How an Apache Iceberg table takes a run's rows: as :class:`Load` says of one in Redshift.

    ``keep_seconds`` is how long a snapshot that is no longer current can be read. With ``deletes``
    soft a deletion marks its row, which stays: nothing else would remember it.
    """

    mode: LoadMode
    keys: tuple[str, ...] = ()
    order_by: str | None = None
    min_rows: int = 1
    max_shrink: float = 0.5
    keep_seconds: int = 432_000
    deletes: Literal["ignore", "soft"] = "ignore"

    @property
    def takes_deletions(self) -> bool:
        """Whether deletions that a source reports do something in the table."""
        return self.deletes != "ignore"


@dataclass(frozen=True)
class Destination:
    """Where rows go: a bucket, a prefix that ends in ``/``, and the partition columns.

    ``iceberg`` None means Parquet files, each in its partition's folder below the prefix. Else the
    table is below ``table``, and ``runs/`` beside it holds the files that a warehouse loads.
    """

    bucket: str
    prefix: str
    partition_by: tuple[PartitionField, ...] = ()
    mode: Literal["append", "overwritePartitions"] = "append"
    glue_table: str | None = None
    iceberg: IcebergTable | None = None

    @property
    def location(self) -> str:
        """The ``s3://`` URI that the Glue table has: the prefix, or the Iceberg table's folder."""
        folder = f"s3://{self.bucket}/{self.prefix}"
        return f"{folder}{TABLE_FOLDER}" if self.iceberg else folder

    @property
    def run_files(self) -> Destination:
        """Where a run of an Iceberg table leaves the Parquet files that a warehouse loads."""
        return Destination(self.bucket, f"{self.prefix}{RUNS_FOLDER}")


@dataclass(frozen=True)
class Load:
    """One load into Redshift.

    ``keys`` and ``order_by`` are column names; ``min_rows`` (rows) and ``max_shrink`` (a fraction,
    0..1, of the rows there) guard ``replace``. ``deletes`` says what a deletion does in ``merge``;
    ``tombstone_seconds`` is for how long it is remembered after it was loaded.
    """

    schema: str
    table: str
    mode: LoadMode
    keys: tuple[str, ...] = ()
    order_by: str | None = None
    deletes: Literal["ignore", "soft", "hard"] = "ignore"
    distkey: str | None = None
    sortkey: tuple[str, ...] = ()
    min_rows: int = 1
    max_shrink: float = 0.5
    tombstone_seconds: int = 7_776_000

    @property
    def takes_deletions(self) -> bool:
        """Whether deletions that a source reports do something in the target."""
        return self.deletes != "ignore"


@dataclass(frozen=True)
class Unload:
    """One UNLOAD from Redshift: the query's rows to ``s3://bucket/prefix``."""

    query: str
    bucket: str
    prefix: str
    format: Literal["parquet", "csv", "json"] = "parquet"


@dataclass(frozen=True)
class Stage:
    """One stage, in the order of the spec. ``options`` are the stage's own, as in the resource.

    ``clean`` and ``transform`` and ``validate`` carry their options as the API spells them (they
    were validated there); the others carry their dataclass.
    """

    name: str
    kind: StageKind
    options: Mapping[str, Any] = field(default_factory=dict)
    write: Destination | None = None
    load: Load | None = None
    unload: Unload | None = None


@dataclass(frozen=True)
class Warehouse:
    """The Redshift that loads go to: exactly one of ``workgroup`` and ``cluster``.

    ``db_user`` is for a provisioned cluster only; on Serverless the caller's role is the user.
    """

    database: str
    workgroup: str | None = None
    cluster: str | None = None
    db_user: str | None = None
    copy_role_arn: str | None = None
    ledger_schema: str = "weir"


@dataclass(frozen=True)
class Workers:
    """Glue capacity. ``auto`` picks the number from the pass's bytes, between min and max."""

    worker_type: str = "G.1X"
    minimum: int = 2
    maximum: int = 10
    auto: bool = True


@dataclass(frozen=True)
class PipelineConfig:
    """All that the run's functions and its Glue job need, found at the URI in ``WEIR_CONFIG``."""

    platform: str
    namespace: str
    name: str
    inputs: tuple[Input, ...]
    stages: tuple[Stage, ...]
    processed: Destination
    raw_bucket: str
    quarantine_bucket: str
    artifacts_bucket: str
    state_table: str
    glue_database: str
    region: str
    metrics_namespace: str = "Weir"
    warehouse: Warehouse | None = None
    workers: Workers = Workers()
    kms_key_arn: str | None = None
    pii_key_secret: str | None = None
    allow_scripts: bool = False
    topics: Mapping[str, str] = field(default_factory=dict)
    min_interval_seconds: int = 0
    max_wait_seconds: int | None = None
    max_bytes: int | None = None
    max_passes: int = 20

    @property
    def id(self) -> str:
        """``namespace/name``, the pipeline's key in the state table."""
        return f"{self.namespace}/{self.name}"

    @property
    def replaces(self) -> bool:
        """Whether a target becomes what its source has: then it takes whole extractions only."""
        table = self.processed.iceberg
        loads = any(stage.load and stage.load.mode == "replace" for stage in self.stages)
        return loads or (table is not None and table.mode == "replace")
