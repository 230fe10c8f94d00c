"""Rows into an Iceberg table: added, replaced or merged, each run's once and old never over new.

The rules are those of the load into Redshift (``redshift_loader.sql``), so that both targets of a
run say the same. Each write is one snapshot: a reader sees all of a run or nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from weir_contract.pipelines import IcebergTable
from weir_glue.common.account import count_where, measure
from weir_glue.common.columns import RUN, SEQUENCE, column
from weir_glue.common.errors import ColumnMissing, TableRefused
from weir_glue.iceberg.shape import MARK, OWN, quoted
from weir_glue.iceberg.table import Table

RUN_PROPERTY = "weir.run"
"""In a snapshot's summary: the run whose rows it brought."""
APPLICATION = "spark.app.id"
"""In a snapshot's summary, by Iceberg: the Spark application that made it."""
ATTEMPTS = 4
"""Another pass (a backfill beside the live one) may commit first; then this one reads again."""
CONFLICTS = (
    "org.apache.iceberg.exceptions.CommitFailedException",
    "org.apache.iceberg.exceptions.CommitStateUnknownException",
    "org.apache.iceberg.exceptions.ValidationException",
)


@dataclass(frozen=True)
class Counts:
    """What became of a run's rows; ``deleted`` are rows that a replace put others for, or that a
    merge marked."""

    inserted: int = 0
    updated: int = 0
    stale: int = 0
    deleted: int = 0
    deduplicated: int = 0


def write(table: Table, rows: DataFrame, run: str, keep_from: int) -> Counts:
    """Write a run's rows, unless the table has them already.

    Parameters
    ----------
    rows
        The table's columns, or some of them; more than none. It is read several times. Deletions,
        for ``merge``, are among them, with :data:`~weir_glue.iceberg.shape.MARK`.
    keep_from
        For ``replace``: rows of earlier landings are older pictures and are left out.

    Raises
    ------
    TableRefused
        A replace is against its guards; the table is as it was.
    ColumnMissing
        The rows lack a key, or what they are ordered by.
    """
    options = table.options
    for name in (*options.keys, *([options.order_by] if options.order_by else ())):
        if name.lower() not in rows.columns:
            raise ColumnMissing(
                f"table {table.name}: no column {name!r}; there are {', '.join(rows.columns)}"
            )
    work = WRITERS[options.mode]
    for attempt in range(1, ATTEMPTS + 1):
        if wrote(table, run):
            return repeated(table, rows, run)
        try:
            return work(table, rows, run, keep_from)
        except Py4JJavaError as failed:
            if attempt == ATTEMPTS or not conflicting(failed):
                raise
            sys.stderr.write(f"another writer was first, attempt {attempt} of {ATTEMPTS}\n")
            time.sleep(2.0**attempt)
    raise AssertionError("the last attempt returns or raises")


def conflicting(failed: Py4JJavaError) -> bool:
    """Whether a write failed since the table had changed below it, or nobody knows whether it did."""
    cause: Any = failed.java_exception
    while cause is not None:
        if cause.getClass().getName() in CONFLICTS:
            return True
        cause = cause.getCause()
    return False


def wrote(table: Table, run: str) -> bool:
    """Whether a run's rows are in the table, or were: by its rows, and by the snapshots' summaries.

    A merge leaves no summary of its own (Iceberg 1.7.1 takes one from a writer's options alone).
    Where later runs have overwritten all its rows, it is repeated, and finds each of them stale.
    """
    for snapshot in table.load().snapshots():
        if snapshot.summary().get(RUN_PROPERTY) == run:
            return True
    return not table.spark.table(table.sql).where(F.col(RUN) == run).limit(1).isEmpty()


def repeated(table: Table, rows: DataFrame, run: str) -> Counts:
    """What can still be told of a run that wrote before it failed elsewhere."""
    count = rows.count()
    if table.options.mode != "merge":
        fresh = latest(rows, table.options).count() if table.options.mode == "replace" else count
        return Counts(inserted=fresh, deduplicated=count - fresh)
    fresh = latest(rows, table.options).count()
    mine = table.spark.table(table.sql).where(F.col(RUN) == run)
    there = measure(mine, rows=F.count(F.lit(1)), marked=count_where(marked(mine)))
    deleted = min(there["marked"], fresh)
    updated = min(there["rows"] - there["marked"], fresh - deleted)
    return Counts(
        updated=updated,
        stale=fresh - updated - deleted,
        deleted=deleted,
        deduplicated=count - fresh,
    )


def marked(df: DataFrame) -> Column:
    """Whether a row is a deletion, or marked by one."""
    return F.col(MARK).isNotNull() if MARK in df.columns else F.lit(False)


