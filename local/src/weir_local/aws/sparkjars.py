"""The jars that let Spark read s3://: resolved once into a cache, then used without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "org.apache.hadoop:hadoop-aws:3.3.4"
"""The S3A connector of the Hadoop that pyspark 3.5 ships."""

NEEDED = ("org.apache.hadoop_hadoop-aws-3.3.4.jar", "com.amazonaws_aws-java-sdk-bundle")

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


def warm() -> Iterator[str]:
    """Resolve the jars if they are missing.

    :returns: lines that say what is done
    :raises JarsMissing: the resolution failed
    """
    if not resolved():
        yield f"downloading {PACKAGE} and what it needs (about 275 MB) into {ivy()}"
        arguments = f"--packages {PACKAGE} --conf spark.jars.ivy={ivy()} pyspark-shell"
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE],
            env={**os.environ, "PYSPARK_SUBMIT_ARGS": arguments},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not resolved():
            raise JarsMissing(f"could not resolve {PACKAGE} into {ivy()}:\n{done.stderr[-2000:]}")
    for jar in jars():
        yield f"{jar.name} {jar.stat().st_size / 1e6:.1f} MB"
