"""Landed Parquet is read as the records that it holds."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from weir_glue.common.records import READERS

pytestmark = pytest.mark.spark


def records(spark: SparkSession, tmp_path: Path, table: pa.Table) -> list[Any]:
    """Each row of a Parquet file as its record."""
    file = tmp_path / "part-00000.parquet"
    pq.write_table(table, file)
    rows = READERS["parquet"](spark, [f"file://{file}"]).collect()
    assert all(row["_path"].endswith("part-00000.parquet") for row in rows)
    return [json.loads(row["value"]) for row in rows]


def test_texts_stay_texts_and_null_is_left_out(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table({"id": ["001", "2"], "a.b": ['x"y', None]})
    assert records(spark, tmp_path, table) == [{"id": "001", "a.b": 'x"y'}, {"id": "2"}]


def test_typed_values_keep_every_digit(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table(
        {
            "big": pa.array([2**63 - 1], pa.int64()),
            "price": pa.array(
                [Decimal("12345678901234567890123456.1234567890")], pa.decimal128(38, 10)
            ),
            "at": pa.array(
                [dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC)], pa.timestamp("us", "UTC")
            ),
            "local": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, 6)], pa.timestamp("us")),
            "day": pa.array([dt.date(2026, 1, 2)], pa.date32()),
            "raw": pa.array([b"\0\xff"], pa.binary()),
            "tags": pa.array([[{"k": 1}]], pa.list_(pa.struct([("k", pa.int32())]))),
        }
    )
    assert records(spark, tmp_path, table) == [
        {
            "big": 2**63 - 1,
            "price": "12345678901234567890123456.1234567890",
            "at": "2026-01-02T03:04:05.000006Z",
            "local": "2026-01-02T03:04:05.000006",
            "day": "2026-01-02",
            "raw": "AP8=",
            "tags": [{"k": 1}],
        }
    ]


@pytest.mark.parametrize("int96", [False, True])
def test_moments_of_any_year_are_read_as_others_have_written_them(
    spark: SparkSession, tmp_path: Path, int96: bool
) -> None:
    far = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 123456)]
    table = pa.table(
        {
            "at": pa.array(far, pa.timestamp("us", "UTC")),
            "day": pa.array([one.date() for one in far], pa.date32()),
        }
    )
    file = tmp_path / "part-00000.parquet"
    pq.write_table(table, file, use_deprecated_int96_timestamps=int96)
    rows = READERS["parquet"](spark, [f"file://{file}"]).collect()
    assert [json.loads(row["value"]) for row in rows] == [
        {"at": "0001-01-01T00:00:00.000000Z", "day": "0001-01-01"},
        {"at": "9999-12-31T23:59:59.123456Z", "day": "9999-12-31"},
    ]
