"""Rows that broke the contract: kept with the reason, in a bucket of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_glue.common.columns import REASON, RECORD, SEQUENCE, SOURCE, column, data_columns

MAX_REASONS = 10
"""Reasons that a run counts: a message is to be read by people."""


@dataclass
class Quarantine:
    """Where a run's quarantined rows go, and how many went for which reason.

    ``reasons`` counts the most frequent ones of each stage. ``replayable`` ends with a stage that
    makes several rows, or others, of one record: landed again, it would bring those once more.
    """

    bucket: str
    pipeline: str
    run: str
    attempt: int
    reasons: Counter[str] = field(default_factory=Counter)
    replayable: bool = True

    @property
    def uri(self) -> str:
        """``s3://bucket/<ns>/<pipeline>/run=<run>/``."""
        return f"s3://{self.bucket}/{self.pipeline}/run={self.run}/"

    def write(self, rows: DataFrame, stage: str) -> None:
        """Write rows that carry a reason, as gzip JSON lines; a retried attempt writes beside it."""
        target = f"{self.uri}attempt={self.attempt}/stage={stage}/"
        to_quarantine(rows, self.run, stage, self.replayable).write.mode("overwrite").option(
            "compression", "gzip"
        ).json(target)
        found = rows.groupBy(F.col(REASON).alias("reason")).agg(F.count(F.lit(1)).alias("rows"))
        for row in found.orderBy(F.desc("rows"), "reason").limit(MAX_REASONS).collect():
            self.reasons[row["reason"]] += row["rows"]


def to_quarantine(rows: DataFrame, run: str, stage: str, replayable: bool = True) -> DataFrame:
    """Quarantine's columns: run, stage, source, sequence, reason, record (the raw text), and
    replayable, whether the record can be landed again.

    Where SQL made rows anew and their raw record is not known, ``record`` is the row as JSON, and
    never replayable.
    """
    names = set(rows.columns)
    known = F.col(RECORD).isNotNull() if RECORD in names else F.lit(False)
    record = F.to_json(F.struct(*[column(name) for name in data_columns(rows)]))
    if RECORD in names:
        record = F.coalesce(F.col(RECORD), record) if data_columns(rows) else F.col(RECORD)
    return rows.select(
        F.lit(run).alias("run"),
        F.lit(stage).alias("stage"),
        _or_null(names, SOURCE, "string").alias("source"),
        _or_null(names, SEQUENCE, "long").alias("sequence"),
        F.col(REASON).alias("reason"),
        record.alias("record"),
        (known & F.lit(replayable)).alias("replayable"),
    )


def _or_null(names: Collection[str], name: str, kind: str) -> Column:
    return F.col(name) if name in names else F.lit(None).cast(kind)
