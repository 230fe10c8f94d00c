"""A process that starts Spark's JVM and runs Glue jobs' scripts with it, one after the other.

Started ahead of time (like a Glue warm pool) it has the JVM up when a run arrives. Each line of its
standard input is a run, as JSON: a process of its own runs the script as ``__main__``, with
a Spark context of its own. What all runs share is the JVM, which takes longer to load Spark's classes
than most scripts take. A run's last line, on both outputs, is its mark and its exit code.
Runs under Glue's packages only, so it imports nothing of Weir.
"""

import contextlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FAILED, SOILED = 1, 2
"""Bits of a run's exit code: its script failed; nobody else may have the JVM any more."""


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


def leave(jvm: Any) -> None:
    """Take out of the JVM what a run left in it: its context, and file systems with its credentials."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        SparkSession.builder.getOrCreate().stop()
    jvm.org.apache.hadoop.fs.FileSystem.closeAll()


@contextlib.contextmanager
def properties(jvm: Any, wanted: dict[str, str]) -> Iterator[None]:
    """Have the JVM's system properties be so for a while."""
    system = jvm.java.lang.System
    before = {name: system.getProperty(name) for name in wanted}
    for name, value in wanted.items():
        system.setProperty(name, value)
    yield
    for name, was in before.items():
        if was is None:
            system.clearProperty(name)
        else:
            system.setProperty(name, was)


def run_script(run: dict[str, Any]) -> int:
    """Run a job's script as ``__main__``; 0 where it ended well, else FAILED."""
    os.environ.update(run["environment"])
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
    return FAILED


def once(request: dict[str, Any]) -> int:
    """What a process of its own does with the JVM that runs.

    :param request: a run, or ``warm`` and what :func:`warm_up` takes
    :returns: SOILED, and FAILED where the script did
    """
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    # Finds the JVM by the environment's PYSPARK_GATEWAY_PORT.
    gateway = SparkContext._gateway = launch_gateway()
    jvm = SparkContext._jvm = gateway.jvm
    code = 0
    try:
        if request.get("warm"):
            warm_up(jvm, request["conf"], request["directory"])
        else:
            with properties(jvm, request["conf"]):
                code = run_script(request)
        leave(jvm)
    except BaseException:  # noqa: BLE001 - the process's edge
        traceback.print_exc()
        return code | SOILED
    return code


def in_a_process(request: dict[str, Any]) -> int:
    """The exit code of :func:`once` in a process that begins as Python does."""
    command = [os.environ["PYSPARK_PYTHON"], __file__]
    done = subprocess.run(command, input=json.dumps(request), text=True, check=False)
    return done.returncode if done.returncode >= 0 else FAILED | SOILED


def end(mark: str, code: int) -> None:
    """Say on both outputs that a run has ended; the line before it may have been left open."""
    for output in (1, 2):
        os.write(output, f"\n{mark} {code}\n".encode())


def serve(settings: dict[str, Any]) -> None:
    """Run what is asked for, until there is no more or the JVM is soiled."""
    from pyspark.java_gateway import launch_gateway

    given = launch_gateway().java_parameters
    os.environ["PYSPARK_GATEWAY_PORT"] = str(given.port)
    os.environ["PYSPARK_GATEWAY_SECRET"] = given.auth_token
    if settings["warm"] and in_a_process(settings):
        return
    for line in sys.stdin:
        run = json.loads(line)
        code = in_a_process(run)
        end(run["mark"], code)
        if code & SOILED:
            return


if __name__ == "__main__":
    exit_code = 0
    if len(sys.argv) > 1:
        serve(json.loads(sys.argv[1]))
    else:
        exit_code = once(json.load(sys.stdin))
    sys.stdout.flush()
    sys.stderr.flush()
    # The JVM ends when its standard input closes; its shutdown need not be waited for.
    os._exit(exit_code)
