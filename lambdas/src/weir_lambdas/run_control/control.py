"""Run control: what a pass takes, what it owes an account of, and when the flight may land."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from weir_contract.codec import dumps, loads
from weir_contract.manifest import Manifest, lane_source
from weir_contract.moments import iso
from weir_contract.pipelines import PipelineConfig, Workers
from weir_contract.runs import RunPlan, RunRecord, RunResult, StageAccount, imbalances
from weir_contract.state import EXPIRES, FLIGHT, pipeline_pk, taken_sk
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.errors import AccountDoesNotAddUp, ConfigInvalid
from weir_lambdas.common.failures import failure_of, notice
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.state import (
    MAX_TRANSACTION,
    Table,
    Update,
    putting,
    read_contract,
    read_record,
    record_actions,
    write_record,
)
from weir_lambdas.common.storage import Storage, split_uri

MAX_MANIFESTS = MAX_TRANSACTION - 10
"""Manifests of one pass: that they were taken is written in one transaction with its record."""

BYTES_A_WORKER = 256 * 1024 * 1024
"""Compressed raw bytes that one more worker is worth."""

TAKEN_RETENTION_SECONDS = 400 * 86_400
PENDING_PREFIX = "PENDING#"

LOAD_COUNTS = ("inserted", "updated", "stale", "deleted")


@dataclass(frozen=True)
class Pending:
    """A manifest that waits. ``run`` and ``attempt`` are of the pass that took it and failed."""

    source: str
    sequence: int
    uri: str
    run: str | None
    attempt: int

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Pending:
        """Read the item that the trigger wrote."""
        return cls(
            item["source"],
            int(item["sequence"]),
            item["uri"],
            item.get("run"),
            int(item.get("attempt", 0)),
        )

    @property
    def name(self) -> str:
        """``source#sequence`` as the sort keys have it."""
        return f"{self.source}#{self.sequence:012d}"


def choose(pending: Sequence[Pending], limit: int = MAX_MANIFESTS) -> list[Pending]:
    """What the next pass takes: the manifests of a run that did not finish, else the oldest.

    A run that failed is repeated with its own manifests and its own id, so that the ledgers know
    what it has done already: that is what makes a repeated load harmless.
    """
    ordered = sorted(pending, key=lambda item: (item.source, item.sequence))
    unfinished = [item for item in ordered if item.run]
    if unfinished:
        return [item for item in ordered if item.run == unfinished[0].run]
    return ordered[:limit]


