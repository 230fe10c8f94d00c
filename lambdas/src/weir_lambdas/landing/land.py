"""One landing: lease, batches, parts, then the manifest that commits them, then the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from weir_contract.codec import ContractError, dumps, loads
from weir_contract.manifest import LandedFile, Manifest, Part, part_key
from weir_contract.moments import iso
from weir_contract.runs import Failure, RunRecord, StageAccount
from weir_contract.sources import SourceConfig
from weir_contract.state import source_pk
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.errors import ConfigInvalid, LeaseHeld, OutOfTime, WeirError
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.state import Table, read_record, write_record
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, PlaceForgotten, Position, Source, Start, Window
from weir_lambdas.landing.checkpoint import Checkpoint, Checkpoints, Cut
from weir_lambdas.landing.freeze import settle
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.parts import CONTENT_TYPE, PART_BYTES, PartWriter

RESERVE_SECONDS = 30.0
"""Kept back at a landing's end for the last part, the manifest and the checkpoint."""

LEASE_MARGIN_SECONDS = 60.0


@dataclass(frozen=True)
class Landing:
    """What one call of the function has done; the state machine's ``Ingest`` state reads it."""

    run: str
    sequence: int
    rows: int
    bytes: int
    complete: bool

    def as_output(self) -> dict[str, Any]:
        """The function's answer."""
        return {
            "run": self.run,
            "sequence": self.sequence,
            "rows": self.rows,
            "bytes": self.bytes,
            "complete": self.complete,
        }


class Called(Protocol):
    """Which run is meant: what a call of the function says of itself."""

    @property
    def run(self) -> str: ...
    @property
    def execution(self) -> str | None: ...
    @property
    def requested_by(self) -> tuple[str, ...]: ...
    @property
    def lane(self) -> str | None: ...


