"""A backfill or a replay, part by part: a bounded number at a time, each once, then their passes.

All that has to be known of it is in ``status.progress``, and each look goes on from there: an operator
that dies between a start and its note of it starts the same name again, which Step Functions does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from weir.blueprint.parts import Part, PartsRefused, backfill_parts, replay_parts
from weir.reconcile import wanted as blueprints
from weir.reconcile.asked import Asked, end, execution_name, failed, request_hash
from weir.reconcile.ledger import ENDED
from weir.reconcile.look import Halt
from weir.reconcile.runs import failure_text, run_status
from weir.reconcile.services import Result
from weir.reconcile.steps import view_of
from weir_contract.runs import RunRecord
from weir_contract.state import pipeline_pk, source_pk

FOLLOW_SECONDS = 4.0
"""Seconds between two looks; the feed of runs wakes the object sooner."""
REPLAYED_AT_A_TIME = 4
"""Parts of a replay that are landed at a time."""
ATTEMPTS = 3
"""Tries of one part; each goes on where the one before was cut."""
MAX_FAILED = 5
"""Parts that fail before no further one is started: what is wrong then is wrong with all."""
PASS_ATTEMPTS = 5
"""Failed tries of a pass after which nobody tries it again by itself
(``weir_lambdas.trigger.flight.MAX_ATTEMPTS``)."""
CHECKED_AT_ONCE = 50
"""Parts whose passes are asked for in one look."""
TOLD = 3
"""Failed parts that a message names."""


@dataclass
class Progress:
    """``status.progress``, as it becomes."""

    parts: int
    next: int = 0
    landed: int = 0
    done: int = 0
    rows: int = 0
    asked: bool = False
    under_way: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, status: dict[str, Any]) -> Progress:
        """Read it from the object."""
        known = dict(status)
        under_way = known.pop("underWay", [])
        return cls(under_way=list(under_way), **known)

    def to_status(self) -> dict[str, Any]:
        """As the object has it."""
        return {
            "parts": self.parts,
            "next": self.next,
            "landed": self.landed,
            "done": self.done,
            "rows": self.rows,
            "asked": self.asked,
            "underWay": self.under_way,
            "failed": self.failed,
        }

    @property
    def is_landing(self) -> bool:
        """Whether parts are being landed, or are to be."""
        if self.under_way:
            return True
        return self.next < self.parts and len(self.failed) < MAX_FAILED


def plan_parts(asked: Asked) -> list[Part]:
    """The parts of what is asked for, the same at each look.

    Raises
    ------
    Halt
        It can't be done.
    """
    spec, view = asked.run.spec, view_of(asked.look.services)
    names = blueprints.source_names(asked.pipeline)
    sources = view.sources(asked.run.namespace, names)
    schemas = view.schemas(asked.run.namespace)
    try:
        if spec.backfill is not None:
            request, now = request_hash(asked.run), asked.look.services.now()
            return backfill_parts(spec.backfill, asked.pipeline, sources, schemas, request, now)
        partition = pipeline_pk(asked.pipeline.id)
        runs = [
            (run, asked.world.ledger.run(asked.table, partition, run))
            for run in (spec.replay.runs if spec.replay else ())
        ]
        return replay_parts(runs, asked.pipeline, sources, schemas)
    except PartsRefused as refused:
        raise Halt("InvalidSpec", str(refused), stalled=True) from refused


def follow_parts(asked: Asked) -> Result:
    """One look at a backfill or a replay that has begun."""
    look, parts = asked.look, plan_parts(asked)
    progress = Progress.of(look.status["progress"])
    if len(parts) != progress.parts:
        raise Halt(
            "InvalidSpec",
            f"the Pipeline's sources were changed since this began: it had {progress.parts} parts "
            f"and has {len(parts)} now. Create another PipelineRun",
            stalled=True,
        )
    try:
        _collect(asked, parts, progress)
        _start(asked, parts, progress)
        last = _check_passes(asked, parts, progress)
    finally:
        # Whatever fails on the way: what was started is known.
        look.status["progress"] = progress.to_status()
        look.status["executions"] = [one["execution"] for one in progress.under_way]
    if last is not None:
        look.status["lastRun"] = last
    if progress.is_landing:
        return look.close(Halt("Extracting", _landing_text(progress), after=FOLLOW_SECONDS))
    if progress.done < progress.next:
        if blueprints.needs_asking(asked.pipeline) and not progress.asked:
            asked.ask_trigger()
            progress.asked = True
            look.status["progress"] = progress.to_status()
        text = f"{_landing_text(progress)}; waits for the pass that takes them"
        return look.close(Halt("Processing", text, after=FOLLOW_SECONDS))
    if progress.failed:
        raise failed(asked, _failed_text(progress))
    return end(asked, None, progress.rows)


def _collect(asked: Asked, parts: Sequence[Part], progress: Progress) -> None:
    """Take note of the parts that have ended, and try again those that failed."""
    still = []
    for one in progress.under_way:
        part = parts[one["part"]]
        state = (asked.world.ledger.execution(one["execution"]) or {}).get("status")
        if state is not None and state not in ENDED:
            still.append(one)
            continue
        records = list(_landings(asked, part, one["part"]))
        if records and records[-1].state == "Succeeded":
            progress.landed += 1
            progress.rows += sum(record.rows for record in records)
        elif one["attempt"] < ATTEMPTS:
            still.append(_launch(asked, part, one["part"], one["attempt"] + 1))
        else:
            known = failure_text(records[-1]) if records else ""
            message = known or f"execution {one['execution']} ended {state or 'unknown'}"
            what = {"part": one["part"], "what": part.what[:512], "message": message[:1024]}
            progress.failed.append(what)
            asked.look.services.events.warn(
                asked.look.obj, "PartFailed", f"{part.what}: {message}"[:1000]
            )
    progress.under_way = still


def _start(asked: Asked, parts: Sequence[Part], progress: Progress) -> None:
    backfill = asked.run.spec.backfill
    limit = backfill.concurrency if backfill is not None else REPLAYED_AT_A_TIME
    while (
        progress.next < len(parts)
        and len(progress.under_way) < limit
        and len(progress.failed) < MAX_FAILED
    ):
        number = progress.next
        progress.under_way.append(_launch(asked, parts[number], number, 1))
        progress.next += 1


def _launch(asked: Asked, part: Part, number: int, attempt: int) -> dict[str, Any]:
    sources = view_of(asked.look.services).sources(asked.run.namespace, [part.source])
    if part.source not in sources:
        raise Halt("SourceNotFound", f"DataSource {part.source} is gone: create it again")
    execution = asked.world.ledger.start(
        blueprints.ingest_machine(asked.context, sources[part.source]),
        _execution(asked, number, attempt),
        {
            **part.message,
            "requestedBy": asked.requested_by,
            "scheduledTime": str(asked.look.status["started"]),
        },
    )
    return {"part": number, "attempt": attempt, "execution": execution}


def _execution(asked: Asked, number: int, attempt: int) -> str:
    again = f"-{attempt}" if attempt > 1 else ""
    return f"{execution_name(asked.run)}-{number:04d}{again}"


def _landings(asked: Asked, part: Part, number: int) -> Iterator[RunRecord]:
    """The records of a part's tries: what the first ones landed before they failed stays landed."""
    partition = source_pk(f"{asked.run.namespace}/{part.source}")
    for attempt in range(1, ATTEMPTS + 1):
        run = _execution(asked, number, attempt)
        record = asked.world.ledger.run(asked.table, partition, run)
        if record is None:
            return
        yield record
        if record.state == "Succeeded":
            return


