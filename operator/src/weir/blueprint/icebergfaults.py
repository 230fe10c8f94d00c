"""Can an Iceberg table be as a destination states it, and do deletions reach it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weir.api.v1alpha1.datasource import Destination, IcebergOptions, RedshiftTarget
from weir.api.v1alpha1.pipeline import Stage
from weir.blueprint import config, deletions
from weir.blueprint.deletions import Fault
from weir_contract.pipelines import IcebergTable
from weir_contract.rows import RowContract

SHORTEST = 3600
"""Seconds that a snapshot is kept, at least."""


def shape_faults(spec: Destination, contract: RowContract) -> Iterator[Fault]:
    """What is wrong with a table's partitions and options, given the columns that reach it."""
    dates = {item.name.lower() for item in contract.fields if item.type == "date"}
    for index, item in enumerate(spec.partition_by):
        part = config.partition_field(item)
        if part.timezone != "UTC":
            yield (
                "InvalidPartition",
                f".partitionBy[{index}]",
                f"Iceberg's hidden partitions are by UTC: write {part.transform}({part.field}), a "
                "query finds its rows by the column, whatever zone it asks in",
            )
        if part.transform == "hour" and (part.field or "").lower() in dates:
            yield (
                "InvalidPartition",
                f".partitionBy[{index}]",
                f"{part.field} is a date, which has no hours: write day({part.field})",
            )
    if spec.iceberg and config.seconds(spec.iceberg.keep_snapshots) < SHORTEST:
        yield (
            "InvalidDuration",
            ".iceberg.keepSnapshots",
            "a query that runs needs its snapshot: keep them for an hour at least",
        )


def mode_faults(
    spec: Destination, first: RedshiftTarget | None, contract: RowContract, incremental: bool
) -> Iterator[Fault]:
    """What is wrong with how a table takes rows and deletions.

    Parameters
    ----------
    first
        The load that it follows where it states nothing.
    contract
        The source's.
    incremental
        Whether a landing holds what is new only.
    """
    options = spec.iceberg or IcebergOptions()
    if options.mode == "replace" and incremental:
        yield (
            "InvalidMode",
            ".iceberg.mode",
            "replace of a source whose landings hold what is new would leave only the newest rows in "
            "the table; use append, or merge with keys",
        )
    like = config.load_like(first, contract, incremental)
    table = config.iceberg_table(options, like)
    stated = options.deletes is not None
    for reason, field, message in deletions.table_faults(table, stated, like, contract):
        yield reason, f".iceberg{field}", message


def stage_faults(stages: Sequence[Stage], table: IcebergTable) -> Iterator[Fault]:
    """What stages do that a deletion can't be followed through to the table."""
    for reason, field, message in deletions.stage_faults(stages, table):
        yield reason, f".iceberg{field}", message
