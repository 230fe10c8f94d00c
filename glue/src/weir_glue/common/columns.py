"""Columns that Weir carries beside the user's, and how to name a column whatever its spelling."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_glue.common.errors import ColumnMissing

RECORD = "_weir_record"
SOURCE = "_weir_source"
SEQUENCE = "_weir_sequence"
PART = "_weir_part"
ROW = "_weir_row"
LANDED = "_weir_landed"
RUN = "_weir_run"
REASON = "_weir_reason"
STAGE = "_weir_stage"
DELETED = "_weir_deleted"
"""Whether a record is a deletion; there where a contract says how to tell."""

CARRIED = (RECORD, SOURCE, SEQUENCE, PART, ROW, LANDED)
"""What each row knows of its landing: its text, source, manifest sequence, the part's place in the
plan, its place in the part and the landing time (UTC)."""

INTERNAL = frozenset((*CARRIED, RUN, REASON, STAGE, DELETED))


def column(name: str) -> Column:
    """The column of exactly that name; dots, spaces and backticks in it mean nothing special."""
    return F.col("`" + name.replace("`", "``") + "`")


def data_columns(df: DataFrame) -> list[str]:
    """The user's columns, in order."""
    return [name for name in df.columns if not name.startswith("_weir_")]


def carried(df: DataFrame) -> list[str]:
    """Those of :data:`CARRIED` that the rows still have (SQL may have dropped some)."""
    return [name for name in CARRIED if name in df.columns]


def find(df: DataFrame, names: Sequence[str], where: str) -> list[str]:
    """The data frame's spelling of each name, found without regard to case.

    Raises
    ------
    ColumnMissing
        There is no such column; the message names the stage and what there is.
    """
    known = {name.lower(): name for name in data_columns(df)}
    for name in names:
        if name.lower() not in known:
            raise ColumnMissing(
                f"{where}: no column {name!r}; there are {', '.join(known.values()) or 'none'}"
            )
    return [known[name.lower()] for name in names]