def whole_extractions(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The manifests without the trailing ones of an extraction that is still going on.

    For a pipeline that replaces its target: half an extraction must not replace a whole one.
    """
    kept: list[Manifest] = []
    for source in sorted({_counted(item) for item in manifests}):
        own = sorted((m for m in manifests if _counted(m) == source), key=lambda m: m.sequence)
        while own and not own[-1].complete:
            own.pop()
        kept += own
    return kept


def extraction_starts(manifests: Sequence[Manifest]) -> dict[str, int]:
    """By source, the first sequence of its last extraction, whatever runs it took."""

    def extraction(manifest: Manifest) -> str:
        return manifest.extraction or manifest.run

    # What a lane landed is no picture of the whole.
    own = sorted((m for m in manifests if m.lane is None), key=lambda m: m.sequence)
    last = {m.source: m for m in own}
    return {
        source: min(
            m.sequence for m in own if m.source == source and extraction(m) == extraction(end)
        )
        for source, end in last.items()
    }


def _counted(manifest: Manifest) -> str:
    return lane_source(manifest.source, manifest.lane)


def workers_for(size: int, workers: Workers) -> int:
    """How many workers a pass of so many compressed bytes gets, the driver among them."""
    if not workers.auto:
        return workers.maximum
    wanted = 1 + max(1, math.ceil(size / BYTES_A_WORKER))
    return max(workers.minimum, min(workers.maximum, wanted))


class Control:
    """A pipeline's run control.

    Parameters
    ----------
    config, config_uri
        The pipeline's configuration and where it was read.
    """

    def __init__(
        self,
        config: PipelineConfig,
        config_uri: str,
        table: Table,
        storage: Storage,
        clock: Clock,
    ) -> None:
        self._config, self._config_uri = config, config_uri
        self._table, self._storage, self._clock = table, storage, clock
        self._pk = pipeline_pk(config.id)

    def begin(self, execution: str, requested: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a pass: claim the flight, take manifests, write the plan.

        Returns
        -------
        dict
            ``empty`` true where there is nothing to do, or another execution holds the flight;
            else the pass as the state machine needs it.
        """
        now = self._clock.now()
        flight = self._board(execution, now)
        if flight is None:
            log("WARNING", "flight held by another execution", execution=execution)
            return _nothing(now)
        waiting = self._readable(self._waiting())
        chosen = choose(waiting)
        manifests = [loads(Manifest, self._storage.get_uri(item.uri)) for item in chosen]
        if self._config.replaces:
            whole = {m.id for m in whole_extractions(manifests)}
            chosen = [c for c, m in zip(chosen, manifests, strict=True) if m.id in whole]
            manifests = [m for m in manifests if m.id in whole]
        requests = sorted(flight.get("requests") or ())
        if not chosen:
            self._answer_requests(execution, requests, now)
            return _nothing(now)
        run = chosen[0].run or _run_id(execution, int(flight.get("passes", 0)))
        attempt = max(item.attempt for item in chosen) + 1
        self._mark(chosen, run, attempt)
        if (chosen[0].run is None and len(waiting) > MAX_MANIFESTS) or _others(
            waiting, chosen, run
        ):
            self._table.update(self._pk, FLIGHT, Update("ADD pending :one", {"one": 1}))
        plan = self._plan(run, attempt, chosen, manifests)
        plan_uri = plan.result_uri.removesuffix("result.json") + "plan.json"
        self._put(plan_uri, dumps(plan))
        rows, size = sum(m.rows for m in manifests), sum(m.bytes for m in manifests)
        before = read_record(self._table, self._pk, run)
        record = RunRecord(
            run=run,
            kind="pipeline",
            object=self._config.id,
            state="Running",
            started=iso(now),
            execution=execution,
            scheduled_time=requested.get("scheduledTime"),
            manifests=tuple(m.id for m in manifests),
            requested_by=tuple(sorted({*(before.requested_by if before else ()), *requests})),
            rows=rows,
            bytes=size,
        )
        write_record(self._table, record, now.timestamp())
        if requests:
            taken = Update("DELETE requests :taken", {"taken": set(requests)})
            self._table.update(self._pk, FLIGHT, taken)
        log("INFO", "pass begun", run=run, attempt=attempt, manifests=len(chosen), rows=rows)
        return {
            "run": run,
            "empty": False,
            "rows": rows,
            "bytes": size,
            "planUri": plan_uri,
            "resultUri": plan.result_uri,
            "workerType": self._config.workers.worker_type,
            "workers": workers_for(size, self._config.workers),
            "startedAt": iso(now),
            "manifests": len(chosen),
        }

    def account(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Close a pass: every row must be accounted for, then its manifests count as taken.

        Raises
        ------
        AccountDoesNotAddUp
            It is not so; the message has every difference.
        """
        run, now = str(event["run"]), self._clock.now()
        record = read_record(self._table, self._pk, run)
        if record is None:
            raise ConfigInvalid("the ledger has no such run", f"{self._config.id} run {run}")
        if record.state == "Succeeded":
            return self._outcome(record, bool(record.quality and not _passed(record)))
        plan = loads(RunPlan, self._storage.get_uri(event["planUri"]))
        result = self._result(event, record)
        stages = result.accounts + tuple(
            _load_account(stage, counts)
            for stage, counts in (event.get("loads") or {}).items()
            if counts
        )
        faults = imbalances(stages)
        if stages and stages[0].kind != "load" and stages[0].rows_in != record.rows:
            first = f"{record.rows} rows were landed, but {stages[0].stage} took "
            faults = (first + str(stages[0].rows_in), *faults)
        if faults:
            raise AccountDoesNotAddUp("; ".join(faults), f"{self._config.id} run {run}")
        started = parse_iso(record.started)
        closed = replace(
            record,
            state="Succeeded",
            finished=iso(now),
            rows=result.rows,
            account=stages,
            seconds={s.stage: s.seconds for s in stages if s.seconds}
            | {"total": (now - started).total_seconds()},
            quality=result.quality,
            quarantine_uri=result.quarantine_uri,
            quarantine_reasons=result.quarantine_reasons,
        )
        self._take(closed, plan, now)
        self._emit(closed, record.bytes)
        return self._outcome(closed, result.quality_failed)

    def release(self, execution: str, failed: bool) -> dict[str, Any]:
        """Land the flight, unless something arrived meanwhile.

        After a failure it lands whatever waits: the next arrival, sweep or request tries again.
        After ``max_passes`` passes the execution hands over to a new one, which reads the
        definition and the configuration anew and has a fresh history.
        """
        values: dict[str, Any] = {"me": execution}
        mine = "execution = :me"
        if not failed:
            land = Update(
                "REMOVE execution",
                values | {"zero": 0},
                f"{mine} AND (attribute_not_exists(pending) OR pending = :zero)",
            )
            if self._table.update(self._pk, FLIGHT, land) is not None:
                return {"more": False, "handOver": False}
            flight = self._table.get(self._pk, FLIGHT) or {}
            if flight.get("execution") != execution:
                return {"more": False, "handOver": False}
            if int(flight.get("passes", 0)) < self._config.max_passes:
                return {"more": True, "handOver": False}
        landed = self._table.update(self._pk, FLIGHT, Update("REMOVE execution", values, mine))
        return {"more": False, "handOver": not failed and landed is not None}

    def fail(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Write a failed pass into the ledger; its manifests stay pending under its id."""
        now = self._clock.now()
        failure = failure_of(str(event.get("stage") or "pass"), event.get("error") or {})
        execution = str(event.get("execution", ""))
        run = str(event.get("run") or "") or _run_id(execution, 0)
        known = read_record(self._table, self._pk, run)
        before = known or RunRecord(
            run, "pipeline", self._config.id, "Failed", iso(now), execution=execution
        )
        record = replace(before, state="Failed", finished=iso(now), failure=failure)
        write_record(self._table, record, now.timestamp())
        emit(self._config.metrics_namespace, self._dimensions(), {"RunsFailed": 1})
        log("ERROR", "pass failed", run=run, stage=failure.stage, error=failure.error)
        return dict(notice("Pipeline", self._config.id, run, failure))

    def _board(self, execution: str, now: datetime) -> dict[str, Any] | None:
        """Claim the flight for this execution and reset its count, before PENDING is read."""
        moment = {"me": execution, "zero": 0, "one": 1, "now": iso(now)}
        again = Update(
            "SET pending = :zero, landed = :zero, last_start = :now REMOVE not_before "
            "ADD passes :one",
            moment,
            "execution = :me",
        )
        first = Update(
            "SET execution = :me, pending = :zero, landed = :zero, last_start = :now, "
            "passes = :one REMOVE not_before",
            moment,
            "attribute_not_exists(execution)",
        )
        return self._table.update(self._pk, FLIGHT, again) or self._table.update(
            self._pk, FLIGHT, first
        )

    def _readable(self, waiting: list[Pending]) -> list[Pending]:
        """Those whose types are known. What a crawler has not discovered yet waits for it: who freezes
        the contract asks for a pass."""
        unknown = {
            item.source
            for item in self._config.inputs
            if item.contract.crawled and read_contract(self._table, item.source) is None
        }
        return [item for item in waiting if item.source not in unknown]

    def _waiting(self) -> list[Pending]:
        """What waits; what a finished pass took but did not tidy away is tidied here."""
        found = []
        for item in self._table.query(self._pk, PENDING_PREFIX):
            pending = Pending.from_item(item)
            if self._table.get(self._pk, taken_sk(pending.source, pending.sequence)):
                self._table.delete(self._pk, item["sk"])
            else:
                found.append(pending)
        return found

    def _mark(self, chosen: Sequence[Pending], run: str, attempt: int) -> None:
        for item in chosen:
            update = Update("SET run = :run, attempt = :n", {"run": run, "n": attempt})
            self._table.update(self._pk, PENDING_PREFIX + item.name, update)

    def _plan(
        self, run: str, attempt: int, chosen: Sequence[Pending], manifests: Sequence[Manifest]
    ) -> RunPlan:
        folder = f"runs/{self._config.id}/{run}/attempt-{attempt}"
        return RunPlan(
            run=run,
            pipeline=self._config.id,
            config_uri=self._config_uri,
            manifests=tuple(item.uri for item in chosen),
            result_uri=f"s3://{self._config.artifacts_bucket}/{folder}/result.json",
            attempt=attempt,
            extraction_starts=extraction_starts(manifests),
        )

    def _put(self, uri: str, text: str) -> None:
        bucket, key = split_uri(uri)
        self._storage.put(bucket, key, text.encode(), "application/json")

    def _answer_requests(self, execution: str, requests: Sequence[str], now: datetime) -> None:
        """A request that finds nothing to do still gets its run: it succeeded, with no rows."""
        if not requests:
            return
        run = f"{_run_id(execution, 0)}-nothing"
        record = RunRecord(
            run,
            "pipeline",
            self._config.id,
            "Succeeded",
            iso(now),
            iso(now),
            execution,
            requested_by=tuple(requests),
        )
        write_record(self._table, record, now.timestamp())
        taken = Update("DELETE requests :taken", {"taken": set(requests)})
        self._table.update(self._pk, FLIGHT, taken)

    def _result(self, event: Mapping[str, Any], record: RunRecord) -> RunResult:
        try:
            return loads(RunResult, self._storage.get_uri(event["resultUri"]))
        except FileNotFoundError as error:
            if record.rows == 0:  # nothing was landed, so no job ran
                return RunResult(record.run, 1, ())
            raise AccountDoesNotAddUp(
                f"{record.rows} rows were landed, but the job left no result",
                f"{self._config.id} run {record.run}",
            ) from error

    def _take(self, record: RunRecord, plan: RunPlan, now: datetime) -> None:
        """All manifests of the pass become taken, in one transaction with its record."""
        expires = int(now.timestamp()) + TAKEN_RETENTION_SECONDS
        taken = [_split_id(name) for name in record.manifests]
        actions = [
            putting(
                self._pk,
                taken_sk(source, sequence),
                {"run": plan.run, "taken": iso(now), EXPIRES: expires},
            )
            for source, sequence in taken
        ]
        self._table.transact([*actions, *record_actions(record, now.timestamp())])
        for source, sequence in taken:
            self._table.delete(self._pk, f"{PENDING_PREFIX}{source}#{sequence:012d}")

    def _outcome(self, record: RunRecord, quality_failed: bool) -> dict[str, Any]:
        quarantined = sum(stage.quarantined for stage in record.account)
        broken = [item.rule for item in record.quality if not item.passed]
        text = f"Pipeline {self._config.id}: {record.rows} rows, {quarantined} quarantined."
        if broken:
            text += f" Rules not met: {'; '.join(broken)}."
        if quarantined:
            reasons = [f"{rows} {reason}" for reason, rows in record.quarantine_reasons.items()]
            text += f" Quarantined: {', '.join(reasons)}." if reasons else ""
            text += (
                f" The rows with their reasons are in {record.quarantine_uri}. Mend the source or "
                "the schema; a later landing brings them again."
            )
        return {
            "rows": record.rows,
            "quarantined": quarantined,
            "qualityFailed": quality_failed,
            "message": f"{text} Run: {record.run}",
        }

    def _dimensions(self) -> dict[str, str]:
        return {"Namespace": self._config.namespace, "Pipeline": self._config.name}

    def _emit(self, record: RunRecord, size: int) -> None:
        count: Callable[[str], int] = lambda name: sum(  # noqa: E731
            getattr(stage, name) or 0 for stage in record.account
        )
        emit(
            self._config.metrics_namespace,
            self._dimensions(),
            {
                "Runs": 1,
                "Rows": record.rows,
                "RowsQuarantined": count("quarantined"),
                "RowsDeduplicated": count("deduplicated"),
                "RowsFiltered": count("filtered"),
                "RowsInserted": count("inserted"),
                "RowsUpdated": count("updated"),
                "RowsStale": count("stale"),
                "RowsDeleted": count("deleted"),
                "RawBytes": size,
                "RunSeconds": record.seconds["total"],
            },
        )


def _nothing(now: datetime) -> dict[str, Any]:
    return {
        "run": "",
        "empty": True,
        "rows": 0,
        "bytes": 0,
        "planUri": "",
        "resultUri": "",
        "workerType": "",
        "workers": 0,
        "startedAt": iso(now),
        "manifests": 0,
    }


def _run_id(execution: str, number: int) -> str:
    """A pass's id: the execution's name and the pass's number in it."""
    return f"{execution.rpartition(':')[2][:100]}-{number}"


def _others(waiting: Sequence[Pending], chosen: Sequence[Pending], run: str) -> bool:
    """Whether the pass repeats an unfinished run and leaves other manifests behind."""
    return chosen[0].run == run and any(item.run != run for item in waiting)


def _split_id(name: str) -> tuple[str, int]:
    source, _, sequence = name.rpartition("#")
    return source, int(sequence)


def _passed(record: RunRecord) -> bool:
    return all(item.passed for item in record.quality)


def _load_account(stage: str, counts: Mapping[str, Any]) -> StageAccount:
    rows = int(counts["rowsIn"])
    inserted, updated, stale, deleted = (int(counts.get(name, 0)) for name in LOAD_COUNTS)
    return StageAccount(
        stage,
        "load",
        rows,
        rows,
        deduplicated=int(counts.get("deduplicated", 0)),
        inserted=inserted,
        updated=updated,
        stale=stale,
        deleted=deleted,
        deletions=None if counts.get("deletions") is None else int(counts["deletions"]),
    )
