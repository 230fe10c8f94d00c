"""Deletions among the records: taken apart from the rows, and kept for the loads that obey them.

A deletion is no row: nothing filters, checks or counts it as one. It has a key, and the loads'
``orderBy`` where they have one; what else it carries is left alone. What is done to keys (clean,
rename, derive) is done to a deletion's too, so that it finds its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from weir_contract.pipelines import Destination, PipelineConfig
from weir_glue.cleaning.clean import clean
from weir_glue.common.columns import DELETED, PART, REASON, ROW, SEQUENCE, column, find
from weir_glue.common.errors import DeletionsLost
from weir_glue.common.records import latest_rows
from weir_glue.transformation.steps import Context, effects, steps_of, transform

FOLDER = "_weir_deletions/"
"""Below the processed prefix: the deletions' files, which readers of the zone do not see."""
_LAST = "_weir_last"


@dataclass(frozen=True)
class Obeyed:
    """What a pipeline's loads need to know of a deletion: columns' names."""

    keys: tuple[str, ...]
    order_by: str | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every deletion must have."""
        return (*self.keys, *((self.order_by,) if self.order_by else ()))


def obeyed(config: PipelineConfig) -> Obeyed | None:
    """The keys by which the pipeline's loads, and its Iceberg table, obey deletions; None where none
    does.

    Raises
    ------
    DeletionsLost
        Two of them go by different keys.
    """
    targets = [*(stage.load for stage in config.stages), config.processed.iceberg]
    found = {
        Obeyed(target.keys, target.order_by)
        for target in targets
        if target is not None and target.takes_deletions
    }
    if len(found) > 1:
        raise DeletionsLost(
            "loads or tables that obey deletions have different keys or orderBy; give them the "
            "same, or each a pipeline of its own"
        )
    return found.pop() if found else None


def loads_obey(config: PipelineConfig) -> bool:
    """Whether a load into the warehouse obeys deletions, and needs files of them."""
    return any(stage.load is not None and stage.load.takes_deletions for stage in config.stages)


def take(rows: DataFrame, by: Obeyed, where: str) -> DataFrame:
    """The deletions among typed rows, but for those that a row as old as they came after.

    Of the same age are records of one landing whose ``orderBy`` is the same, or that have none;
    there the later one counts. In a load a deletion goes before a row of its age.
    """
    names = find(rows, by.required, where)
    same = Window.partitionBy(*[column(name) for name in names], F.col(SEQUENCE))
    marked = rows.withColumn(_LAST, F.max(F.struct(PART, ROW)).over(same))
    last = F.col(f"{_LAST}.{ROW}") == F.col(ROW)
    last = last & (F.col(f"{_LAST}.{PART}") == F.col(PART))
    return marked.where(F.col(DELETED) & last).drop(_LAST)


def through_clean(
    df: DataFrame, options: Mapping[str, Any], key: bytes | None, where: str
) -> DataFrame:
    """A clean stage over deletions. The load finds the newest of each key."""
    return clean(df, {**options, "deduplicate": None}, key, where)


def through_transform(df: DataFrame, options: Mapping[str, Any], where: str) -> DataFrame:
    """A transform stage over deletions: filters let them pass.

    Raises
    ------
    DeletionsLost
        A step makes other rows of the rows, so that a deletion can't be followed through it.
    """
    if "changes" in effects(options):
        raise DeletionsLost(
            f"stage {where}: deletions can't be followed through a step that makes other rows; "
            "use deletes: ignore, or load what the source has and join there"
        )
    kept = [
        {name: argument for name, argument in step.items() if name != "filter"}
        for step in steps_of(options)
    ]
    return transform(df, [step for step in kept if step], Context(), where).drop(REASON)


def checked(df: DataFrame, rows: int, by: Obeyed) -> DataFrame:
    """The deletions that reach the loads: none has lost its key.

    Raises
    ------
    DeletionsLost
        A stage has emptied a key or the order column.
    """
    complete = F.lit(True)
    for name in find(df, by.required, "deletions"):
        complete = complete & column(name).isNotNull()
    left = df.where(complete).count()
    if left != rows:
        raise DeletionsLost(
            f"{rows - left} of {rows} deletions have lost {' or '.join(by.required)} in a stage; "
            "keep the keys and orderBy as they are"
        )
    return df


def place(processed: Destination) -> Destination:
    """Where deletions are written: below the rows' files."""
    files = processed.run_files if processed.iceberg else processed
    return Destination(files.bucket, f"{files.prefix}{FOLDER}")


def only_rows(df: DataFrame, keys: Sequence[str]) -> DataFrame:
    """The rows without those whose last word is a deletion, and without deletions."""
    if DELETED not in df.columns:
        return latest_rows(df, keys)
    return latest_rows(df, keys).where(~F.col(DELETED)).drop(DELETED)
