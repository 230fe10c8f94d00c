"""One row for each key, always the same one."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from weir_glue.common.columns import PART, ROW, SEQUENCE, column, data_columns, find

_RANK, _ALONE = "_weir_rank", "_weir_alone"


def deduplicate(
    df: DataFrame, keys: Sequence[str], keep_latest_by: str | None, where: str = "deduplicate"
) -> DataFrame:
    """Keep for each key the row with the greatest ``keep_latest_by``, ties by landing order.

    Rows with a null in their key can't be told to be the same and are all kept. The choice
    depends on the rows alone: (``keep_latest_by``, sequence, part, place in the part), then the
    row's content where SQL has dropped those.

    Raises
    ------
    ColumnMissing
        A key or ``keep_latest_by`` is no column.
    """
    names = find(df, keys, where)
    order: list[Column] = []
    if keep_latest_by:
        order.append(column(find(df, [keep_latest_by], where)[0]).desc_nulls_last())
    landing = [name for name in (SEQUENCE, PART, ROW) if name in df.columns]
    order += [F.col(name).desc_nulls_last() for name in landing]
    if len(landing) < 3:
        content = F.to_json(F.struct(*[column(name) for name in data_columns(df)]))
        order.append(content.desc())
    incomplete = F.lit(False)
    for name in names:
        incomplete = incomplete | column(name).isNull()
    marked = df.withColumn(
        _ALONE, F.when(incomplete, F.monotonically_increasing_id()).otherwise(F.lit(-1))
    )
    window = Window.partitionBy(*[column(name) for name in names], F.col(_ALONE)).orderBy(*order)
    ranked = marked.withColumn(_RANK, F.row_number().over(window))
    return ranked.where(F.col(_RANK) == 1).drop(_RANK, _ALONE)
