"""Runs: the pass that a pipeline makes over landed manifests, its result and its account.

The account says where every row went. Stages that keep rows obey
``rows_in == rows_out + quarantined + deduplicated + filtered``; a run whose account does not add up
fails, whatever else went well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RunState = Literal["Running", "Succeeded", "Failed"]
Cardinality = Literal["preserving", "changing"]

JOB_FAULTS = (
    "ColumnMissing",
    "ContractError",
    "ContractMissing",
    "DeletionsLost",
    "ExpressionRefused",
    "KeyUnreadable",
    "MisfitFailsRun",
    "PiiKeyMissing",
    "QualityFailed",
    "ScriptRefused",
    "TableConflict",
    "TableRefused",
)
"""Errors of the Glue job that the same rows and the same configuration bring again. The job's
message begins with the class's name."""


@dataclass(frozen=True)
class StageAccount:
    """What one stage did with its rows. All counts are rows.

    ``cardinality`` is ``preserving`` for land, clean, cast, validate, write, and ``changing`` for
    explode, join, aggregate and for SQL and scripts, whose in and out can't be compared.
    Loads fill ``inserted`` .. ``deleted``; for them rows_in is what was staged.

    ``deletions`` are records that say that a row is gone: the stage of that kind takes them out of
    the rows, and a load that obeys them has them beside its rows_in. None: the stage has none, and
    a load's ``deleted`` is what ``replace`` removed.
    """

    stage: str
    kind: str
    rows_in: int
    rows_out: int
    cardinality: Cardinality = "preserving"
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0
    inserted: int | None = None
    updated: int | None = None
    stale: int | None = None
    deleted: int | None = None
    deletions: int | None = None
    seconds: float = 0.0

    def imbalance(self) -> str | None:
        """Why the stage's rows do not add up, or None where they do."""
        if self.kind == "load":
            placed = (self.inserted or 0) + (self.updated or 0) + (self.stale or 0)
            placed += self.deduplicated
            staged, deleted, what = self.rows_in, "", "rows"
            if self.deletions is not None:
                placed += self.deleted or 0
                staged += self.deletions
                deleted, what = f" + {self.deleted} deleted", "rows and deletions"
            if placed != staged:
                return (
                    f"{self.stage}: {staged} {what} staged, but {self.inserted} inserted + "
                    f"{self.updated} updated{deleted} + {self.stale} stale + "
                    f"{self.deduplicated} deduplicated = {placed}"
                )
            return None
        if self.cardinality == "changing":
            return None
        kept = self.rows_out + self.quarantined + self.deduplicated + self.filtered
        kept += self.deletions or 0
        if kept != self.rows_in:
            apart = "" if self.deletions is None else f" + {self.deletions} deletions"
            return (
                f"{self.stage}: {self.rows_in} rows in, but {self.rows_out} out + "
                f"{self.quarantined} quarantined + {self.deduplicated} deduplicated + "
                f"{self.filtered} filtered{apart} = {kept}"
            )
        return None


def imbalances(stages: tuple[StageAccount, ...]) -> tuple[str, ...]:
    """Every reason why a run's account does not add up, within stages and from one to the next.

    A ``load`` reads the last written output and passes its input on, so that two loads in a row
    compare with the same output. Deletions go beside the rows, past every stage, to the loads.
    """
    faults = [fault for stage in stages if (fault := stage.imbalance())]
    apart = sum(stage.deletions or 0 for stage in stages if stage.kind != "load")
    faults += [
        f"{apart} deletions were read, but {stage.stage} took {stage.deletions}"
        for stage in stages
        if stage.kind == "load" and stage.deletions is not None and stage.deletions != apart
    ]
    flowing: StageAccount | None = None
    for stage in stages:
        if stage.kind == "unload":
            continue
        if flowing is not None and stage.rows_in != flowing.rows_out:
            faults.append(
                f"{flowing.stage} gave {flowing.rows_out} rows, but {stage.stage} took "
                f"{stage.rows_in}"
            )
        if stage.kind != "load":
            flowing = stage
    return tuple(faults)


@dataclass(frozen=True)
class OutputFile:
    """One Parquet file of a run's output; ``bytes`` is the object's exact size."""

    uri: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class QualityResult:
    """One rule's outcome. ``value`` is what was measured, as text; never row content."""

    rule: str
    passed: bool
    value: str = ""


@dataclass(frozen=True)
class RunPlan:
    """What one pass has to do, written to S3 before the Glue job starts.

    ``manifests`` are ``s3://`` URIs, in order of (source, sequence). ``contracts`` are the frozen
    ones by source id. ``result_uri`` is where the job writes its :class:`RunResult`.
    ``extraction_starts`` is, by source id, the first sequence of the pass's last whole extraction:
    what a ``replace`` keeps, since earlier landings are older pictures of the same rows.
    """

    run: str
    pipeline: str
    config_uri: str
    manifests: tuple[str, ...]
    result_uri: str
    attempt: int = 1
    extraction_starts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResult:
    """What the Glue job did: its output manifest. Files that are not listed do not exist.

    ``columns`` are the names of the files' columns, in the files' order; ``types`` their type
    expressions in the same order. ``quarantine_reasons`` are rows by reason, the most frequent
    reasons only; a reason names columns, types and rules, never values. ``deletions`` are files of
    the same columns, in which only the loads' keys and ``orderBy`` need to have values.
    ``table_rows`` are those that went to an Iceberg table, where there are no files for a warehouse
    beside it.
    """

    run: str
    attempt: int
    accounts: tuple[StageAccount, ...]
    files: tuple[OutputFile, ...] = ()
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    quarantine_uri: str | None = None
    quality: tuple[QualityResult, ...] = ()
    quality_failed: bool = False
    sequences: Mapping[str, int] = field(default_factory=dict)
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)
    deletions: tuple[OutputFile, ...] = ()
    table_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return sum(item.rows for item in self.files) or self.table_rows


@dataclass(frozen=True)
class Failure:
    """Why a run failed, for people: what, the class of the error, and what to do."""

    stage: str
    error: str
    message: str
    action: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run in the ledger: a landing (kind ``source``) or a pipeline's pass (``pipeline``).

    ``started`` and ``finished`` are UTC, ISO 8601. ``seconds`` are by step name. ``manifests`` are
    manifest ids (``namespace/name#sequence``). ``lane`` is set where a backfill or a replay landed:
    that says nothing of whether the source's own data flows.
    """

    run: str
    kind: Literal["source", "pipeline"]
    object: str
    state: RunState
    started: str
    finished: str | None = None
    execution: str | None = None
    scheduled_time: str | None = None
    manifests: tuple[str, ...] = ()
    requested_by: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0
    account: tuple[StageAccount, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    quality: tuple[QualityResult, ...] = ()
    quarantine_uri: str | None = None
    failure: Failure | None = None
    quarantine_reasons: Mapping[str, int] = field(default_factory=dict)
    lane: str | None = None
