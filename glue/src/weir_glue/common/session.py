"""The Spark session that every stage expects."""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.variable.substitute": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "snappy",
    # Files that others have written hold dates as every calendar since 1582 counts them; without
    # this Spark stops at the first day before, such as 0001-01-01 where a system knows no date.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.caseSensitive": "false",
}
"""``variable.substitute`` off: ``${env:NAME}`` in SQL would read the job's environment."""


def session(name: str) -> SparkSession:
    """The process's session, made if there is none, with Weir's settings.

    Python workers run under this interpreter unless ``PYSPARK_PYTHON`` says otherwise.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = SparkSession.builder.appName(name).getOrCreate()
    configure(spark)
    return spark


def configure(spark: SparkSession) -> None:
    """Set what results depend on: UTC, casts that give null, exact Parquet timestamps."""
    for key, value in SETTINGS.items():
        spark.conf.set(key, value)
