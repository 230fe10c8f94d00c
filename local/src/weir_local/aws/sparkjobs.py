"""Glue job runs are real: pyspark 3.5 runs the script from S3 under the job's role.

Glue Developer Guide, "Using job parameters in AWS Glue jobs", "Job runs"; Glue API, "StartJobRun",
"JobRun", "UpdateJob" (unspecified configuration is reset). The role's session is what the script,
boto3 in it and S3A use, so IAM and KMS decide about each object.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import os
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import botocore.exceptions

from weir_local.aws import runtimes, sparkjars
from weir_local.aws.access import RoleRefused, RoleSession, assume_role
from weir_local.aws.passrole import role_arn
from weir_local.aws.serviceclient import client
from weir_local.aws.wire import Reply, json_error

logger = logging.getLogger("weir.local.aws.glue")

ACTIVE = ("STARTING", "RUNNING", "STOPPING", "WAITING")
STATES = threading.Lock()
"""A run that is stopped while its driver starts stays stopped."""
LOG_EVENTS = 1000
LOG_SECONDS = 1.0
LAST_LINES_SECONDS = 10.0
"""How long the last lines of a run may take on their way to CloudWatch Logs."""

JOB_FIELDS: dict[str, Any] = {
    "Description": "",
    "LogUri": "",
    "Role": "",
    "ExecutionProperty": {"MaxConcurrentRuns": 1},
    "Command": {},
    "DefaultArguments": {},
    "NonOverridableArguments": {},
    "Connections": {},
    "MaxRetries": 0,
    "Timeout": 2880,
    "GlueVersion": "5.0",
    "NumberOfWorkers": 2,
    "WorkerType": "G.1X",
    "SecurityConfiguration": "",
    "NotificationProperty": {},
    "ExecutionClass": "STANDARD",
    "JobMode": "SCRIPT",
}
"""What a job consists of and what it is when it is not given (Glue API, "Jobs")."""

SPARK_CONF = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.s3a.aws.credentials.provider": (
        "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"
    ),
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    "spark.hadoop.fs.s3a.attempts.maximum": "2",
    "spark.hadoop.fs.s3a.retry.limit": "2",
    "spark.hadoop.fs.s3a.change.detection.mode": "none",
    "spark.hadoop.fs.s3a.fast.upload.buffer": "array",
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}
"""Spark as a Glue driver on this machine: two cores, loopback, s3:// on S3A."""

JVM_OPTIONS = (
    "-Xshare:auto -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData "
    "-Djava.net.preferIPv4Stack=true"
)


SPARE = "WEIR_LOCAL_SPARE_DRIVER"
"""The environment variable by which no driver is started ahead of a run: ``0``, where no job will run."""
AT_ONCE = max(2, os.cpu_count() or 2)
"""How many drivers there are at most: a run beyond them waits, as for Glue's capacity."""
RUNS_OF_A_DRIVER = 50
"""After so many runs a driver is ended: what they leave in a JVM is little, but not nothing."""
SOILED = 2
"""The bit of a run's exit code that says that its driver serves no other (``sparkdriver.py``)."""


