"""One run, from manifests to result: stages in order, each with its account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import boto3
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DecimalType, StructType

from weir_contract.codec import dumps
from weir_contract.manifest import Manifest
from weir_contract.pipelines import Destination, PipelineConfig, Stage
from weir_contract.rows import Field, RowContract
from weir_contract.runs import QualityResult, RunResult, StageAccount
from weir_glue.cleaning.clean import clean
from weir_glue.common.account import Cache, count_where, measure, require_balance, watch
from weir_glue.common.casts import spark_type
from weir_glue.common.columns import CARRIED, DELETED, REASON, STAGE, column, data_columns
from weir_glue.common.errors import JobError, MisfitFailsRun, QualityFailed
from weir_glue.common.output import Commit, Written, register_partitions, write_output
from weir_glue.common.plan import Work, landed_manifests, resolve_contract, split_uri
from weir_glue.common.quarantine import MAX_REASONS, Quarantine
from weir_glue.common.records import (
    CAST,
    FAIL,
    LAND,
    map_records,
    read_records,
    union_all,
    without_carried,
)
from weir_glue.iceberg.output import Staged, write_table
from weir_glue.jobs import deletions
from weir_glue.transformation.steps import Context, effects, transform
from weir_glue.validation.evaluate import evaluate, flag

PROCESSED = "processed"
"""The account's name of the processed zone's files."""
WAREHOUSE_KINDS = ("load", "unload")
"""Stages that come after the job, in the state machine."""


class KeyUnreadable(JobError):
    """The key for hashing personal data can't be read."""


@dataclass
class Flow:
    """The rows on their way: the frame, how many they are, and what was said of them so far."""

    df: DataFrame
    rows: int
    accounts: list[StageAccount] = field(default_factory=list)
    quality: list[QualityResult] = field(default_factory=list)
    quality_failed: bool = False
    quarantined: int = 0
    deletions: DataFrame | None = None
    deleted: int = 0
    """Deletions that the loads obey, beside the rows, and how many they are."""


