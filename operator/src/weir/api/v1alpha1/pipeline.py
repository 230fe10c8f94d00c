"""Pipeline: what happens to landed data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    CustomResource,
    Duration,
    Expression,
    Identifier,
    Model,
    Notifications,
    ObjectName,
    Partition,
    Prefix,
    RunStatus,
    Schedule,
    Sql,
    Status,
    TimeZone,
    cel,
    exactly_one,
    list_map,
    rules,
    string_set,
    unchanging,
)
from weir.api.v1alpha1.datasource import Destination, RedshiftTarget
from weir.api.v1alpha1.schema import TypeExpression

Columns = Annotated[list[Identifier], Field(min_length=1, max_length=1600)]
Keys = Annotated[list[Identifier], Field(min_length=1, max_length=16)]


class SourceRef(Model):
    """A source that the pipeline reads."""

    name: ObjectName = Field(description="Name of a DataSource in this namespace.")
    primary: bool | None = Field(
        None,
        description="Whether its manifests drive the run; the others are there to be joined. "
        "Default: the first one alone.",
    )


class OnArrival(Model):
    """Start when data has landed."""

    min_interval: Duration = Field("0s", description="Least time between two starts.")
    max_wait: Duration | None = Field(
        None,
        description="Longest time that landed data waits, where minInterval is longer. Default: no "
        "bound but minInterval.",
    )
    max_bytes: Annotated[int, Field(ge=1, le=1_099_511_627_776)] = Field(
        1_073_741_824,
        description="Bytes of landed data, as stored, that start a run before minInterval is over.",
    )


class OnSchedule(Model):
    """Start at set times."""

    expression: Schedule = Field(description="rate(...) or cron(...).")
    timezone: TimeZone = Field("UTC", description="IANA zone.")


class Manual(Model):
    """Start by a PipelineRun alone."""


class Trigger(Model):
    """When a run starts."""

    model_config = ConfigDict(
        json_schema_extra=rules(exactly_one("onArrival", "schedule", "manual"))
    )

    on_arrival: OnArrival | None = Field(None, description="When data has landed.")
    schedule: OnSchedule | None = Field(None, description="At set times.")
    manual: Manual | None = Field(None, description="By a PipelineRun alone.")


class Deduplicate(Model):
    """Keep one row for each key."""

    keys: Keys = Field(description="Columns that identify a row.", json_schema_extra=string_set())
    keep_latest_by: Identifier | None = Field(
        None, description="Keep the row with the greatest value here. Default: the last landed."
    )


class Pii(Model):
    """What to do with a personal column."""

    column: Identifier = Field(description="Column.")
    action: Literal["hash", "mask", "tokenise", "drop"] = Field(
        description="hash: keyed HMAC-SHA256. mask: keep the last characters. tokenise: a stable "
        "token. drop: take the column out."
    )


class Clean(Model):
    """Tidy values and rows."""

    trim: bool = Field(False, description="Strip white space around strings.")
    null_values: Annotated[
        list[Annotated[str, StringConstraints(max_length=128)]], Field(max_length=50)
    ] = Field(
        default_factory=list, description="Strings that mean null.", json_schema_extra=string_set()
    )
    deduplicate: Deduplicate | None = Field(None, description="Keep one row for each key.")
    pii: Annotated[list[Pii], Field(max_length=200)] = Field(
        default_factory=list, description="Personal columns.", json_schema_extra=list_map("column")
    )


class Join(Model):
    """Join a declared source."""

    source: ObjectName = Field(description="One of the pipeline's sources.")
    keys: Keys = Field(
        description="Columns of the same name on both sides.", json_schema_extra=string_set()
    )
    how: Literal["inner", "left", "right", "full", "leftSemi", "leftAnti"] | None = Field(
        None, description="Default: inner."
    )


class Union(Model):
    """Add the rows of a declared source."""

    source: ObjectName = Field(description="One of the pipeline's sources.")


class Explode(Model):
    """One row for each item of a list."""

    column: Identifier = Field(description="Column with the list.")
    into: Identifier | None = Field(None, description="Column of the item. Default: the same.")


class Flatten(Model):
    """Columns from a nested object."""

    column: Identifier = Field(description="Column with the object.")
    separator: Annotated[str, StringConstraints(max_length=4)] | None = Field(
        None, description="Between the column's and the key's name. Default: _."
    )


class Aggregate(Model):
    """One row for each group."""

    group_by: Annotated[list[Identifier], Field(max_length=50)] = Field(
        description="Columns that make a group.", json_schema_extra=string_set()
    )
    measures: Annotated[dict[str, Expression], Field(min_length=1, max_length=200)] = Field(
        description="Column: aggregate expression, such as sum(amount)."
    )


class Script(Model):
    """Python of one's own, where the Platform grants it."""

    model_config = ConfigDict(json_schema_extra=rules(exactly_one("inline", "uri")))

    inline: Sql | None = Field(None, description="Source text that defines transform(df, spark).")
    uri: (
        Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9.-]+/.+\.py$", max_length=1100)]
        | None
    ) = Field(None, description="s3:// URI of such a file.")


