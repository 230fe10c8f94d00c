"""PipelineRun: one requested run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    CustomResource,
    Duration,
    Model,
    ObjectName,
    RunStatus,
    Status,
    TimeZone,
    cel,
    exactly_one,
    rules,
    string_set,
)

Instant = Annotated[
    str,
    StringConstraints(
        max_length=40,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?$",
    ),
]


class Now(Model):
    """Ask the sources now, and process what lands."""

    extract: bool = Field(
        True, description="Ask the sources first. False: process only what has landed already."
    )


class Backfill(Model):
    """Land a window of the past, in parts, beside the source's own landings."""

    start: Instant = Field(alias="from", description="Start of the window, included.")
    end: Instant = Field(alias="to", description="End of the window, excluded.")
    timezone: TimeZone = Field("UTC", description="IANA zone of from and to.")
    step: Duration = Field("1d", description="Length of one part: whole days, or less.")
    concurrency: Annotated[int, Field(ge=1, le=20)] = Field(
        1, description="Parts that are landed at a time."
    )
    sources: Annotated[list[ObjectName], Field(min_length=1, max_length=20)] | None = Field(
        None,
        description="Sources that are asked, of those that drive the pipeline. Default: all of them.",
        json_schema_extra=string_set(),
    )
    force: bool = Field(
        False,
        description="Files and mails: land again what was landed before. Default: only what was not. "
        "Kafka: land what is left of a window whose beginning the brokers have dropped. Default: "
        "such a window is refused.",
    )


class Replay(Model):
    """Take quarantined rows through the present contract, each once."""

    runs: Annotated[
        list[
            Annotated[
                str,
                StringConstraints(
                    min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
                ),
            ]
        ],
        Field(min_length=1, max_length=100),
    ] = Field(
        description="Runs of the pipeline whose quarantined rows are taken.",
        json_schema_extra=string_set(),
    )


class PipelineRunSpec(Model):
    """One requested run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one("now", "backfill", "replay"),
            cel("self == oldSelf", "a run's spec can't be changed: create another PipelineRun"),
        )
    )

    pipeline: ObjectName = Field(description="Pipeline to run, in this namespace.")
    now: Now | None = Field(None, description="Now.")
    backfill: Backfill | None = Field(None, description="A window of the past.")
    replay: Replay | None = Field(None, description="Quarantined rows.")
    ttl: Duration | None = Field(
        None, description="How long this object is kept after it finished. Default: for ever."
    )


class PartUnderWay(Model):
    """A part that is being landed."""

    part: Annotated[int, Field(ge=0)] = Field(description="Its number, from 0.")
    attempt: Annotated[int, Field(ge=1)] = Field(description="Which try of it.")
    execution: Annotated[str, StringConstraints(max_length=2048)] = Field(
        description="Step Functions execution."
    )


class PartFailed(Model):
    """A part that could not be landed."""

    part: Annotated[int, Field(ge=0)] = Field(description="Its number, from 0.")
    what: Annotated[str, StringConstraints(max_length=512)] = Field(
        description="Source and window, or source and run."
    )
    message: Annotated[str, StringConstraints(max_length=1024)] = Field(description="Why.")


class Progress(Model):
    """How far a backfill or a replay is."""

    parts: Annotated[int, Field(ge=0)] = Field(description="Parts in all.")
    next: Annotated[int, Field(ge=0)] = Field(0, description="Parts that were started.")
    landed: Annotated[int, Field(ge=0)] = Field(0, description="Parts that have landed.")
    done: Annotated[int, Field(ge=0)] = Field(
        0, description="First parts of which a pass has taken every row, or that failed."
    )
    rows: Annotated[int, Field(ge=0)] = Field(0, description="Rows landed.")
    asked: bool = Field(False, description="Whether the pipeline was asked to take what landed.")
    under_way: Annotated[list[PartUnderWay], Field(max_length=20)] = Field(
        default_factory=list, description="Parts that are being landed."
    )
    failed: Annotated[list[PartFailed], Field(max_length=25)] = Field(
        default_factory=list, description="Parts that could not be landed."
    )


class PipelineRunStatus(Status):
    """Observed state of a PipelineRun."""

    started: Annotated[str, StringConstraints(max_length=40)] | None = None
    finished: Annotated[str, StringConstraints(max_length=40)] | None = None
    executions: Annotated[
        list[Annotated[str, StringConstraints(max_length=2048)]], Field(max_length=40)
    ] = Field(default_factory=list, description="Step Functions executions.")
    last_run: RunStatus | None = Field(None, description="The run's account.")
    progress: Progress | None = Field(None, description="How far a backfill or a replay is.")


class PipelineRun(CustomResource):
    """One requested run."""

    kind: Literal["PipelineRun"] = "PipelineRun"
    spec: PipelineRunSpec
    status: PipelineRunStatus = Field(default_factory=PipelineRunStatus)