class Lander:
    """Lands one source.

    Parameters
    ----------
    config
        The source's configuration.
    source
        What is landed.
    remaining
        Seconds that the function still may run.
    part_bytes
        Compressed size at which a part is closed.
    lane
        ``pipeline/name`` of a backfill's part, or a replay: it is landed beside the source's own
        landings, which may go on meanwhile, and moves nothing of theirs.
    window
        What a part of a backfill asks for.
    """

    def __init__(
        self,
        config: SourceConfig,
        source: Source,
        table: Table,
        storage: Storage,
        clock: Clock,
        remaining: Callable[[], float],
        part_bytes: int = PART_BYTES,
        lane: str | None = None,
        window: Window | None = None,
    ) -> None:
        self._lane, self._window = lane, window
        self._config, self._source = config, source
        self._table, self._storage = table, storage
        self._clock, self._remaining = clock, remaining
        self._part_bytes = part_bytes
        self._checkpoints = Checkpoints(table, storage, clock, config.id, config.raw_bucket, lane)

    def land(
        self,
        run: str,
        scheduled_time: str | None,
        execution: str | None,
        requested_by: tuple[str, ...] = (),
    ) -> Landing:
        """Land what the source has, or the next stretch of it.

        A run called again goes on where its last manifest ended, and gives its last answer again
        where it was complete. Another run goes on with an extraction that was cut, if the source is
        asked the same way still and the cut is not too old; else it starts a new one from the last
        complete cursor.

        Raises
        ------
        WeirError
            Each way in which it can fail. What came before is committed where the error leaves it
            good, so that nothing is asked for twice; parts without a manifest are never read.
        """
        budget = self._remaining()
        if budget <= RESERVE_SECONDS / 2:
            raise OutOfTime(f"{budget:.0f} s are left", self._config.id)
        started = self._clock.now()
        checkpoint = self._checkpoints.acquire(run, budget + LEASE_MARGIN_SECONDS)
        committed, failure = False, None
        try:
            self._source.prepare(checkpoint.sequence, self._checkpoints.read)
            ended = checkpoint.run == run and checkpoint.position is None
            if ended and not self._source.queued:
                manifest = self._checkpoints.read(checkpoint.sequence)
            else:
                found, failure = self._extract(checkpoint, run, scheduled_time, budget)
                if found is None:
                    self._checkpoints.release(checkpoint, run)
                    return self._nothing(checkpoint, run, iso(started), execution, requested_by)
                manifest, committed = found, True
                self._source.committed(manifest)
            self._checkpoints.advance(replace(manifest, epoch=checkpoint.epoch), run)
        except BaseException:
            if not committed:
                self._checkpoints.release(checkpoint, run)
            raise
        self._record(manifest, iso(started), execution, requested_by)
        if failure is not None:
            self._checkpoints.release(checkpoint, run)
            raise failure
        return Landing(run, manifest.sequence, manifest.rows, manifest.bytes, manifest.complete)

    def _extract(
        self, checkpoint: Checkpoint, run: str, scheduled_time: str | None, budget: float
    ) -> tuple[Manifest | None, WeirError | None]:
        """The committed manifest (None: there was nothing), and the error that ended it early."""
        cut = self._goes_on(checkpoint)
        try:
            return self._land_from(cut, checkpoint, run, scheduled_time, budget)
        except PlaceForgotten as error:
            config = self._config
            log("WARNING", "the extraction begins anew", source=config.id, reason=str(error))
            emit(
                config.metrics_namespace,
                {"Namespace": config.namespace, "Source": config.name},
                {"ExtractionsRestarted": 1},
            )
            return self._land_from(None, checkpoint, run, scheduled_time, budget)

    def _land_from(
        self,
        cut: Cut | None,
        checkpoint: Checkpoint,
        run: str,
        scheduled_time: str | None,
        budget: float,
    ) -> tuple[Manifest | None, WeirError | None]:
        config, now = self._config, self._clock.now()
        reserve = min(RESERVE_SECONDS, budget / 4)
        number = checkpoint.sequence + 1
        extraction = cut.extraction if cut else f"{run}#{number}"
        date = parse_time(scheduled_time, "scheduledTime") if scheduled_time else now

        # The epoch is in the name: a writer whose lease was taken over can't touch a newer's part.
        def key(part: int, suffix: str) -> str:
            day = date.strftime("%Y-%m-%d")
            return part_key(config.id, day, run, part, f"e{checkpoint.epoch}.{suffix}")

        start = Start(
            run=run,
            scheduled=date,
            cursor=checkpoint.cursor,
            state=_json(checkpoint.state),
            position=dict(cut.position) if cut else None,
            remaining=lambda: self._remaining() - reserve / 2,
            enough=lambda: self._remaining() < reserve,
            part_key=key,
            window=self._window,
        )
        # Read before anything is asked for: what a lane lands is as new as this, at least.
        age = self._checkpoints.live_sequence() if self._lane is not None else None
        inference = Inference(config.contract)
        last: Batch | None = None
        quarantined, files, written = 0, list[LandedFile](), list[Part]()
        failure: WeirError | None = None
        with PartWriter(
            lambda n: key(n, "jsonl.gz"),
            lambda key, body: self._storage.put_new(config.raw_bucket, key, body, CONTENT_TYPE),
            self._part_bytes,
        ) as writer:
            try:
                with closing(self._source.batches(start)) as batches:
                    for batch in batches:
                        writer.write(batch.lines, batch.count)
                        inference.see_all(batch.rows)
                        if batch.inference is not None:
                            inference.merge(batch.inference)
                        written += batch.parts
                        quarantined += batch.quarantined
                        files += batch.files
                        last = batch
            except WeirError as error:
                if last is None or last.position is None or error.spoils:
                    raise
                failure = error
            parts = (*writer.finish(), *written)
        if age is not None:
            parts = tuple(
                part if part.sequence is not None else replace(part, sequence=age) for part in parts
            )
        if last is None:
            return None, None
        position = last.position
        manifest = Manifest(
            source=config.id,
            sequence=number,
            epoch=checkpoint.epoch,
            run=run,
            scheduled_time=iso(date),
            landed_time=iso(self._clock.now()),
            bucket=config.raw_bucket,
            parts=parts,
            cursor_before=checkpoint.cursor,
            cursor_after=self._cut(checkpoint, extraction, position)
            if position is not None
            else (last.cursor if last.cursor is not None else checkpoint.cursor),
            fingerprint=inference.fingerprint,
            inferred=inference.types,
            complete=position is None,
            quarantined=quarantined,
            files=tuple(files),
            state=None if position is not None else _text(last.state),
            extraction=extraction,
            lane=self._lane,
        )
        if manifest.rows:
            # Before the manifest: whoever reads a manifest finds the contract that it goes by.
            settle(
                self._table, config.id, config.contract, inference, number if age is None else age
            )
        self._commit(manifest)
        return manifest, failure

    def _goes_on(self, checkpoint: Checkpoint) -> Cut | None:
        """The extraction that was cut and is gone on with, or None for a new one."""
        if checkpoint.position is None:
            return None
        try:
            cut = loads(Cut, checkpoint.position)
        except ContractError:
            log("WARNING", "a cut extraction can't be read; it begins anew", source=self._config.id)
            return None
        age = self._clock.now().timestamp() - cut.at
        if cut.fingerprint != self._source.fingerprint or age > self._source.resume_seconds:
            log("INFO", "a cut extraction is left; it begins anew", source=self._config.id, age=age)
            return None
        return cut

    def _cut(self, checkpoint: Checkpoint, extraction: str, position: Position) -> str:
        at = int(self._clock.now().timestamp())
        state, cursor = checkpoint.state, checkpoint.cursor
        return dumps(Cut(position, self._source.fingerprint, extraction, at, cursor, state))

    def _commit(self, manifest: Manifest) -> None:
        try:
            self._storage.put_new(
                manifest.bucket, manifest.key, dumps(manifest).encode(), "application/json"
            )
        except FileExistsError as error:
            raise LeaseHeld(
                f"another run committed landing {manifest.sequence} first", manifest.source
            ) from error

    def _nothing(
        self,
        checkpoint: Checkpoint,
        run: str,
        started: str,
        execution: str | None,
        requested_by: tuple[str, ...],
    ) -> Landing:
        """The record of a run that found nothing: it has looked, and all is well."""
        now = self._clock.now()
        known = read_record(self._table, source_pk(self._config.id), run)
        if known is None:
            account = (StageAccount("land", "land", 0, 0),)
            write_record(
                self._table,
                RunRecord(
                    run,
                    "source",
                    self._config.id,
                    "Succeeded",
                    started,
                    finished=iso(now),
                    execution=execution,
                    account=account,
                    requested_by=requested_by,
                    lane=self._lane,
                ),
                now.timestamp(),
            )
        return Landing(run, checkpoint.sequence, 0, 0, True)

    def _record(
        self,
        manifest: Manifest,
        started: str,
        execution: str | None,
        requested_by: tuple[str, ...],
    ) -> None:
        """The run's record: a run of several landings has one, which grows."""
        now = self._clock.now()
        partition = source_pk(self._config.id)
        known = read_record(self._table, partition, manifest.run)
        counted = known is not None and manifest.id in known.manifests
        before = known if known is not None else _blank(manifest, started, execution)
        rows = before.rows + (0 if counted else manifest.rows)
        bad = sum(stage.quarantined for stage in before.account)
        bad += 0 if counted else manifest.quarantined
        seconds = (now - parse_iso(before.started)).total_seconds()
        record = replace(
            before,
            state="Succeeded" if manifest.complete else "Running",
            finished=iso(now) if manifest.complete else None,
            manifests=before.manifests if counted else (*before.manifests, manifest.id),
            rows=rows,
            bytes=before.bytes + (0 if counted else manifest.bytes),
            account=(
                StageAccount("land", "land", rows + bad, rows, quarantined=bad, seconds=seconds),
            ),
            seconds={"land": seconds},
            requested_by=requested_by or before.requested_by,
            failure=None,
            lane=self._lane,
        )
        if record != known:
            write_record(self._table, record, now.timestamp())
        if not counted:
            emit(
                self._config.metrics_namespace,
                {"Namespace": self._config.namespace, "Source": self._config.name},
                {
                    "RowsLanded": manifest.rows,
                    "LandedBytes": manifest.bytes,
                    "RowsQuarantined": manifest.quarantined,
                    "LandSeconds": seconds,
                    "Landings": 1,
                },
            )
            log(
                "INFO",
                "landed",
                source=manifest.source,
                run=manifest.run,
                sequence=manifest.sequence,
                rows=manifest.rows,
                bytes=manifest.bytes,
                parts=len(manifest.parts),
                complete=manifest.complete,
            )