class TransformStep(Model):
    """One step."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one(
                "select",
                "rename",
                "cast",
                "derive",
                "filter",
                "join",
                "union",
                "explode",
                "flatten",
                "aggregate",
                "sql",
                "script",
            )
        )
    )

    select: Columns | None = Field(None, description="Keep these columns, in this order.")
    rename: Annotated[dict[str, Identifier], Field(min_length=1, max_length=1600)] | None = Field(
        None, description="Old name: new name."
    )
    cast: Annotated[dict[str, TypeExpression], Field(min_length=1, max_length=1600)] | None = Field(
        None, description="Column: type."
    )
    derive: Annotated[dict[str, Expression], Field(min_length=1, max_length=200)] | None = Field(
        None, description="Column: Spark SQL expression."
    )
    filter: Expression | None = Field(None, description="Keep rows for which this is true.")
    join: Join | None = Field(None, description="Join a declared source.")
    union: Union | None = Field(None, description="Add the rows of a declared source.")
    explode: Explode | None = Field(None, description="One row for each item of a list.")
    flatten: Flatten | None = Field(None, description="Columns from a nested object.")
    aggregate: Aggregate | None = Field(None, description="One row for each group.")
    sql: Sql | None = Field(
        None, description="A SELECT over the table input and the declared sources."
    )
    script: Script | None = Field(None, description="Python of one's own.")


class Validate(Model):
    """Check rows against rules."""

    rules: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=2048)]],
        Field(min_length=1, max_length=200),
    ] = Field(description="Rules in DQDL.")
    on_failure: Literal["quarantine", "warn", "fail"] = Field(
        "quarantine",
        description="quarantine: take the rows out. warn: say so. fail: stop the run.",
    )


class Write(Model):
    """Write rows to a zone as Parquet."""

    zone: Literal["processed", "curated"] = Field("curated", description="Zone.")
    prefix: Prefix = Field(description="Prefix, with a closing slash.")
    partition_by: Annotated[list[Partition], Field(max_length=8)] = Field(
        default_factory=list,
        description="As in a DataSource's destination.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    mode: Literal["append", "overwritePartitions"] = Field(
        "append", description="overwritePartitions: what a run writes replaces the partition."
    )


class Load(Model):
    """Load rows into the warehouse."""

    redshift: RedshiftTarget = Field(description="The table.")


class Unload(Model):
    """Write a query's rows from the warehouse to S3."""

    query: Sql = Field(description="A SELECT.")
    to: Annotated[
        str,
        StringConstraints(
            min_length=6,
            max_length=1100,
            pattern=r"^(s3://[a-z0-9.-]+|\$\{BUCKET:(processed|curated)\})/.+/$",
        ),
    ] = Field(description="${BUCKET:curated}/prefix/ or s3://bucket/prefix/.")
    format: Literal["parquet", "csv", "json"] = Field("parquet", description="Format.")


class Stage(Model):
    """One stage."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("clean", "transform", "validate", "write", "load", "unload")
        )
    )

    name: ObjectName = Field(description="Name of the stage, unique in the pipeline.")
    clean: Clean | None = Field(None, description="Tidy values and rows.")
    transform: Annotated[list[TransformStep], Field(min_length=1, max_length=50)] | None = Field(
        None, description="Steps, in order."
    )
    validate_: Validate | None = Field(None, alias="validate", description="Check rows.")
    write: Write | None = Field(None, description="Write to a zone.")
    load: Load | None = Field(None, description="Load into the warehouse.")
    unload: Unload | None = Field(
        None, description="Write a query's rows from the warehouse to S3."
    )


class Retry(Model):
    """How a failed step is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        3, description="Tries, the first included."
    )
    interval: Duration = Field("30s", description="Wait before the second try; it doubles.")


class Resources(Model):
    """Capacity of the Glue job."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("!has(self.min) || !has(self.max) || self.min <= self.max", "min exceeds max"),
        )
    )

    workers: Literal["auto"] = Field(
        "auto", description="auto: as many workers as the data's bytes ask for, from min to max."
    )
    worker_type: Literal["G.1X", "G.2X", "G.4X", "G.8X"] = Field("G.1X", description="Type.")
    min: Annotated[int, Field(ge=2, le=299)] = Field(2, description="Least workers.")
    max: Annotated[int, Field(ge=2, le=299)] = Field(10, description="Most workers.")
    timeout: Duration = Field("2h", description="Longest time of one job.")
    execution: Literal["standard", "flex"] = Field(
        "standard", description="flex: cheaper, may start later; for scheduled pipelines."
    )
    network: Literal["vpc", "public"] | None = Field(
        None,
        description="Where the job runs: in the Platform's VPC, or outside. Default: as the Platform "
        "says (network.jobs).",
    )


class PipelineSpec(Model):
    """What happens to landed data."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.stages.exists(s, has(s.write) || has(s.load) || has(s.unload)) || "
                "has(self.destination)",
                "nothing would come out: add a stage write, load or unload, or a destination",
            ),
            *unchanging("platform"),
        )
    )

    platform: ObjectName = Field("default", description="Platform to run on.")
    sources: Annotated[list[SourceRef], Field(min_length=1, max_length=20)] = Field(
        description="Sources, the first drives the run.", json_schema_extra=list_map("name")
    )
    trigger: Trigger | None = Field(None, description="When a run starts. Default: on arrival.")
    destination: Destination | None = Field(
        None, description="Where processed rows go. Default: the primary source's destination."
    )
    stages: Annotated[list[Stage], Field(max_length=30)] = Field(
        default_factory=list, description="Stages, in order.", json_schema_extra=list_map("name")
    )
    resources: Resources = Field(default_factory=Resources, description="Capacity.")
    retry: Retry = Field(default_factory=Retry, description="Retries.")
    notifications: Notifications | None = Field(None, description="Default: the Platform's.")
    suspend: bool = Field(False, description="Start no runs; everything stays as it is.")


class PipelineStatus(Status):
    """Observed state of a Pipeline."""

    last_run: RunStatus | None = Field(None, description="The last run.")
    last_success_time: Annotated[str, StringConstraints(max_length=40)] | None = None


class Pipeline(CustomResource):
    """What happens to landed data."""

    kind: Literal["Pipeline"] = "Pipeline"
    spec: PipelineSpec
    status: PipelineStatus = Field(default_factory=PipelineStatus)