class Run:
    """A run at work. ``execute`` does all of it and writes the result."""

    def __init__(self, spark: SparkSession, work: Work) -> None:
        self.spark = spark
        self.work = work
        self.config: PipelineConfig = work.config
        self.cache = Cache()
        self.obeyed = deletions.obeyed(work.config)
        plan = work.plan
        self.quarantine = Quarantine(
            self.config.quarantine_bucket, self.config.id, plan.run, plan.attempt
        )
        self.commit = Commit(
            plan.run,
            plan.attempt,
            max((item.age for item in work.manifests), default=0),
            max((item.landed_time for item in work.manifests), default="1970-01-01T00:00:00Z"),
            sum(item.bytes for item in work.manifests),
        )

    def execute(self) -> RunResult:
        """Land, map, run every Spark stage, write the processed rows and the result.

        Raises
        ------
        JobError
            Why the run can't go on; nothing is committed then.
        """
        try:
            flow = self.land()
            self.check_contract(flow)
            for stage in self.config.stages:
                if stage.kind not in WAREHOUSE_KINDS:
                    self.stage(flow, stage)
            written = self.process(flow)
            return self.finish(flow, written, self.write_deletions(flow))
        finally:
            self.cache.release()

    def land(self) -> Flow:
        """Read and map the manifests' records; what does not fit goes to quarantine."""
        manifests = self.work.manifests
        landed = sum(item.rows for item in manifests)
        with watch() as time:
            frames = [
                map_records(
                    read_records(self.spark, [m for m in manifests if m.source == source]),
                    self.work.contracts[source],
                    self.obeyed.required if self.obeyed else (),
                )
                for source in self._driving_sources()
            ]
            mapped = self.cache.keep(union_all(frames))
            counts = measure(
                mapped,
                all=F.count(F.lit(1)),
                unreadable=count_where(F.col(STAGE) == LAND),
                misfit=count_where(F.col(STAGE) == CAST),
                fatal=count_where(F.col(STAGE) == FAIL),
            )
            if counts["fatal"]:
                raise MisfitFailsRun(self._fatal_message(mapped, counts["fatal"]))
        read = counts["all"] - counts["unreadable"]
        fit = mapped.where(F.col(REASON).isNull()).drop(REASON, STAGE)
        flow = Flow(fit, read)
        flow.accounts.append(
            StageAccount(
                "land", "land", landed, read, quarantined=counts["unreadable"], seconds=time.seconds
            )
        )
        require_balance(flow.accounts)
        flow.rows = read - counts["misfit"]
        flow.accounts.append(
            StageAccount("cast", "cast", read, flow.rows, quarantined=counts["misfit"])
        )
        for stage, count in ((LAND, counts["unreadable"]), (CAST, counts["misfit"])):
            if count:
                self.quarantine.write(mapped.where(F.col(STAGE) == stage), stage)
                flow.quarantined += count
        if DELETED in fit.columns:
            self.take_deletions(flow)
        return flow

    def take_deletions(self, flow: Flow) -> None:
        """Take the deletions out of the rows; they are kept where a load obeys them."""
        with watch() as time:
            records = flow.df.withColumn(DELETED, F.coalesce(F.col(DELETED), F.lit(False)))
            found = records.where(F.col(DELETED)).count()
            if self.obeyed and found:
                taken = deletions.take(records, self.obeyed, "deletions").drop(DELETED)
                flow.deletions = self.cache.keep(taken)
                flow.deleted = flow.deletions.count()
            flow.df = records.where(~F.col(DELETED)).drop(DELETED)
        flow.accounts.append(
            StageAccount(
                "deletions",
                "deletions",
                flow.rows,
                flow.rows - found,
                deduplicated=found - flow.deleted if self.obeyed else 0,
                filtered=0 if self.obeyed else found,
                deletions=flow.deleted,
                seconds=time.seconds,
            )
        )
        flow.rows -= found

    def _driving_sources(self) -> list[str]:
        driven = list(dict.fromkeys(item.source for item in self.work.manifests))
        return driven or [item.source for item in self.config.inputs if item.primary]

    def _fatal_message(self, mapped: DataFrame, count: int) -> str:
        reasons = mapped.where(F.col(STAGE) == FAIL).select(REASON).distinct().limit(5).collect()
        what = "; ".join(sorted(row[REASON] for row in reasons))
        return (
            f"{count} rows hold a value that its column can't take, and the contract says onMisfit: "
            f"fail, or onTypeChange: fail: {what}. Nothing was loaded. Mend the source or the type, or "
            "use quarantine, and run the pipeline again"
        )

    def check_contract(self, flow: Flow) -> None:
        """The rules that the sources' contracts state, as a first validate stage."""
        rules = [
            rule for source in self._driving_sources() for rule in self.work.contracts[source].rules
        ]
        if rules:
            self.validate(flow, Stage("contract", "validate", {"rules": rules}))

    def stage(self, flow: Flow, stage: Stage) -> None:
        """Run one stage of the spec; the flow goes on with what it leaves."""
        if stage.kind == "clean":
            self.clean(flow, stage)
        elif stage.kind == "transform":
            self.transform(flow, stage)
        elif stage.kind == "validate":
            self.validate(flow, stage)
        elif stage.write is not None:
            self.write(flow, stage.name, stage.write)

    def clean(self, flow: Flow, stage: Stage) -> None:
        """Tidy, deduplicate, protect."""
        key = self._pii_key() if stage.options.get("pii") else None
        with watch() as time:
            df = clean(flow.df, stage.options, key, stage.name)
            rows = flow.rows
            if stage.options.get("deduplicate"):
                df = self.cache.keep(df)
                rows = df.count()
        flow.accounts.append(
            StageAccount(
                stage.name,
                "clean",
                flow.rows,
                rows,
                deduplicated=flow.rows - rows,
                seconds=time.seconds,
            )
        )
        flow.df, flow.rows = df, rows
        if flow.deletions is not None:
            flow.deletions = deletions.through_clean(flow.deletions, stage.options, key, stage.name)

    def transform(self, flow: Flow, stage: Stage) -> None:
        """Apply the steps; rows that a cast can't take go to quarantine."""
        done = effects(stage.options)
        changing = bool(done & {"changes"})
        bad = 0
        with watch() as time:
            context = Context(self._tables(), self.config.allow_scripts)
            df = transform(flow.df, stage.options, context, stage.name)
            rows = flow.rows
            if done != {"keeps"}:
                df = self.cache.keep(df)
                if REASON in df.columns:
                    counts = measure(
                        df,
                        all=F.count(F.lit(1)),
                        bad=count_where(F.col(REASON).isNotNull()),
                    )
                    bad, rows = counts["bad"], counts["all"] - counts["bad"]
                    if bad:
                        self.quarantine.write(df.where(F.col(REASON).isNotNull()), stage.name)
                    df = df.where(F.col(REASON).isNull()).drop(REASON)
                else:
                    rows = df.count()
        flow.accounts.append(
            StageAccount(
                stage.name,
                "transform",
                flow.rows,
                rows,
                cardinality="changing" if changing else "preserving",
                quarantined=bad,
                filtered=0 if changing else flow.rows - rows - bad,
                seconds=time.seconds,
            )
        )
        flow.df, flow.rows = df, rows
        if flow.deletions is not None:
            flow.deletions = deletions.through_transform(flow.deletions, stage.options, stage.name)
        flow.quarantined += bad
        self.quarantine.replayable = self.quarantine.replayable and not changing

    def validate(self, flow: Flow, stage: Stage) -> None:
        """Measure the rules in one pass; what becomes of failures is ``onFailure``."""
        policy = stage.options.get("onFailure") or "quarantine"
        bad = 0
        with watch() as time:
            evaluation = evaluate(flow.df, stage.options["rules"], stage.name)
            flow.quality += evaluation.results
            df = flow.df
            if not evaluation.passed:
                if policy == "fail":
                    raise QualityFailed(self._failed_message(stage.name, evaluation.results))
                flow.quality_failed = True
            if evaluation.broken and policy == "quarantine":
                flagged = self.cache.keep(flag(evaluation))
                bad = measure(flagged, bad=count_where(F.col(REASON).isNotNull()))["bad"]
                if bad:
                    self.quarantine.write(flagged.where(F.col(REASON).isNotNull()), stage.name)
                df = flagged.where(F.col(REASON).isNull()).drop(REASON)
        flow.accounts.append(
            StageAccount(
                stage.name,
                "validate",
                flow.rows,
                flow.rows - bad,
                quarantined=bad,
                seconds=time.seconds,
            )
        )
        flow.df, flow.rows = df, flow.rows - bad
        flow.quarantined += bad

    @staticmethod
    def _failed_message(stage: str, results: Sequence[QualityResult]) -> str:
        failed = [f"{item.rule} ({item.value})" for item in results if not item.passed]
        return (
            f"stage {stage}: {len(failed)} of {len(results)} rules do not hold: "
            f"{'; '.join(failed)}. Nothing was loaded; mend the data or the rules, or use "
            "onFailure: quarantine"
        )

    def write(self, flow: Flow, name: str, to: Destination) -> Written:
        """Write the rows as they are now to a zone and register its partitions."""
        require_balance(flow.accounts)
        with watch() as time:
            flow.df = storable(flow.df)
            written = write_output(flow.df, flow.rows, to, self.commit)
            fields = output_fields(flow.df.schema, self.work.contracts)
            register_partitions(to, self.config.glue_database, written.partitions, fields)
        flow.accounts.append(
            StageAccount(name, "write", flow.rows, written.rows, seconds=time.seconds)
        )
        require_balance(flow.accounts)
        return written

    def write_deletions(self, flow: Flow) -> Written:
        """Write the deletions where the warehouse's loads find them."""
        gone = self.gone(flow) if deletions.loads_obey(self.config) else None
        if gone is None:
            return Written(())
        place = deletions.place(self.config.processed)
        return write_output(gone, flow.deleted, place, replace(self.commit, bytes=0))

    def gone(self, flow: Flow) -> DataFrame | None:
        """The deletions in the rows' columns; None where no target obeys any.

        Raises
        ------
        DeletionsLost
            One has lost its key.
        """
        if flow.deletions is None or self.obeyed is None:
            return None
        df = deletions.checked(storable(flow.deletions), flow.deleted, self.obeyed)
        names = [column(name) for name in data_columns(flow.df)]
        carried = [F.col(name) for name in CARRIED if name in df.columns]
        return df.select(*names, *carried)

    def process(self, flow: Flow) -> Written:
        """Write the rows to the processed zone: as files, or into the Iceberg table.

        The table's rows are files as well where a warehouse is to load them.
        """
        to = self.config.processed
        if to.iceberg is None:
            return self.write(flow, PROCESSED, to)
        flow.df = self.cache.keep(storable(flow.df))
        written = Written(())
        if any(stage.load for stage in self.config.stages):
            written = self.write(flow, PROCESSED, to.run_files)
        obeys = to.iceberg.takes_deletions
        gone = self.gone(flow) if obeys else None
        if flow.rows or gone is not None:
            flow.accounts.append(
                write_table(
                    Staged(flow.df, flow.rows, gone, flow.deleted if obeys else None),
                    to,
                    self.config.glue_database,
                    self.commit,
                    output_fields(flow.df.schema, self.work.contracts),
                    self._keep_from(),
                )
            )
            require_balance(flow.accounts)
        return written

    def _keep_from(self) -> int:
        """First landing that a replace keeps: of the one source that drives the pipeline."""
        primary = [item.source for item in self.config.inputs if item.primary]
        if len(primary) != 1:
            return 0
        return self.work.plan.extraction_starts.get(primary[0], 0)

    def finish(self, flow: Flow, written: Written, gone: Written) -> RunResult:
        """Write the result: from then on the run's files exist."""
        fields = output_fields(flow.df.schema, self.work.contracts)
        sequences: dict[str, int] = {}
        for item in self.work.manifests:
            sequences[item.source] = max(item.age, sequences.get(item.source, 0))
        plan = self.work.plan
        result = RunResult(
            plan.run,
            plan.attempt,
            tuple(flow.accounts),
            written.files,
            (*[item.name for item in fields], "_weir_run", "_weir_sequence"),
            (*[item.type or "string" for item in fields], "string", "integer"),
            self.quarantine.uri if flow.quarantined else None,
            tuple(flow.quality),
            flow.quality_failed,
            sequences,
            dict(self.quarantine.reasons.most_common(MAX_REASONS)),
            gone.files,
            flow.rows if self.config.processed.iceberg else 0,
        )
        bucket, key = split_uri(plan.result_uri)
        boto3.client("s3").put_object(
            Bucket=bucket, Key=key, Body=dumps(result).encode(), ContentType="application/json"
        )
        return result

    def _tables(self) -> dict[str, DataFrame]:
        """The sources that do not drive the run, as they are now, by their input's name."""
        return {
            item.name: self._joined(item.source)
            for item in self.config.inputs
            if item.source not in self._driving_sources()
        }

    def _joined(self, source: str) -> DataFrame:
        """All landings of a source with keys, its latest row each; else the last landing run."""
        manifests: Sequence[Manifest] = landed_manifests(self.config.raw_bucket, source)
        contract = self.work.contracts[source]
        if not contract.resolved:
            item = next(item for item in self.config.inputs if item.source == source)
            contract = resolve_contract(self.config, item, manifests)
        if not contract.keys and manifests:
            manifests = [item for item in manifests if item.run == manifests[-1].run]
        mapped = map_records(read_records(self.spark, manifests), contract)
        fit = mapped.where(F.col(REASON).isNull()).drop(REASON, STAGE)
        return self.cache.keep(without_carried(deletions.only_rows(fit, contract.keys)))

    def _pii_key(self) -> bytes | None:
        secret = self.config.pii_key_secret
        if secret is None:
            return None
        answer = boto3.client("secretsmanager").get_secret_value(SecretId=secret)
        key: bytes = answer.get("SecretBinary") or answer.get("SecretString", "").encode()
        if len(key) < 16:
            raise KeyUnreadable(
                f"secret {secret} holds a key of {len(key)} bytes for hashing; at least 16 are "
                "needed, 32 random ones are good"
            )
        return key