def latest(rows: DataFrame, options: IcebergTable) -> DataFrame:
    """One row a key: the newest by ``order_by``, then by landing, of the same age a deletion; all
    rows where there is no key."""
    if not options.keys:
        return rows
    order = [column(options.order_by).desc_nulls_last()] if options.order_by else []
    window = Window.partitionBy(*[column(key) for key in options.keys]).orderBy(
        *order, F.col(SEQUENCE).desc(), marked(rows).desc()
    )
    ranked = rows.withColumn("_weir_rank", F.row_number().over(window))
    return ranked.where(F.col("_weir_rank") == 1).drop("_weir_rank")


def complete(table: Table, rows: DataFrame) -> DataFrame:
    """The rows with the table's columns in its order; null where the rows have none."""
    return rows.select(
        *[
            column(name) if name in rows.columns else F.lit(None).cast(kind).alias(name)
            for name, kind in table.columns().items()
        ]
    )


def append(table: Table, rows: DataFrame, run: str, _keep_from: int) -> Counts:
    """Add the rows."""
    writer = complete(table, rows).writeTo(table.sql)
    writer.option(f"snapshot-property.{RUN_PROPERTY}", run).append()
    return Counts(inserted=_added(table))


def replace(table: Table, rows: DataFrame, run: str, keep_from: int) -> Counts:
    """Put the rows in the place of all that are there, within the guards."""
    options, base = table.options, table.load().currentSnapshot()
    current = rows.where(F.col(SEQUENCE) >= keep_from)
    fresh = complete(table, latest(current, options))
    found = measure(fresh, rows=F.count(F.lit(1)), newest=F.max(SEQUENCE))
    all_rows, current_rows = rows.count(), current.count()
    deduplicated, outdated = current_rows - found["rows"], all_rows - current_rows
    there = measure(table.spark.table(table.sql), rows=F.count(F.lit(1)), newest=F.max(SEQUENCE))
    if there["rows"] and found["rows"] and found["newest"] < there["newest"]:
        return Counts(stale=outdated + found["rows"], deduplicated=deduplicated)
    least = max(1, options.min_rows)
    if found["rows"] < least or found["rows"] < there["rows"] * (1 - options.max_shrink):
        raise TableRefused(
            f"table {table.name}: replacing {there['rows']} rows by {found['rows']} is against the "
            f"guards: at least minRows = {least}, and no more than maxShrinkPercent = "
            f"{options.max_shrink * 100:g} of the rows may go"
        )
    writer = fresh.writeTo(table.sql).option(f"snapshot-property.{RUN_PROPERTY}", run)
    # What others commit from here on was not compared with, and is a conflict.
    writer = writer.option("isolation-level", "serializable")
    if base is not None:
        writer = writer.option("validate-from-snapshot-id", base.snapshotId())
    writer.overwrite(F.lit(True))
    return Counts(found["rows"], stale=outdated, deleted=there["rows"], deduplicated=deduplicated)


def merge(table: Table, rows: DataFrame, _run: str, _keep_from: int) -> Counts:
    """Update the rows whose keys are there, unless they are older; insert the others.

    A deletion leaves its row's values and marks it, with its own age: an older row that comes later is
    told from a newer one by it. For that it is a row even where there was none.
    """
    options = table.options
    # Spark takes no MERGE whose source holds what may come out otherwise a second time, such as a
    # function of Python: what is written down comes out the same.
    fresh = latest(rows, options).localCheckpoint()
    keys = [key.lower() for key in options.keys]
    same = " AND ".join(f"t.{quoted(key)} <=> s.{quoted(key)}" for key in keys)
    names = [quoted(name) for name in fresh.columns]
    sets = ", ".join(f"t.{name} = s.{name}" for name in names)
    stays = f"({older(options)})"
    matched = f"WHEN MATCHED AND NOT {stays} THEN UPDATE SET {sets}\n"
    if options.takes_deletions:
        aged = [options.order_by.lower()] if options.order_by else []
        marks = ", ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in (*aged, *OWN, MARK))
        matched = (
            f"WHEN MATCHED AND s.{MARK} IS NULL AND NOT {stays} THEN UPDATE SET {sets}\n"
            f"WHEN MATCHED AND s.{MARK} IS NOT NULL AND NOT {stays} THEN UPDATE SET {marks}\n"
        )
    view = f"weir_fresh_{uuid4().hex}"
    before = {snapshot.snapshotId() for snapshot in table.load().snapshots()}
    fresh.createOrReplaceTempView(view)
    try:
        table.spark.sql(
            f"MERGE INTO {table.sql} t USING {view} s ON {same}\n"
            f"{matched}"
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) "
            f"VALUES ({', '.join(f's.{name}' for name in names)})"
        )
    finally:
        table.spark.catalog.dropTempView(view)
    deduplicated = rows.count() - fresh.count()
    return _tally(table, fresh, deduplicated, _parent(table, before))


