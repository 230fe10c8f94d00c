"""What keeps an Iceberg table quick and small: old snapshots go, small files become large ones.

Each is bounded, and comes after the commit: where it fails, the run's rows are in the table all the
same, and the next run tries again.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from weir_glue.iceberg.table import CATALOG, Table

SMALL_BYTES = 32 * 1024 * 1024
"""A file below it is worth joining with others of its partition."""
MANY = 32
"""So many small files of one partition are worth a rewrite."""
MOST_BYTES = 20 * 1024**3
"""More than this in small files is not rewritten beside a run: Glue's own compaction is for it."""


def keep_up(table: Table) -> None:
    """Expire what is too old and rewrite what is too small; say on standard error what failed."""
    for work in (compact, expire):
        try:
            work(table)
        except (Py4JJavaError, PySparkException) as failed:
            lines = str(getattr(failed, "java_exception", failed)).strip().splitlines()
            reason = lines[0] if lines else type(failed).__name__
            sys.stderr.write(f"table {table.name}: {work.__name__} left for later: {reason}\n")


def expire(table: Table) -> bool:
    """Drop snapshots that nobody may ask for any more, with the files that only they had."""
    found = table.load()
    limit = datetime.now(UTC) - timedelta(seconds=table.options.keep_seconds)
    before = int(limit.timestamp() * 1000)
    current = found.currentSnapshot()
    old = [
        item
        for item in found.snapshots()
        if item.timestampMillis() < before and item.snapshotId() != current.snapshotId()
    ]
    if not old:
        return False
    _call(
        table,
        "expire_snapshots",
        f"older_than => TIMESTAMP '{limit:%Y-%m-%d %H:%M:%S.%f}'",
        "retain_last => 1",
        "stream_results => true",
    )
    return True


def compact(table: Table) -> bool:
    """Rewrite partitions with many small files."""
    snapshot = table.load().currentSnapshot()
    if snapshot is None or int(snapshot.summary().get("total-data-files") or 0) < MANY:
        return False
    files = table.spark.table(f"{table.sql}.files")
    by = ["partition"] if "partition" in files.columns else []
    small = (
        files.where((F.col("content") == 0) & (F.col("file_size_in_bytes") < SMALL_BYTES))
        .groupBy(*by)
        .agg(F.count(F.lit(1)).alias("files"), F.sum("file_size_in_bytes").alias("bytes"))
        .where(F.col("files") >= MANY)
        .agg(F.sum("bytes").alias("bytes"))
        .first()
    )
    size = small["bytes"] if small is not None else None
    if not size:
        return False
    if size > MOST_BYTES:
        sys.stderr.write(
            f"table {table.name}: {size} bytes are in small files, too many to rewrite beside a "
            "run; turn on the table's compaction in Glue, or rewrite it once by hand\n"
        )
        return False
    options = {
        "min-input-files": str(MANY),
        "max-concurrent-file-group-rewrites": "2",
        "partial-progress.enabled": "true",
        "partial-progress.max-commits": "10",
    }
    pairs = ", ".join(f"'{key}', '{value}'" for key, value in options.items())
    _call(table, "rewrite_data_files", f"options => map({pairs})")
    return True


def _call(table: Table, procedure: str, *arguments: str) -> Any:
    given = ", ".join((f"table => '{table.database}.{table.name}'", *arguments))
    return table.spark.sql(f"CALL {CATALOG}.system.{procedure}({given})").collect()