def output_fields(schema: StructType, contracts: Mapping[str, RowContract]) -> list[Field]:
    """The columns of an output with their type expressions.

    The contract's own field is kept where its values still have its type (so that ``json`` and
    ``timestamptz``, which Spark knows as text and timestamp, are not lost).
    """
    known = {item.name: item for contract in contracts.values() for item in contract.fields}
    found = []
    for item in schema.fields:
        if item.name.startswith("_weir_"):
            continue
        declared = known.get(item.name)
        simple = item.dataType.simpleString()
        if declared is not None and spark_type(declared) == simple:
            found.append(declared)
        else:
            found.append(Field(item.name, item.name, _type_of(item.dataType)))
    return found


_TYPES = {
    "string": "string",
    "bigint": "integer",
    "int": "integer",
    "smallint": "integer",
    "tinyint": "integer",
    "double": "number",
    "float": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "binary": "binary",
}
"""Spark type -> type expression."""


def _type_of(kind: DataType) -> str:
    if isinstance(kind, DecimalType):
        return f"decimal({kind.precision},{kind.scale})"
    return _TYPES.get(kind.simpleString(), "json")


def storable(df: DataFrame) -> DataFrame:
    """Columns as Redshift's COPY can take them: whole numbers as BIGINT, nested ones as JSON."""
    out = []
    for item in df.schema.fields:
        kind = _type_of(item.dataType)
        simple = item.dataType.simpleString()
        value = column(item.name)
        if kind == "integer" and simple != "bigint":
            value = value.cast("bigint").alias(item.name)
        elif kind == "number" and simple != "double":
            value = value.cast("double").alias(item.name)
        elif kind == "json":
            value = F.to_json(value).alias(item.name)
        out.append(value)
    return df.select(*out)
