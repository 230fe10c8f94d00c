"""One local Spark session for the room, and rows as the landing gives them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from weir_glue.common.columns import CARRIED
from weir_glue.common.session import configure
from weir_local.aws import sparkjars
from weir_local.aws.sparkjobs import JVM_OPTIONS

ICEBERG = {
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.catalog.glue_catalog": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.glue_catalog.type": "hadoop",
    "spark.sql.catalog.glue_catalog.cache-enabled": "false",
}
"""The name that a job has for the Glue catalog, here for one in a directory."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    list(sparkjars.warm())
    iceberg = [jar for jar in sparkjars.jars() if "org.apache.iceberg" in jar.name]
    builder = SparkSession.builder
    for name, value in ICEBERG.items():
        builder = builder.config(name, value)
    warehouse = tmp_path_factory.mktemp("iceberg")
    session = (
        builder.master("local[2]")
        .config("spark.sql.catalog.glue_catalog.warehouse", f"file:{warehouse}")
        .config("spark.driver.extraClassPath", ":".join(str(jar) for jar in iceberg))
        .appName("weir tests")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.default.parallelism", "2")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", JVM_OPTIONS)
        .config("spark.sql.adaptive.enabled", "false")
        .getOrCreate()
    )
    configure(session)
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


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
