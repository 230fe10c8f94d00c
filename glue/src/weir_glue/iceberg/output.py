"""A run's rows into an Iceberg table, and how many of them became what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from weir_contract.pipelines import Destination
from weir_contract.rows import Field
from weir_contract.runs import StageAccount
from weir_glue.common.account import watch
from weir_glue.common.columns import LANDED, RUN, SEQUENCE
from weir_glue.common.errors import OutputRefused
from weir_glue.common.output import TARGET_BYTES, Commit
from weir_glue.iceberg.commit import Counts, typed, write
from weir_glue.iceberg.shape import MARK, own
from weir_glue.iceberg.table import Table, prepare, recover, table_of
from weir_glue.iceberg.upkeep import keep_up

STAGE = "table"
"""The account's name of what the table took."""


@dataclass(frozen=True)
class Staged:
    """What a run has for a table: rows and, where the table obeys them, deletions of rows.

    Frames have the user's columns and those of ``CARRIED`` that are left. They are read several
    times: kept ones are computed once.
    """

    rows: DataFrame
    count: int
    gone: DataFrame | None = None
    deletions: int | None = None
    """How many ``gone`` are; None where the table obeys none."""


def write_table(
    staged: Staged,
    to: Destination,
    database: str,
    commit: Commit,
    fields: Sequence[Field],
    keep_from: int,
) -> StageAccount:
    """Write rows into a destination's table and look after the table.

    Parameters
    ----------
    staged
        One row or deletion at least.
    fields
        The user's columns with their types.
    keep_from
        For ``replace``: the first landing that is no older picture.

    Raises
    ------
    JobError
        Why the table can't take the rows; it is as it was.
    """
    with watch() as time:
        table = table_of(staged.rows.sparkSession, database, to)
        if table.options.takes_deletions and table.options.mode != "merge":
            raise OutputRefused(
                f"table {table.name}: deletes: {table.options.deletes} needs mode merge with keys, "
                f"not {table.options.mode}"
            )
        recover(table)
        prepare(table, to, fields)
        rows = columns_of(staged.rows, table, commit, fields)
        if staged.gone is not None:
            rows = rows.unionByName(columns_of(staged.gone, table, commit, fields, deleted=True))
        if to.iceberg is not None and to.iceberg.mode != "merge" and not to.partition_by:
            # A merge and a write into partitions shuffle by themselves; else each task is a file.
            rows = rows.repartition(max(1, math.ceil(commit.bytes / TARGET_BYTES)))
        counts = write(table, rows, commit.run, keep_from)
        keep_up(table)
    return account(counts, staged.count, staged.deletions, time.seconds)


def columns_of(
    df: DataFrame, table: Table, commit: Commit, fields: Sequence[Field], deleted: bool = False
) -> DataFrame:
    """The rows as the table's columns: lower case, in its types, Weir's own at the end.

    ``deleted`` rows are deletions of rows, and marked as such.
    """
    carried: Mapping[str, object] = {
        RUN: commit.run,
        SEQUENCE: commit.sequence,
        LANDED: commit.landed,
        MARK: datetime.now(UTC) if deleted else None,
    }
    mine = own(table.options)
    values = {}
    for name, kind in mine.items():
        value = F.lit(carried[name]).cast(kind)
        values[name] = F.coalesce(F.col(name), value) if name in df.columns else value
    whole = df.withColumns(values)
    types = table.columns()
    names = {item.name: item.name.lower() for item in fields} | {name: name for name in mine}
    return typed(whole, [(mine, name, types[name]) for mine, name in names.items()])


def account(counts: Counts, rows: int, deletions: int | None, seconds: float) -> StageAccount:
    """The account of a table, as that of a load into the warehouse is."""
    return StageAccount(
        STAGE,
        "load",
        rows,
        rows,
        deduplicated=counts.deduplicated,
        inserted=counts.inserted,
        updated=counts.updated,
        stale=counts.stale,
        deleted=counts.deleted,
        deletions=deletions,
        seconds=seconds,
    )
