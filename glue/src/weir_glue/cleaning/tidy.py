"""Values made tidy, row by row: trimmed, and null where a text means null."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from weir_glue.common.columns import column


def tidy(df: DataFrame, trim: bool, null_values: Sequence[str]) -> DataFrame:
    """Trim every text column and turn the given texts into null; rows and types stay.

    White space is what Unicode calls so, as in Java's ``\\s`` with ``UNICODE_CHARACTER_CLASS``.
    """
    out = []
    for item in df.schema.fields:
        value = column(item.name)
        if isinstance(item.dataType, StringType) and not item.name.startswith("_weir_"):
            if trim:
                value = F.regexp_replace(value, r"(?U)^\s+|\s+$", "")
            if null_values:
                value = F.when(~value.isin(*null_values), value)
            value = value.alias(item.name)
        out.append(value)
    return df.select(*out)
