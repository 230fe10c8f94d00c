"""What a PipelineRun asks for, written down once: the request, its executions' names, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import PipelineRun
from weir.kube.client import Object
from weir.reconcile import wanted as blueprints
from weir.reconcile.look import Halt, Look
from weir.reconcile.runs import failure_text, instant, run_status
from weir.reconcile.services import Result
from weir.reconcile.world import World
from weir_contract.codec import digest
from weir_contract.moments import iso
from weir_contract.runs import RunRecord

TRACKED_ANNOTATIONS = ("argocd.argoproj.io/tracking-id",)
TRACKED_LABELS = (
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
"""Marks of tools that would create an object again which we delete."""


@dataclass(frozen=True)
class Asked:
    """A PipelineRun that is looked at, with its Pipeline and where that lives."""

    look: Look
    run: PipelineRun
    pipeline: Pipeline
    world: World
    context: blueprints.Context

    @property
    def table(self) -> str:
        """The Platform's state table."""
        return self.context.facts.state_table

    @property
    def requested_by(self) -> str:
        """How runs name who asked for them."""
        return f"{self.run.namespace}/{self.run.name}"

    def ask_trigger(self) -> None:
        """Have the pipeline take what has landed."""
        self.world.ledger.ask_trigger(
            self.context.facts.trigger_function,
            {"pipeline": self.pipeline.id, "requestedBy": self.requested_by},
        )


def request_hash(run: PipelineRun) -> str:
    """What makes a request unique: the run's name and spec (16 hexadecimal digits).

    The uid is no part of it: an object that is created again with the same spec is the same
    request, and does not run again.
    """
    spec = run.spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    spec.pop("ttl", None)
    return digest({"name": run.name, "spec": spec})[:16]


def execution_name(run: PipelineRun) -> str:
    """The name of the executions of a request; at most 71 characters of ``a-z0-9-``.

    Step Functions takes 80, and keeps a name for 90 days (API Reference, *StartExecution*).
    """
    return f"run-{run.name.replace('.', '-')[:50].strip('-')}-{request_hash(run)}"


def open_request(asked: Asked) -> Result | None:
    """Write the request down. A Result says that it has been answered already."""
    look, run = asked.look, asked.run
    body = {"uid": run.uid, "requested": iso(look.services.now())}
    there = asked.world.ledger.request(asked.table, asked.pipeline.id, request_hash(run), body)
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


def end(asked: Asked, record: RunRecord | None, rows: int | None = None) -> Result:
    """The run has ended as its last record says: its account goes on the object and into the ledger.

    Parameters
    ----------
    rows
        What to say of it; None: the record's.
    """
    look = asked.look
    finished = (record.finished if record else None) or iso(look.services.now())
    if record is not None:
        look.status["lastRun"] = run_status(record)
    if record is not None and record.state == "Failed":
        raise failed(asked, failure_text(record), finished)
    _settle(asked, finished, "Succeeded", "")
    told = (record.rows if record else 0) if rows is None else rows
    result = look.close(None, ready=f"{told} rows", reason="Succeeded")
    return Result(result.outcome, time_left(look, asked.run))


def failed(asked: Asked, message: str, finished: str | None = None) -> Halt:
    """The run has failed for good: what to raise, once the ledger knows."""
    moment = finished or iso(asked.look.services.now())
    _settle(asked, moment, "Failed", message)
    return Halt("Failed", message, stalled=True)


def _settle(asked: Asked, finished: str, state: str, message: str) -> None:
    look = asked.look
    body: dict[str, Any] = {
        "uid": asked.run.uid,
        "requested": look.status["started"],
        "finished": finished,
        "state": state,
        "message": message,
    }
    if look.status.get("lastRun"):
        body["lastRun"] = look.status["lastRun"]
    asked.world.ledger.settle_request(asked.table, asked.pipeline.id, request_hash(asked.run), body)
    look.status["finished"] = finished


def time_left(look: Look, run: PipelineRun) -> float | None:
    """Seconds until a finished object goes; None where it stays."""
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
