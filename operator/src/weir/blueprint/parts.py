"""The parts of a backfill or a replay: which source lands what, in which lane; or why none may."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from weir.api.v1alpha1.datasource import DataSource, IcebergOptions
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import Backfill
from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint import config, rest, streams
from weir.blueprint.durations import seconds
from weir.blueprint.windows import DAY, WindowRefused, moment, split
from weir_contract.moments import iso
from weir_contract.runs import RunRecord


class PartsRefused(ValueError):
    """What is asked for can't be done; the message says why, and what to change."""


@dataclass(frozen=True)
class Part:
    """What one execution of a source's state machine lands.

    Parameters
    ----------
    source
        The DataSource's name.
    what
        For people: the source and the window, or the run.
    message
        What the source's function is told (``weir_lambdas.landing.calls.asked``).
    """

    source: str
    what: str
    message: Mapping[str, Any]


def backfill_parts(
    asked: Backfill,
    pipeline: Pipeline,
    sources: Mapping[str, DataSource],
    schemas: Mapping[str, DataSchema],
    request: str,
    now: datetime,
) -> list[Part]:
    """The parts of a backfill, in order of source and time.

    Parameters
    ----------
    sources, schemas
        Of the namespace, by name.
    request
        What makes the request unique: lanes are named by it.

    Raises
    ------
    PartsRefused
        A source, the window or a load does not allow it.
    """
    names = asked.sources or list(config.primary_names(pipeline))
    strangers = sorted(set(names) - set(config.primary_names(pipeline)))
    if strangers:
        raise PartsRefused(
            f"backfill.sources: {', '.join(strangers)} does not drive pipeline {pipeline.name}: "
            f"name some of {', '.join(config.primary_names(pipeline))}"
        )
    try:
        zone = ZoneInfo(asked.timezone)
        stretches = split(asked.start, asked.end, asked.timezone, asked.step)
        whole = (moment(asked.start, zone), moment(asked.end, zone))
    except (WindowRefused, KeyError, ValueError) as error:
        raise PartsRefused(f"backfill: {error}") from error
    if whole[1] > now:
        raise PartsRefused(
            f"backfill.to {asked.end} lies in the future: what comes then, the source's own landings "
            "bring"
        )
    parts: list[Part] = []
    for name in names:
        source = sources.get(name)
        if source is None:
            raise PartsRefused(f"there is no DataSource {name}")
        reasons = [*_source_faults(source, asked), *_load_faults(source, asked, pipeline, schemas)]
        if reasons:
            raise PartsRefused("; ".join(reasons))
        pieces = stretches if source.spec.source.rest_api else [whole]
        for low, high in pieces:
            lane = f"{pipeline.name}/{request}-{len(parts):04d}"
            message: dict[str, Any] = {"lane": lane, "window": {"from": iso(low), "to": iso(high)}}
            if asked.force:
                message["force"] = True
            shown = " to ".join(one.astimezone(zone).isoformat() for one in (low, high))
            parts.append(Part(name, f"{name} from {shown}", message))
    return parts


def _source_faults(source: DataSource, asked: Backfill) -> Iterator[str]:
    """Why a source can't be asked for a window."""
    name, found = source.name, source.spec.source
    topics = found.stream is not None and found.stream.kafka is not None
    if asked.force and not (found.files or found.email or topics):
        yield (
            f"backfill.force is for files, mails and topics of Kafka, and DataSource {name} is none "
            "of them"
        )
    api = found.rest_api
    if api is None:
        return
    spec, where = api.incremental, f"DataSource {name}, spec.source.restApi"
    if spec is None:
        yield (
            f"{where}.incremental is missing, so that it can't be asked for a window: add cursorPath, "
            "startParam and endParam; a source that is read whole needs no backfill, run it now"
        )
        return
    told = {
        match
        for _, text in rest.texts(api)
        for match in re.findall(r"\{incremental\.(\w+)\}", text)
    }
    if not spec.end_param and not (spec.step and "endValue" in told):
        yield (
            f"{where}.incremental has no end: add endParam, or step and {{incremental.endValue}} in "
            "params or the body"
        )
    if spec.lag_number is not None:
        yield (
            f"{where}.incremental.lagNumber says that its cursor is a number: a window of time can't "
            "be asked for"
        )
    if spec.format == "date" and seconds(asked.step) < DAY:
        yield f"{where}.incremental.format is date: backfill.step must be whole days"