def _json(text: str | None) -> Mapping[str, Any]:
    return dict(json.loads(text)) if text else {}


def _text(state: Mapping[str, Any]) -> str | None:
    return json.dumps(state, sort_keys=True) if state else None


def _blank(manifest: Manifest, started: str, execution: str | None) -> RunRecord:
    return RunRecord(
        run=manifest.run,
        kind="source",
        object=manifest.source,
        state="Running",
        started=started,
        execution=execution,
        scheduled_time=manifest.scheduled_time,
    )


def parse_time(text: str, name: str) -> datetime:
    """Read a moment from the function's input.

    Raises
    ------
    ConfigInvalid
        It is no ISO 8601 moment.
    """
    try:
        return parse_iso(text)
    except ValueError as error:
        raise ConfigInvalid("is no ISO 8601 date and time", f"{name} {text!r}") from error


def record_trouble(
    table: Table, config: SourceConfig, call: Called, failure: Failure, now: datetime
) -> None:
    """Write into the ledger what keeps a run from landing while it is tried again, so that its
    object says it long before the last attempt."""
    known = read_record(table, source_pk(config.id), call.run)
    if known is not None and known.state != "Running":
        return
    before = known or RunRecord(
        call.run,
        "source",
        config.id,
        "Running",
        iso(now),
        execution=call.execution,
        requested_by=call.requested_by,
        lane=call.lane,
    )
    write_record(table, replace(before, failure=failure), now.timestamp())


def record_failure(
    table: Table,
    source: str,
    run: str,
    execution: str | None,
    failure: Failure,
    now: str,
    lane: str | None = None,
) -> None:
    """Write a failed landing into the ledger; what an earlier call of the run landed stays there."""
    known = read_record(table, source_pk(source), run)
    before = known or RunRecord(run, "source", source, "Failed", now, execution=execution)
    record = replace(before, state="Failed", finished=now, failure=failure, lane=lane)
    write_record(table, record, parse_iso(now).timestamp())
