"""A PipelineRun, step by step: ask for a run once, follow it, say how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import PipelineRun
from weir.aws.errors import AwsError
from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.asked import Asked, end, execution_name, failed, open_request, time_left
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.partwise import follow_parts, plan_parts
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import need_platform, paused, view_of
from weir.reconcile.view import is_ready, parse
from weir_contract.moments import iso
from weir_contract.runs import RunRecord

FOLLOW_SECONDS = 3.0
"""Seconds between two looks at a run that is under way; the feed wakes it sooner."""


def reconcile(services: Services, obj: Object) -> Result:
    """One look at a PipelineRun."""
    look = Look(services, obj)
    run = parse(PipelineRun, obj)
    if is_deleting(obj):
        services.metrics.forget(look.key)
        return Result("deleted")
    stopped = paused(look)
    if stopped is not None:
        return stopped
    if look.status.get("finished"):
        return _finished(look, run)
    try:
        return _advance(look, run)
    except Halt as halt:
        return look.close(halt)
    except AwsError as error:
        return look.close(halt_of([error]))


def _advance(look: Look, run: PipelineRun) -> Result:
    services, view = look.services, view_of(look.services)
    pipeline_key = Key("Pipeline", run.namespace, run.spec.pipeline)
    pipeline_obj = services.store.get(pipeline_key)
    if pipeline_obj is None:
        raise Halt(
            "PipelineNotFound", f"there is no {pipeline_key}: create it, or correct spec.pipeline"
        )
    pipeline = parse(Pipeline, pipeline_obj)
    platform, platform_obj = need_platform(view, pipeline.spec.platform)
    context = blueprints.context_of(services, view, platform, platform_obj, run.namespace)
    asked = Asked(look, run, pipeline, services.worlds.of(platform), context)
    if not look.status.get("started"):
        if not is_ready(pipeline_obj):
            raise Halt("PipelineNotReady", f"{pipeline_key} is not ready yet: see its conditions")
        earlier = open_request(asked)
        if earlier is not None:
            return earlier
        _begin(asked)
    if run.spec.now is None:
        return follow_parts(asked)
    return _follow(asked)


def _begin(asked: Asked) -> None:
    look, run = asked.look, asked.run
    if run.spec.now is None:
        parts = plan_parts(asked)
        look.status["progress"] = {"parts": len(parts)}
        note = f"{len(parts)} parts are to be landed"
    else:
        executions = _start(asked)
        look.status["executions"] = executions
        note = f"asked {len(executions)} sources"
    look.status["started"] = iso(look.services.now())
    look.services.events.say(look.obj, "Started", note, "Run")


def _start(asked: Asked) -> list[str]:
    """Start the landing of each source. A name is used once, so that a repetition starts nothing."""
    look, run = asked.look, asked.run
    if run.spec.now is None or not run.spec.now.extract:
        asked.ask_trigger()
        return []
    names = blueprints.source_names(asked.pipeline)
    sources = view_of(look.services).sources(run.namespace, names)
    return [
        asked.world.ledger.start(
            blueprints.ingest_machine(asked.context, source),
            execution_name(run),
            {"scheduledTime": iso(look.services.now()), "requestedBy": asked.requested_by},
        )
        for source in sources.values()
    ]


def _follow(asked: Asked) -> Result:
    look, run, pipeline = asked.look, asked.run, asked.pipeline
    executions: Sequence[str] = look.status.get("executions") or []
    book = look.services.books.of(asked.context.platform.name)
    landings: list[RunRecord] = []
    running = []
    for arn in executions:
        record = _landing(book.runs, pipeline, arn)
        if record is not None and record.state == "Failed":
            return end(asked, record)
        if record is not None and record.state == "Succeeded":
            landings.append(record)
            continue
        state = (asked.world.ledger.execution(arn) or {}).get("status", "RUNNING")
        if state in ("FAILED", "TIMED_OUT", "ABORTED"):
            raise failed(asked, lost(arn, state))
        running.append(arn)
    if running:
        names = ", ".join(arn.split(":")[-2] for arn in running)
        return look.close(Halt("Extracting", f"waits for {names}", after=FOLLOW_SECONDS))
    wanted = {one for record in landings for one in record.manifests}
    key = Key("Pipeline", run.namespace, pipeline.name)
    started = str(look.status["started"])
    passes = [
        record
        for record in book.runs(key)
        if wanted & set(record.manifests)
        or asked.requested_by in record.requested_by
        or (not executions and record.started >= started)
    ]
    if not executions:
        # A pass that names this run is its own; another's that began since counts for want of one.
        own = [one for one in passes if asked.requested_by in one.requested_by]
        passes = own or passes
    broken = [one for one in passes if one.state == "Failed"]
    done = {one for record in passes if record.state == "Succeeded" for one in record.manifests}
    if passes and any(one.state == "Succeeded" for one in passes) and wanted <= done:
        return end(asked, _newest(passes, "Succeeded"))
    if broken:
        return end(asked, _newest(passes, "Failed"))
    if executions and not wanted:
        return end(asked, landings[-1] if landings else None)
    if executions and not look.status.get("lastRun") and blueprints.needs_asking(pipeline):
        asked.ask_trigger()
    rows = sum(record.rows for record in landings)
    return look.close(
        Halt("Processing", f"{rows} rows have landed; waits for the pass", after=FOLLOW_SECONDS)
    )


def lost(arn: str, state: str) -> str:
    """An execution ended without a record: the machine itself broke, or somebody stopped it."""
    return f"execution {arn} ended {state}; its history in the Step Functions console says why"


def _newest(passes: Sequence[RunRecord], state: str) -> RunRecord:
    return max(
        (one for one in passes if one.state == state), key=lambda one: one.finished or one.started
    )


def _landing(runs: Any, pipeline: Pipeline, arn: str) -> RunRecord | None:
    """The record of the landing that an execution made, once it is in the feed."""
    name = arn.rpartition(":")[2]
    for ref in pipeline.spec.sources:
        for record in runs(Key("DataSource", pipeline.namespace, ref.name)):
            if record.execution == arn or (record.run == name and record.execution is None):
                return record if isinstance(record, RunRecord) else None
    return None


def _finished(look: Look, run: PipelineRun) -> Result:
    """Nothing more happens to it, but that its time may be over."""
    left = time_left(look, run)
    if left is None or left > 0:
        return Result("converged", left)
    look.services.kube.delete(look.obj)
    return Result("deleted")