def older(options: IcebergTable) -> str:
    """SQL that is true where the row ``s`` is older than the row ``t``, and never null."""
    by_landing = f"coalesce(s.{SEQUENCE} < t.{SEQUENCE}, false)"
    if options.takes_deletions:
        undone = f"s.{MARK} IS NULL AND t.{MARK} IS NOT NULL"
        by_landing = f"({by_landing} OR (s.{SEQUENCE} <=> t.{SEQUENCE} AND {undone}))"
    if not options.order_by:
        return by_landing
    mine, theirs = (f"{side}.{quoted(options.order_by.lower())}" for side in "st")
    return (
        f"coalesce({mine} < {theirs}, {mine} IS NULL AND {theirs} IS NOT NULL) "
        f"OR ({mine} <=> {theirs} AND {by_landing})"
    )


def _parent(table: Table, before: set[int]) -> int | None:
    """The snapshot that this application's new one was made upon; None where there was none.

    Where it made none, since nothing changed, that is the current one.
    """
    found = table.load()
    snapshot = current = found.currentSnapshot()
    mine = table.spark.sparkContext.applicationId
    while snapshot is not None:
        new = snapshot.snapshotId() not in before
        parent = snapshot.parentId()
        if new and snapshot.summary().get(APPLICATION) == mine:
            return None if parent is None else int(parent)
        snapshot = None if parent is None else found.snapshot(parent)
    return None if current is None else int(current.snapshotId())


def _tally(table: Table, fresh: DataFrame, deduplicated: int, parent: int | None) -> Counts:
    """What a merge did, by the table as it was before."""
    options = table.options
    keys = [key.lower() for key in options.keys]
    if parent is None:
        gone = fresh.where(marked(fresh)).count()
        return Counts(fresh.count() - gone, stale=gone, deduplicated=deduplicated)
    reader = table.spark.read.format("iceberg").option("snapshot-id", parent)
    before = reader.load(table.sql)
    types = table.columns()
    needed = dict.fromkeys([*keys, SEQUENCE, *([MARK] if options.takes_deletions else [])])
    if options.order_by:
        needed[options.order_by.lower()] = None
    # A snapshot has the columns of its own time.
    target = before.select(
        *[
            column(name) if name in before.columns else F.lit(None).cast(types[name]).alias(name)
            for name in needed
        ]
    ).alias("t")
    same: Column = F.lit(True)
    for key in keys:
        same = same & F.col(f"s.{quoted(key)}").eqNullSafe(F.col(f"t.{quoted(key)}"))
    takes = options.takes_deletions
    there = F.col(f"t.{SEQUENCE}").isNotNull()
    joined = fresh.alias("s").join(target, same, "left")
    # A table that was appended to has several rows of a key: that which the newest is not older than.
    found = joined.groupBy(*[F.col(f"s.{quoted(key)}") for key in keys]).agg(
        F.max(F.col(f"s.{MARK}").isNotNull() if takes else F.lit(False)).alias("gone"),
        F.max(there).alias("there"),
        F.min(F.expr(older(options))).alias("stale"),
        F.max(there & (F.col(f"t.{MARK}").isNull() if takes else F.lit(True))).alias("lived"),
    )
    gone, changed = F.col("gone"), F.col("there") & ~F.col("stale")
    told = measure(
        found,
        rows=F.count(F.lit(1)),
        inserted=count_where(~gone & ~F.col("there")),
        updated=count_where(~gone & changed),
        deleted=count_where(gone & changed & F.col("lived")),
    )
    return Counts(
        told["inserted"],
        told["updated"],
        told["rows"] - told["inserted"] - told["updated"] - told["deleted"],
        told["deleted"],
        deduplicated,
    )


def _added(table: Table) -> int:
    """Rows that this application's last snapshot added, by its summary."""
    found = table.load()
    snapshot = found.currentSnapshot()
    mine = table.spark.sparkContext.applicationId
    while snapshot.summary().get(APPLICATION) != mine:
        snapshot = found.snapshot(snapshot.parentId())
    return int(snapshot.summary().get("added-records") or 0)


WRITERS: dict[str, Callable[[Table, DataFrame, str, int], Counts]] = {
    "append": append,
    "replace": replace,
    "merge": merge,
}
"""Mode -> how it writes."""


def typed(rows: DataFrame, kinds: Sequence[tuple[str, str, str]]) -> DataFrame:
    """Columns with the names and types of the table.

    Parameters
    ----------
    kinds
        The rows' name, the table's name, the type.
    """
    return rows.select(*[column(mine).cast(kind).alias(name) for mine, name, kind in kinds])
