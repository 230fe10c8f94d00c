"""Rows as the landing gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from weir_glue.common.columns import CARRIED


@pytest.fixture(scope="session")
def landed(spark: SparkSession) -> Any:
    """A function from record texts to the raw data frame that ``read_records`` gives."""

    def make(texts: Sequence[str], sequence: int = 1) -> DataFrame:
        rows = [(text, "ns/src", sequence, 0, index) for index, text in enumerate(texts)]
        frame = spark.createDataFrame(
            rows,
            "_weir_record string, _weir_source string, _weir_sequence long, _weir_part int, "
            "_weir_row long",
        )
        return frame.selectExpr("*", "timestamp'2024-03-05 06:07:08' as _weir_landed").select(
            *CARRIED
        )

    return make
