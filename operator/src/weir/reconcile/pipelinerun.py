"""A PipelineRun, step by step: ask for a run once, follow it, say how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import PipelineRun
from weir.aws.errors import AwsError
from weir.blueprint.datasource import ingestion_of
from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting
from weir.reconcile import wanted as blueprints
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.runs import failure_text, instant, run_status
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import need_platform, paused, view_of
from weir.reconcile.view import is_ready, parse
from weir.reconcile.world import World
from weir_contract.codec import digest
from weir_contract.moments import iso
from weir_contract.runs import RunRecord

FOLLOW_SECONDS = 3.0
"""Seconds between two looks at a run that is under way; the feed wakes it sooner."""

TRACKED_ANNOTATIONS = ("argocd.argoproj.io/tracking-id",)
TRACKED_LABELS = (
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
"""Marks of tools that would create an object again which we delete."""


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


def request_hash(run: PipelineRun) -> str:
    """What makes a request unique: the run's name and spec (16 hexadecimal digits).

    The uid is no part of it: an object that is created again with the same spec is the same
    request, and does not run again.
    """
    spec = run.spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    spec.pop("ttl", None)
    return digest({"name": run.name, "spec": spec})[:16]


def execution_name(run: PipelineRun) -> str:
    """The name of the executions of a request; at most 80 characters of ``a-z0-9-``."""
    return f"run-{run.name.replace('.', '-')[:50].strip('-')}-{request_hash(run)}"


def _advance(look: Look, run: PipelineRun) -> Result:
    if run.spec.now is None:
        kind = "backfill" if run.spec.backfill is not None else "replay"
        raise Halt(
            "NotImplemented",
            f"{kind} is not served by this version: nothing was started. Use now: {{}}",
        )
    services, view = look.services, view_of(look.services)
    pipeline_key = Key("Pipeline", run.namespace, run.spec.pipeline)
    pipeline_obj = services.store.get(pipeline_key)
    if pipeline_obj is None:
        raise Halt("PipelineNotFound", f"there is no {pipeline_key}")
    pipeline = parse(Pipeline, pipeline_obj)
    platform, platform_obj = need_platform(view, pipeline.spec.platform)
    context = blueprints.context_of(services, view, platform, platform_obj, run.namespace)
    world = services.worlds.of(platform)
    if not look.status.get("started"):
        if not is_ready(pipeline_obj):
            raise Halt("PipelineNotReady", f"{pipeline_key} is not ready yet: see its conditions")
        earlier = _request(look, run, pipeline, world, context)
        if earlier is not None:
            return earlier
        executions = _start(look, run, pipeline, world, context)
        look.status["started"] = iso(services.now())
        look.status["executions"] = executions
        services.events.say(look.obj, "Started", f"asked {len(executions)} sources", "Run")
    return _follow(look, run, pipeline, world, context)


def _request(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
) -> Result | None:
    """Write the request down. A Result says that it has been answered already."""
    body = {"uid": run.uid, "requested": iso(look.services.now())}
    there = world.ledger.request(context.facts.state_table, pipeline.id, request_hash(run), body)
    if there.get("uid") == run.uid or not there.get("finished"):
        return None
    look.status["started"] = there["requested"]
    look.status["finished"] = there["finished"]
    look.status["lastRun"] = there.get("lastRun")
    if there.get("state") == "Failed":
        return look.close(
            Halt(
                "AlreadyRan",
                f"this very run failed at {there['finished']}: {there.get('message', '')} Create "
                "another PipelineRun to run again",
                stalled=True,
            )
        )
    return look.close(
        None, ready=f"this very run succeeded at {there['finished']}", reason="AlreadyRan"
    )


def _start(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
) -> list[str]:
    """Start the landing of each source. A name is used once, so that a repetition starts nothing."""
    requested_by = f"{run.namespace}/{run.name}"
    if run.spec.now is None or not run.spec.now.extract:
        world.ledger.ask_trigger(
            context.facts.trigger_function,
            {"pipeline": pipeline.id, "requestedBy": requested_by},
        )
        return []
    sources = view_of(look.services).sources(run.namespace, blueprints.source_names(pipeline))
    return [
        world.ledger.start(
            blueprints.ingest_machine(context, source),
            execution_name(run),
            {"scheduledTime": iso(look.services.now()), "requestedBy": requested_by},
        )
        for source in sources.values()
        if ingestion_of(source) is not None
    ]


def _follow(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
) -> Result:
    executions: Sequence[str] = look.status.get("executions") or []
    book = look.services.books.of(context.platform.name)
    landings: list[RunRecord] = []
    running = []
    for arn in executions:
        record = _landing(book.runs, pipeline, arn)
        if record is not None and record.state == "Failed":
            return _end(look, run, pipeline, world, context, record)
        if record is not None and record.state == "Succeeded":
            landings.append(record)
            continue
        state = (world.ledger.execution(arn) or {}).get("status", "RUNNING")
        if state in ("FAILED", "TIMED_OUT", "ABORTED"):
            raise _lost(look, run, pipeline, world, context, arn, state)
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
        or f"{run.namespace}/{run.name}" in record.requested_by
        or (not executions and record.started >= started)
    ]
    if not executions:
        # A pass that names this run is its own; another's that began since counts for want of one.
        asked = [one for one in passes if f"{run.namespace}/{run.name}" in one.requested_by]
        passes = asked or passes
    failed = [one for one in passes if one.state == "Failed"]
    done = {one for record in passes if record.state == "Succeeded" for one in record.manifests}
    if passes and any(one.state == "Succeeded" for one in passes) and wanted <= done:
        return _end(look, run, pipeline, world, context, _newest(passes, "Succeeded"))
    if failed:
        return _end(look, run, pipeline, world, context, _newest(passes, "Failed"))
    if executions and not wanted:
        return _end(look, run, pipeline, world, context, landings[-1] if landings else None)
    if executions and not look.status.get("lastRun") and blueprints.needs_asking(pipeline):
        world.ledger.ask_trigger(
            context.facts.trigger_function,
            {"pipeline": pipeline.id, "requestedBy": f"{run.namespace}/{run.name}"},
        )
    rows = sum(record.rows for record in landings)
    return look.close(
        Halt("Processing", f"{rows} rows have landed; waits for the pass", after=FOLLOW_SECONDS)
    )


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


def _lost(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
    arn: str,
    state: str,
) -> Halt:
    """An execution ended without a record: the machine itself broke, or somebody stopped it."""
    finished = iso(look.services.now())
    message = f"execution {arn} ended {state}; its history in the Step Functions console says why"
    _settle(look, run, pipeline, world, context, finished, "Failed", message)
    look.status["finished"] = finished
    return Halt("Failed", message, stalled=True)


def _settle(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
    finished: str,
    state: str,
    message: str,
) -> None:
    body: dict[str, Any] = {
        "uid": run.uid,
        "requested": look.status["started"],
        "finished": finished,
        "state": state,
        "message": message,
    }
    if look.status.get("lastRun"):
        body["lastRun"] = look.status["lastRun"]
    world.ledger.settle_request(context.facts.state_table, pipeline.id, request_hash(run), body)


def _end(
    look: Look,
    run: PipelineRun,
    pipeline: Pipeline,
    world: World,
    context: blueprints.Context,
    record: RunRecord | None,
) -> Result:
    """The run has ended: its account goes on the object and into the ledger."""
    finished = (record.finished if record else None) or iso(look.services.now())
    if record is not None:
        look.status["lastRun"] = run_status(record)
    state = record.state if record else "Succeeded"
    message = failure_text(record) if record else ""
    _settle(look, run, pipeline, world, context, finished, state, message)
    look.status["finished"] = finished
    if state == "Failed":
        return look.close(Halt("Failed", message, stalled=True))
    rows = record.rows if record else 0
    result = look.close(None, ready=f"{rows} rows", reason="Succeeded")
    return Result(result.outcome, _ttl(look, run))


def _finished(look: Look, run: PipelineRun) -> Result:
    """Nothing more happens to it, but that its time may be over."""
    left = _ttl(look, run)
    if left is None or left > 0:
        return Result("converged", left)
    look.services.kube.delete(look.obj)
    return Result("deleted")


def _ttl(look: Look, run: PipelineRun) -> float | None:
    """Seconds until the object goes; None where it stays."""
    finished = instant(look.status.get("finished"))
    if run.spec.ttl is None or finished is None or is_tracked(look.obj):
        return None
    lifetime = timedelta(seconds=blueprints.seconds(run.spec.ttl))
    return max(0.0, (finished + lifetime - look.services.now()).total_seconds())


def is_tracked(obj: Object) -> bool:
    """Whether Argo CD or Flux keeps the object: what we delete would come back."""
    meta = obj["metadata"]
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    return any(name in annotations for name in TRACKED_ANNOTATIONS) or any(
        name in labels for name in TRACKED_LABELS
    )