def _check_passes(asked: Asked, parts: Sequence[Part], progress: Progress) -> dict[str, Any] | None:
    """Go over the first parts whose passes are done. Returns the last pass's account, if it is new.

    Raises
    ------
    Halt
        A pass has failed for good.
    """
    running = {one["part"] for one in progress.under_way}
    last: str | None = None
    for number in range(progress.done, min(progress.next, progress.done + CHECKED_AT_ONCE)):
        if number in running:
            break
        records = list(_landings(asked, parts[number], number))
        ids = [one for record in records for one in record.manifests]
        passes = [_pass_of(asked, one) for one in ids]
        if None in passes:
            break
        last = next((one for one in reversed(passes) if one), last)
        progress.done = number + 1
    if last is None:
        return None
    record = asked.world.ledger.run(asked.table, pipeline_pk(asked.pipeline.id), last)
    return run_status(record) if record is not None else None


def _pass_of(asked: Asked, manifest: str) -> str | None:
    """The pass that has taken a manifest; None where it waits.

    Raises
    ------
    Halt
        Its pass has failed so often that nobody tries again.
    """
    ledger, pipeline = asked.world.ledger, asked.pipeline.id
    source, _, sequence = manifest.rpartition("#")
    taken = ledger.taken_by(asked.table, pipeline, source, int(sequence))
    if taken is not None:
        return taken
    run, attempts = ledger.tried(asked.table, pipeline, source, int(sequence))
    if attempts < PASS_ATTEMPTS:
        return None
    record = ledger.run(asked.table, pipeline_pk(pipeline), run)
    if record is not None and record.state == "Failed":
        raise failed(asked, f"{failure_text(record)} It was tried {attempts} times")
    return None


def _landing_text(progress: Progress) -> str:
    text = f"{progress.landed} of {progress.parts} parts have landed, {progress.rows} rows"
    if progress.under_way:
        text += f"; {len(progress.under_way)} under way"
    if progress.failed:
        text += f"; {len(progress.failed)} failed"
    return text


def _failed_text(progress: Progress) -> str:
    told = "; ".join(f"{one['what']}: {one['message']}" for one in progress.failed[:TOLD])
    left = progress.parts - progress.next
    rest = f" {left} parts were not started." if left else ""
    return (
        f"{len(progress.failed)} of {progress.parts} parts failed.{rest} What has landed stays. "
        f"Create a PipelineRun for the parts that are missing. {told}"
    )
