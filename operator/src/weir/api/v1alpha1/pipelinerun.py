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
    """Ask for a window of the past."""

    start: Instant = Field(alias="from", description="Start of the window, included.")
    end: Instant = Field(alias="to", description="End of the window, excluded.")
    timezone: TimeZone = Field("UTC", description="IANA zone of from and to.")
    step: Duration = Field("1d", description="Length of one part of the window.")
    concurrency: Annotated[int, Field(ge=1, le=20)] = Field(1, description="Parts at a time.")


class Replay(Model):
    """Take quarantined rows through the present contract."""

    runs: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=128)]],
        Field(min_length=1, max_length=100),
    ] = Field(description="Runs whose quarantined rows are taken.")


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
    backfill: Backfill | None = Field(
        None, description="Reserved: not served yet. A window of the past."
    )
    replay: Replay | None = Field(None, description="Reserved: not served yet. Quarantined rows.")
    ttl: Duration | None = Field(
        None, description="How long this object is kept after it finished. Default: for ever."
    )


class PipelineRunStatus(Status):
    """Observed state of a PipelineRun."""

    started: Annotated[str, StringConstraints(max_length=40)] | None = None
    finished: Annotated[str, StringConstraints(max_length=40)] | None = None
    executions: Annotated[
        list[Annotated[str, StringConstraints(max_length=2048)]], Field(max_length=40)
    ] = Field(default_factory=list, description="Step Functions executions.")
    last_run: RunStatus | None = Field(None, description="The run's account.")


class PipelineRun(CustomResource):
    """One requested run."""

    kind: Literal["PipelineRun"] = "PipelineRun"
    spec: PipelineRunSpec
    status: PipelineRunStatus = Field(default_factory=PipelineRunStatus)