class Driver:
    """A started driver process that waits for runs.

    :param warm: whether it loads beforehand what every job uses
    """

    def __init__(self, *, warm: bool) -> None:
        self.runs = 0
        state = runtimes.state()
        packages = runtimes.site(state / "glue-packages", runtimes.GLUE)
        python = runtimes.interpreter(state / "glue-python", packages)
        jars = ":".join(str(jar) for jar in sparkjars.jars())
        submit = (
            f"--driver-memory 1g --driver-class-path {jars} "
            f'--driver-java-options "{JVM_OPTIONS}" pyspark-shell'
        )
        keep = {"PATH", "HOME", "LANG", "JAVA_HOME", "TMPDIR", "TZ"}
        environment = {name: value for name, value in os.environ.items() if name in keep}
        environment |= {
            "PYSPARK_SUBMIT_ARGS": submit,
            "PYSPARK_PYTHON": str(python),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(state / "spark"),
            "PYTHONUNBUFFERED": "1",
            "TZ": "UTC",
        }
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        conf = {**SPARK_CONF, "spark.hadoop.fs.s3a.endpoint": endpoint}
        directory = state / "spark" / f"warm-up-{os.urandom(4).hex()}"
        self.process = subprocess.Popen(
            [
                str(python),
                str(Path(__file__).with_name("sparkdriver.py")),
                json.dumps({"conf": conf, "directory": str(directory), "warm": warm}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            cwd=state,
            start_new_session=True,
        )

    def end(self) -> None:
        """End the process and the JVM that it started: they share a session of their own."""
        import signal

        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


class Drivers:
    """Drivers serve one run after the other, and one is started ahead: a run need not wait for a JVM."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.places = threading.Semaphore(AT_ONCE)
        self.free: list[Driver] = []
        self.running: dict[str, Driver] = {}
        self.ended = False

    def prepare(self) -> None:
        """Start a driver ahead of runs, if there is none and that is wanted."""
        if os.environ.get(SPARE) == "0":
            return
        with self.lock:
            if not (self.free or self.running or self.ended) and sparkjars.resolved():
                self.free.append(Driver(warm=True))

    def take(self, run_id: str) -> Driver:
        """A driver for a run, once there is a place for it.

        :raises JarsMissing: Spark's jars were never resolved
        """
        self.places.acquire()
        try:
            with self.lock:
                driver = self._warm() or Driver(warm=False)
                driver.runs += 1
                self.running[run_id] = driver
                return driver
        except BaseException:
            self.places.release()
            raise

    def _warm(self) -> Driver | None:
        """A driver that has been started, if one is free."""
        while self.free:
            driver = self.free.pop()
            if driver.process.poll() is None:
                return driver
            driver.end()
        return None

    def give_back(self, run_id: str) -> None:
        """Have the driver of a run that has ended serve others."""
        with self.lock:
            driver = self.running.pop(run_id, None)
            if driver is None:
                return
            if driver.runs < RUNS_OF_A_DRIVER and not self.ended:
                self.free.append(driver)
            else:
                driver.end()
        self.places.release()

    def stop(self, run_id: str) -> None:
        """End a run's driver, if it still runs."""
        with self.lock:
            driver = self.running.pop(run_id, None)
        if driver is not None:
            driver.end()
            self.places.release()

    def stop_all(self) -> None:
        """End every driver; none is started any more."""
        with self.lock:
            self.ended = True
            left = [*self.running.values(), *self.free]
            self.running, self.free = {}, []
        for driver in left:
            driver.end()


drivers = Drivers()


def fetch(s3: Any, location: str, directory: Path) -> Path:
    """Download an ``s3://`` object under the role that a client has.

    :returns: the file, by its own name in *directory*
    """
    url = urlparse(location)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / Path(url.path).name
    reply = s3.get_object(Bucket=url.netloc, Key=url.path.lstrip("/"))
    target.write_bytes(reply["Body"].read())
    return target


def arguments(job_name: str, run: dict[str, Any]) -> list[str]:
    """``sys.argv[1:]`` of a run: JOB_NAME, JOB_RUN_ID and the run's arguments."""
    found = ["--JOB_NAME", job_name, "--JOB_RUN_ID", run["Id"], "--JOB_ID", job_name]
    for name, value in run["Arguments"].items():
        found += [name, str(value)]
    return found


class LogWriter(threading.Thread):
    """Sends one stream of a run to CloudWatch Logs under the job's role, line by line.

    :param mark: how the line begins after which the stream is the next run's
    :ivar code: the run's exit code, which that line tells; None where the stream ended before it
    """

    def __init__(self, stream: Any, mark: str, group: str, run_id: str, logs: Any) -> None:
        super().__init__(name=f"glue-log-{run_id}", daemon=True)
        self.stream = stream
        self.mark = mark
        self.code: int | None = None
        self.group = group
        self.run_id = run_id
        self.logs = logs
        self.pending: deque[dict[str, Any]] = deque()

    def run(self) -> None:
        """Read until the stream ends; what the role may not write is dropped, as on AWS."""
        try:
            self.open()
            sent = time.monotonic()
            for line in self.lines():
                if line.strip():
                    event = {"timestamp": int(time.time() * 1000), "message": line.rstrip("\n")}
                    self.pending.append(event)
                if len(self.pending) >= LOG_EVENTS or time.monotonic() - sent > LOG_SECONDS:
                    self.flush()
                    sent = time.monotonic()
            self.flush()
        except botocore.exceptions.ClientError as refused:
            logger.warning("no logs of Glue run %s in %s: %s", self.run_id, self.group, refused)
            for _ in self.lines():
                continue

    def lines(self) -> Iterator[str]:
        """The run's lines."""
        for line in self.stream:
            mark, _, code = line.partition(" ")
            if mark == self.mark:
                self.code = int(code)
                return
            yield line

    def open(self) -> None:
        """Make the group and the stream."""
        for make, given in (
            (self.logs.create_log_group, {}),
            (self.logs.create_log_stream, {"logStreamName": self.run_id}),
        ):
            try:
                make(logGroupName=self.group, **given)
            except botocore.exceptions.ClientError as failed:
                if failed.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise

    def flush(self) -> None:
        """Send what is pending."""
        if self.pending:
            self.logs.put_log_events(
                logGroupName=self.group, logStreamName=self.run_id, logEvents=list(self.pending)
            )
            self.pending.clear()


def finish(run: dict[str, Any], state: str, message: str = "") -> None:
    """Write a run's end, unless it was stopped before."""
    now = int(time.time())
    if run["JobRunState"] in ACTIVE:
        run["JobRunState"] = state
        run["ErrorMessage"] = message
    run["CompletedOn"] = run["LastModifiedOn"] = now
    run["ExecutionTime"] = max(1, now - run["StartedOn"])


def execute(job: dict[str, Any], run: dict[str, Any], region: str, account: str) -> None:
    """Run a job's script to its end and write the outcome into *run*.

    :param job: the stored job
    :param run: the stored run
    """
    directory = runtimes.state() / "glue-runs" / run["Id"]
    try:
        session = assume_role(
            role_arn(job["Role"], account),
            "glue.amazonaws.com",
            f"arn:aws:glue:{region}:{account}:job/{job['Name']}",
            region,
            "GlueJobRunnerSession",
            seconds=run["Timeout"] * 60 + 900,
        )
        finish(run, *outcome(job, run, session, region, directory))
    except RoleRefused as refused:
        finish(run, "FAILED", f"Failed to assume role: {refused}")
    except botocore.exceptions.ClientError as refused:
        finish(run, "FAILED", f"LAUNCH ERROR | {refused}")
    except sparkjars.JarsMissing as missing:
        finish(run, "FAILED", f"LAUNCH ERROR | {missing}")
    except Exception as failed:
        logger.exception("Glue run %s of %s could not be run", run["Id"], job["Name"])
        finish(run, "FAILED", f"LAUNCH ERROR | {failed}")
    finally:
        drivers.stop(run["Id"])
        shutil.rmtree(directory, ignore_errors=True)
        drivers.prepare()


def outcome(
    job: dict[str, Any], run: dict[str, Any], session: RoleSession, region: str, directory: Path
) -> tuple[str, str]:
    """Run the script in a driver.

    :returns: the run's final state and ErrorMessage
    """
    s3 = client(session, "s3", region)
    logs = client(session, "logs", region)
    given = run["Arguments"]
    script = fetch(s3, job["Command"]["ScriptLocation"], directory / "script")
    extra = [item.strip() for item in given.get("--extra-py-files", "").split(",")]
    paths = [str(fetch(s3, item, directory / "extra")) for item in extra if item]
    files = [item.strip() for item in given.get("--extra-files", "").split(",")]
    for item in files:
        if item:
            fetch(s3, item, directory / "script")
    if missing := without_formats(given):
        return "FAILED", missing
    driver = drivers.take(run["Id"])
    with STATES:
        stopped = run["JobRunState"] == "STOPPED"
        if not stopped:
            run["JobRunState"] = "RUNNING"
    if stopped:
        drivers.give_back(run["Id"])
        return "STOPPED", ""
    packages = str(runtimes.state() / "glue-packages")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    mark = os.urandom(16).hex()
    request = {
        "mark": mark,
        "script": str(script),
        "arguments": arguments(job["Name"], run),
        "paths": [str(script.parent), *paths],
        "error": str(directory / "error"),
        "environment": {
            **session.environment(),
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "GLUE_VERSION": job.get("GlueVersion") or "5.0",
        },
        "conf": {
            **SPARK_CONF,
            **conf_argument(given.get("--conf", "")),
            "spark.executorEnv.PYTHONPATH": ":".join([*paths, packages]),
            "spark.hadoop.fs.s3a.endpoint": endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": region,
            "spark.hadoop.fs.s3a.access.key": session.access_key,
            "spark.hadoop.fs.s3a.secret.key": session.secret_key,
            "spark.hadoop.fs.s3a.session.token": session.token,
            **sdk_properties(session, region, endpoint),
        },
    }
    process = driver.process
    assert process.stdin is not None
    out, err = (
        LogWriter(process.stdout, mark, "/aws-glue/jobs/output", run["Id"], logs),
        LogWriter(process.stderr, mark, "/aws-glue/jobs/error", run["Id"], logs),
    )
    out.start()
    err.start()
    # A process that has ended has no last line to read: its streams end.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    out.join(run["Timeout"] * 60)
    if out.is_alive():
        drivers.stop(run["Id"])
        return "TIMEOUT", f"Job run exceeded its timeout of {run['Timeout']} minutes"
    err.join(LAST_LINES_SECONDS)
    if out.code is not None and not out.code & SOILED and not err.is_alive():
        drivers.give_back(run["Id"])
    else:
        drivers.stop(run["Id"])
        err.join(LAST_LINES_SECONDS)
    code = process.wait() if out.code is None else out.code & ~SOILED
    error = directory / "error"
    if code == 0:
        return "SUCCEEDED", ""
    return (
        "FAILED",
        error.read_text() if error.exists() else f"Command failed with exit code {code}",
    )


def sdk_properties(session: RoleSession, region: str, endpoint: str) -> dict[str, str]:
    """Java system properties by which AWS's SDK for Java 2, that Iceberg calls, is the job's role.

    AWS SDKs and Tools Reference Guide, "Settings reference".
    """
    return {
        "aws.accessKeyId": session.access_key,
        "aws.secretAccessKey": session.secret_key,
        "aws.sessionToken": session.token,
        "aws.region": region,
        "aws.endpointUrl": endpoint,
    }


def without_formats(given: dict[str, Any]) -> str | None:
    """Why a job does not start: it asks for Iceberg's classes and not for Iceberg.

    AWS Glue Developer Guide, "Using data lake frameworks with AWS Glue ETL jobs".
    """
    formats = {item.strip() for item in given.get("--datalake-formats", "").split(",")}
    for value in conf_argument(given.get("--conf", "")).values():
        if value.startswith("org.apache.iceberg.") and "iceberg" not in formats:
            return f"java.lang.ClassNotFoundException: {value} (--datalake-formats has no iceberg)"
    return None


def conf_argument(text: str) -> dict[str, str]:
    """The settings of a job's ``--conf`` argument: ``a=b --conf c=d``."""
    pairs = (item.strip().partition("=") for item in text.split("--conf"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def start(data: dict[str, Any]) -> Reply:
    """StartJobRun: at most MaxConcurrentRuns at once, then a run in a thread of its own."""
    from ministack.core.responses import get_account_id, get_region, json_response
    from ministack.services import glue

    name = data.get("JobName", "")
    job = glue._jobs.get(name)
    if job is None:
        return json_error(
            "EntityNotFoundException",
            f"Failed to start job run due to missing metadata: job {name}",
        )
    runs = glue._job_runs.setdefault(name, [])
    most = (job.get("ExecutionProperty") or {}).get("MaxConcurrentRuns", 1)
    if sum(run["JobRunState"] in ACTIVE for run in runs) >= most:
        return json_error("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}")
    now = int(time.time())
    run = {
        "Id": f"jr_{os.urandom(32).hex()}",
        "Attempt": 0,
        "JobName": name,
        "StartedOn": now,
        "LastModifiedOn": now,
        "JobRunState": "STARTING",
        "Arguments": {
            **(job.get("DefaultArguments") or {}),
            **(data.get("Arguments") or {}),
            **(job.get("NonOverridableArguments") or {}),
        },
        "PredecessorRuns": [],
        "ExecutionTime": 0,
        "Timeout": data.get("Timeout") or job.get("Timeout") or 2880,
        "WorkerType": data.get("WorkerType") or job.get("WorkerType"),
        "NumberOfWorkers": data.get("NumberOfWorkers") or job.get("NumberOfWorkers"),
        "ExecutionClass": data.get("ExecutionClass") or job.get("ExecutionClass"),
        "LogGroupName": "/aws-glue/jobs",
        "GlueVersion": job.get("GlueVersion"),
    }
    runs.insert(0, run)
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run,
        args=(execute, dict(job), run, get_region(), get_account_id()),
        name=f"glue-{name}",
        daemon=True,
    ).start()
    reply: Reply = json_response({"JobRunId": run["Id"]})
    return reply


def install() -> None:
    """Replace the emulator's stubbed runs, and keep every field of a job."""
    from ministack.services import glue

    create_job, update_job, stop_runs = (
        glue._create_job,
        glue._update_job,
        glue._batch_stop_job_run,
    )

    def create(data: dict[str, Any]) -> Any:
        reply = create_job(data)
        if reply[0] == 200:
            glue._jobs[data["Name"]].update({f: data.get(f, d) for f, d in JOB_FIELDS.items()})
            glue._tags[glue._arn("job", data["Name"])] = dict(data.get("Tags") or {})
            threading.Thread(target=drivers.prepare, daemon=True).start()
        return reply

    def update(data: dict[str, Any]) -> Any:
        reply = update_job(data)
        if reply[0] == 200:
            given = data.get("JobUpdate") or {}
            # Fields that are not given go back to their defaults.
            glue._jobs[data["JobName"]].update({f: given.get(f, d) for f, d in JOB_FIELDS.items()})
        return reply

    def stop(data: dict[str, Any]) -> Any:
        with STATES:
            reply = stop_runs(data)
        for run in glue._job_runs.get(data.get("JobName"), []):
            if run["Id"] in data.get("JobRunIds", []) and run["JobRunState"] == "STOPPED":
                drivers.stop(run["Id"])
        return reply

    glue._create_job = create
    glue._update_job = update
    glue._start_job_run = start
    glue._batch_stop_job_run = stop


def uninstall() -> None:
    """End every driver process."""
    drivers.stop_all()
