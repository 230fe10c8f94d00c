"""One local Spark session for all rooms: the JVM that runs keeps the class path it began with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

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


@contextmanager
def spark_session(warehouse: Path) -> Iterator[SparkSession]:
    """Spark with Iceberg, whose catalog is a directory."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    list(sparkjars.warm())
    iceberg = [jar for jar in sparkjars.jars() if "org.apache.iceberg" in jar.name]
    builder = SparkSession.builder
    for name, value in ICEBERG.items():
        builder = builder.config(name, value)
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
    try:
        yield session
    finally:
        session.stop()
