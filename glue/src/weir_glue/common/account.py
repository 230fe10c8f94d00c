"""Counting rows without computing them twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_contract.runs import StageAccount, imbalances
from weir_glue.common.errors import AccountDoesNotAddUp


class Cache:
    """Data frames kept while a run needs them: each is computed once, whatever reads it."""

    def __init__(self) -> None:
        self._kept: list[DataFrame] = []

    def keep(self, df: DataFrame) -> DataFrame:
        """The data frame, stored in memory or on disk from its first use on."""
        kept = df.persist(StorageLevel.MEMORY_AND_DISK)
        self._kept.append(kept)
        return kept

    def release(self) -> None:
        """Drop everything that was kept."""
        for df in self._kept:
            df.unpersist()
        self._kept.clear()


def measure(df: DataFrame, **columns: Column) -> dict[str, int]:
    """Aggregates over all rows in one pass; null counts as 0."""
    row = df.agg(
        *[F.coalesce(value, F.lit(0)).alias(key) for key, value in columns.items()]
    ).first()
    return {key: int(row[key]) for key in columns} if row is not None else {}


def count_where(condition: Column) -> Column:
    """How many rows meet a condition (null counts as not); 0 where there are no rows."""
    return F.count(F.when(condition, F.lit(1)))


class Watch:
    """Seconds since a stage started, filled when the ``with`` block ends."""

    seconds: float = 0.0


@contextmanager
def watch() -> Iterator[Watch]:
    """Measure the time of a block in seconds."""
    found, start = Watch(), time.monotonic()
    try:
        yield found
    finally:
        found.seconds = round(time.monotonic() - start, 3)


def require_balance(accounts: Sequence[StageAccount]) -> None:
    """Raise :class:`AccountDoesNotAddUp` with every reason, if rows were lost or doubled."""
    faults = imbalances(tuple(accounts))
    if faults:
        raise AccountDoesNotAddUp("; ".join(faults))
