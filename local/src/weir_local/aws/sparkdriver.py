"""The process of one Glue job run: starts Spark's JVM, waits for the job, runs its script.

Started ahead of time (like a Glue warm pool) it has the JVM up when a run arrives. It reads one
line of JSON from its standard input, the run, and runs the script as ``__main__``.
Runs under Glue's packages only, so it imports nothing of Weir.
"""

import contextlib
import json
import os
import runpy
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any


def message(error: BaseException) -> str:
    """A run's ErrorMessage as Glue writes it: the exception's class and text, in one line."""
    java = getattr(error, "java_exception", None)
    text = str(error)
    if java is not None:
        text = f"{text.splitlines()[0]} {java.toString()}"
        while java.getCause() is not None:
            java = java.getCause()
        if java.toString() not in text:
            text += f" Caused by: {java.toString()}"
    return f"{type(error).__name__}: {' '.join(text.split())}"[:2000]


def warm_up(jvm: Any, conf: dict[str, str], directory: str) -> None:
    """Load what every job uses: a session, Parquet both ways, S3A up to its first (refused) call.

    The session is stopped again; the classes stay loaded for the run's own session.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("warm-up")
    for name, value in conf.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    rows = spark.range(8).selectExpr("id", "cast(id as string) as name", "current_date() as day")
    rows.write.mode("overwrite").partitionBy("day").parquet(directory)
    spark.read.parquet(directory).groupBy("name").count().collect()
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    for name in ("access.key", "secret.key", "session.token"):
        settings.set(f"fs.s3a.{name}", "warm-up")
    settings.set("fs.s3a.bucket.probe", "0")
    hadoop = jvm.org.apache.hadoop.fs
    system = hadoop.FileSystem.newInstance(jvm.java.net.URI.create("s3a://warm-up/"), settings)
    # No such credentials: the call is refused, which is all that it is made for.
    with contextlib.suppress(Py4JJavaError):
        system.exists(hadoop.Path("s3a://warm-up/object"))
    system.close()
    spark.stop()
    shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Run one job; the exit code is 0 when its script ended well."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    gateway = launch_gateway()
    SparkContext._gateway = gateway
    SparkContext._jvm = gateway.jvm
    settings = json.loads(sys.argv[1])
    if settings["warm"]:
        warm_up(gateway.jvm, settings["conf"], settings["directory"])
    line = sys.stdin.readline()
    if not line:
        return 0
    run = json.loads(line)
    os.environ.update(run["environment"])
    for name, value in run["conf"].items():
        gateway.jvm.java.lang.System.setProperty(name, value)
    sys.path[:0] = run["paths"]
    sys.argv = [run["script"], *run["arguments"]]
    try:
        runpy.run_path(run["script"], run_name="__main__")
    except SystemExit as left:
        if left.code in (None, 0):
            return 0
        error: BaseException = left
    except Exception as raised:  # noqa: BLE001 - a script may raise anything; it is reported
        error = raised
    else:
        return 0
    traceback.print_exception(error)
    Path(run["error"]).write_text(message(error))
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The JVM ends when its standard input closes; its shutdown need not be waited for.
    os._exit(code)