def _load_faults(
    source: DataSource,
    asked: Backfill,
    pipeline: Pipeline,
    schemas: Mapping[str, DataSchema],
) -> Iterator[str]:
    """Why a load must not get a window's rows."""
    api, stream = source.spec.source.rest_api, source.spec.source.stream
    for name, mode in target_modes(pipeline, source, schemas):
        if mode == "replace":
            yield (
                f"{name} has mode replace: a window's rows would take the place of the whole "
                "table. Run the pipeline now, or use merge with keys"
            )
        if mode == "append" and asked.force and not stream:
            yield (
                f"{name} has mode append: what was landed before would be in the table twice. "
                "Leave force out, or use merge with keys"
            )
        begins = streams.begins(source) if stream else None
        if mode == "append" and stream and not (begins and _before(asked, begins, "UTC")):
            yield (
                f"{name} has mode append, and the window reaches into what the source's own "
                f"landings bring, from {begins or 'the oldest record'} on: rows would be in the table "
                "twice. End the window there, or use merge with keys"
            )
        if mode == "append" and api is not None and api.incremental:
            initial = api.incremental.initial_value
            if not initial or not _before(asked, initial, api.incremental.timezone):
                yield (
                    f"{name} has mode append, and the window reaches into what the source's own "
                    f"landings bring, from initialValue {initial or '(none: all)'} on: rows would be "
                    "in the table twice. End the window there, or use merge with keys"
                )


def _before(asked: Backfill, initial: str, timezone: str) -> bool:
    try:
        end = moment(asked.end, ZoneInfo(asked.timezone))
        return end <= moment(initial, ZoneInfo(timezone))
    except (WindowRefused, KeyError, ValueError):
        return False


def target_modes(
    pipeline: Pipeline, source: DataSource, schemas: Mapping[str, DataSchema]
) -> Iterator[tuple[str, str]]:
    """Each load stage, and the Iceberg table, with its mode, stated or not."""
    try:
        contract = config.loaded_contract(pipeline, config.row_contract(source, schemas))
    except KeyError as error:
        raise PartsRefused(f"DataSource {source.name}: there is no DataSchema {error}") from error
    incremental = config.is_incremental(source)
    for stage in pipeline.spec.stages:
        if stage.load:
            plan = config.load(stage.load.redshift, contract, incremental)
            yield f"stage {stage.name}", plan.mode
    spec = pipeline.spec.destination or source.spec.destination
    if spec is not None and config.is_iceberg(spec):
        like = config.first_load(pipeline, contract, incremental)
        yield "the Iceberg table", config.iceberg_table(spec.iceberg or IcebergOptions(), like).mode


def replay_parts(
    runs: Sequence[tuple[str, RunRecord | None]],
    pipeline: Pipeline,
    sources: Mapping[str, DataSource],
    schemas: Mapping[str, DataSchema],
) -> list[Part]:
    """The parts of a replay: for each run, one for each source that it had landings of.

    A lane is named by the run whose rows it takes, not by who asks: what it has taken is taken.

    Parameters
    ----------
    runs
        Ids of passes of the pipeline, with what the ledger knows of each.

    Raises
    ------
    PartsRefused
        A run is not there, has not ended well or has nothing in quarantine; or a stage does not
        allow it.
    """
    reasons = list(_stage_faults(pipeline, sources, schemas))
    parts: list[Part] = []
    for run, record in dict(runs).items():
        fault = _run_fault(run, record, pipeline)
        if fault is not None or record is None:
            reasons.append(fault or "")
            continue
        for name in landed_sources(record):
            if name not in sources:
                reasons.append(
                    f"run {run} has rows of DataSource {name}, which is no source of pipeline "
                    f"{pipeline.name} any more"
                )
            lane = f"{pipeline.name}/replay-{run}"
            parts.append(Part(name, f"{name}, run {run}", {"lane": lane, "replay": run}))
    if reasons:
        raise PartsRefused("; ".join(reasons))
    return parts


def landed_sources(record: RunRecord) -> list[str]:
    """Names of the sources whose landings a pass took."""
    ids = (one.rpartition("#")[0].partition("@")[0] for one in record.manifests)
    return sorted({one.partition("/")[2] for one in ids})


def _run_fault(run: str, record: RunRecord | None, pipeline: Pipeline) -> str | None:
    if record is None:
        return (
            f"pipeline {pipeline.name} has no run {run} in its ledger, which keeps runs for 90 days: "
            "status.lastRun.run of the Pipeline is such an id, and the folders of the quarantine are"
        )
    if record.state != "Succeeded":
        return (
            f"run {run} is {record.state}: replay it once it has succeeded; a failed run is repeated "
            "with all its rows"
        )
    if not record.quarantine_uri:
        return f"run {run} has put no row into quarantine: there is nothing to replay"
    return None


def _stage_faults(
    pipeline: Pipeline, sources: Mapping[str, DataSource], schemas: Mapping[str, DataSchema]
) -> Iterator[str]:
    first = sources.get(config.primary_names(pipeline)[0])
    if first is not None:
        for name, mode in target_modes(pipeline, first, schemas):
            if mode == "replace":
                yield (
                    f"{name} has mode replace: the rows would take the place of the whole table. "
                    "Mend the contract and run the pipeline now: that brings them"
                )
    for stage in pipeline.spec.stages:
        if stage.write and stage.write.mode == "overwritePartitions":
            yield (
                f"stage {stage.name} overwrites partitions: the rows would take the place of all "
                "others of theirs. Run the pipeline now, or use mode append"
            )
