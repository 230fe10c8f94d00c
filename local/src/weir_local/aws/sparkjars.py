"""The jars that let Spark read s3:// and write Apache Iceberg tables: resolved once into a cache, then
used without a network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "org.apache.hadoop:hadoop-aws:3.3.4"
"""The S3A connector of the Hadoop that pyspark 3.5 ships."""

ICEBERG = "1.7.1"
"""The Iceberg of Glue 5.0 (AWS Glue Developer Guide, "Using the Iceberg framework in AWS Glue")."""

PACKAGES = (
    PACKAGE,
    f"org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:{ICEBERG}",
    f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG}",
)

NEEDED = (
    "org.apache.hadoop_hadoop-aws-3.3.4.jar",
    "com.amazonaws_aws-java-sdk-bundle",
    f"org.apache.iceberg_iceberg-spark-runtime-3.5_2.12-{ICEBERG}.jar",
    f"org.apache.iceberg_iceberg-aws-bundle-{ICEBERG}.jar",
)

CHECKSUMS = {
    f"org.apache.iceberg_iceberg-spark-runtime-3.5_2.12-{ICEBERG}.jar": (
        "cdf7357865d8d91764e0f147a2d76bc3e1e2b8792ddc0d3be329b3d34aaf218c"
    ),
    f"org.apache.iceberg_iceberg-aws-bundle-{ICEBERG}.jar": (
        "5d7c0baf877ee4296c4f98425165484404af4227fb487f1847a3cb1a577dfc3b"
    ),
}
"""File -> SHA-256 of its content, looked at when it was fetched."""

RESOLVE = """
from pyspark.sql import SparkSession
SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate().stop()
"""


class JarsMissing(Exception):
    """The jars are not in the cache; the message says how to get them."""


def ivy() -> Path:
    """The ivy directory in Weir's cache (WEIR_CACHE, by default ~/.cache/weir)."""
    cache = os.environ.get("WEIR_CACHE") or str(Path.home() / ".cache" / "weir")
    return Path(cache) / "ivy"


def resolved() -> list[Path]:
    """The jars in the cache; empty when one of those needed is missing."""
    found = sorted((ivy() / "jars").glob("*.jar"))
    names = [jar.name for jar in found]
    if all(any(name.startswith(need) for name in names) for need in NEEDED):
        return found
    return []


def jars() -> list[Path]:
    """The jars for Spark's class path.

    :raises JarsMissing: they were never resolved
    """
    found = resolved()
    if not found:
        raise JarsMissing(
            f"Spark's S3 jars are not in {ivy()}: run `python -m weir_local.aws warm` once"
        )
    return found


def verify() -> None:
    """Compare fetched jars with the checksums that are known.

    :raises JarsMissing: one has another content; it is removed
    """
    for name, wanted in CHECKSUMS.items():
        jar = ivy() / "jars" / name
        with jar.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != wanted:
            jar.unlink()
            raise JarsMissing(f"{name}: SHA-256 {found}, not {wanted}; it was removed")


def warm() -> Iterator[str]:
    """Resolve the jars if they are missing.

    :returns: lines that say what is done
    :raises JarsMissing: the resolution failed
    """
    if not resolved():
        packages = ",".join(PACKAGES)
        yield f"downloading {packages} and what they need (about 370 MB) into {ivy()}"
        arguments = f"--packages {packages} --conf spark.jars.ivy={ivy()} pyspark-shell"
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE],
            env={**os.environ, "PYSPARK_SUBMIT_ARGS": arguments},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not resolved():
            raise JarsMissing(f"could not resolve {packages} into {ivy()}:\n{done.stderr[-2000:]}")
        verify()
    for jar in jars():
        yield f"{jar.name} {jar.stat().st_size / 1e6:.1f} MB"
