"""A running stack as a test uses it: kubectl, the weir command, AWS, the operator's pod."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from e2e import declared
from weir.cli import app
from weir.kube.client import Kube, load_config
from weir.kube.keys import Key
from weir_local.cluster import ClusterError
from weir_local.stack import NAMESPACE, Stack

Object = dict[str, Any]

POLL_SECONDS = 0.4
RUN_SECONDS = 600
CHANGE_SECONDS = 180
KINDS = {"plat": "Platform", "dsrc": "DataSource", "pipe": "Pipeline", "prun": "PipelineRun"}
"""Short name -> kind."""


def condition(obj: Object | None, kind: str) -> Object:
    """A condition of an object; empty where it has none, or there is no object."""
    found = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def is_true(obj: Object | None, kind: str) -> bool:
    return condition(obj, kind).get("status") == "True"


def is_ready(obj: Object | None) -> bool:
    """Ready, as of the spec that it has now."""
    ready = condition(obj, "Ready")
    return (
        obj is not None
        and ready.get("status") == "True"
        and ready.get("observedGeneration") == obj["metadata"]["generation"]
    )


def is_finished(obj: Object | None) -> bool:
    """Of a PipelineRun: whether it has ended, well or not."""
    return bool(((obj or {}).get("status") or {}).get("finished"))


def last_run(obj: Object | None) -> Object:
    found: Object = ((obj or {}).get("status") or {}).get("lastRun") or {}
    return found


@dataclass
class Running:
    """What tests do with a stack that is up."""

    stack: Stack

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return self.stack.kubectl(*arguments, text=text)

    def apply(self, *objects: Object) -> None:
        body = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", text=json.dumps(body))

    def refused(self, text: str) -> str:
        """What ``kubectl apply`` says to a document that it must refuse."""
        try:
            self.kubectl("apply", "-f", "-", text=text)
        except ClusterError as error:
            return str(error)
        raise AssertionError(f"the API server took it:\n{text}")

    @cached_property
    def kube(self) -> Kube:
        """The API server, as the cluster's administrator: what is asked often starts no kubectl."""
        return Kube(load_config(str(self.stack.cluster.kubeconfig)))

    def get(self, kind: str, name: str) -> Object | None:
        """An object; ``name`` is ``namespace/name`` where the namespace is not ``default``."""
        namespace, _, name = name.rpartition("/")
        return self.kube.get(Key(KINDS[kind], namespace or "default", name))

    def all(self, kind: str) -> list[Object]:
        return list(self.kube.all_of(KINDS[kind]))

    def patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch))

    def look_again(self, kind: str, name: str) -> None:
        """Ask for a fresh look, and wait until it has been had."""
        mark = str(time.time_ns())
        self.kubectl("annotate", kind, name, "--overwrite", f"weir.dev/reconcile-at={mark}")
        self.wait(kind, name, lambda obj: _echoed(obj) == mark)

    def wait(
        self,
        kind: str,
        name: str,
        until: Callable[[Object | None], bool],
        seconds: float = CHANGE_SECONDS,
    ) -> Any:
        """The object once ``until`` holds; None stands for an object that is not there."""
        deadline = time.monotonic() + seconds
        while True:
            obj = self.get(kind, name)
            if until(obj):
                return obj
            if time.monotonic() > deadline:
                status = json.dumps((obj or {}).get("status"), indent=1)
                raise AssertionError(f"{kind} {name} after {seconds:.0f} s: {status}")
            time.sleep(POLL_SECONDS)

    def wait_gone(self, kind: str, name: str, seconds: float = CHANGE_SECONDS) -> None:
        self.wait(kind, name, lambda obj: obj is None, seconds)

    def wait_run(self, kind: str, name: str, after: str = "", state: str = "Succeeded") -> Object:
        """The object once a run other than ``after`` has ended, which must be in ``state``."""

        def ended(obj: Object | None) -> bool:
            run = last_run(obj)
            return run.get("run") != after and run.get("state") in {"Succeeded", "Failed"}

        obj: Object = self.wait(kind, name, ended, RUN_SECONDS)
        assert last_run(obj)["state"] == state, last_run(obj)
        return obj

    def events(self, kind: str, name: str) -> list[tuple[str, str]]:
        """Reason and message of every event of an object."""
        chosen = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = self.kubectl("get", "events", "-A", "--field-selector", chosen, "-o", "json")
        return [(one["reason"], one.get("message", "")) for one in json.loads(found)["items"]]

    def weir(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "weir"), *arguments],
            env=self.stack.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def run(self, pipeline: str) -> Object:
        """``weir run``: the pipeline as it is once the run has succeeded."""
        done = self.weir("run", pipeline)
        assert done.returncode == 0, done.stdout + done.stderr
        obj = self.get("pipe", pipeline)
        assert obj is not None
        return obj

    def backfill(self, name: str, pipeline: str, begin: datetime, end: datetime) -> Object:
        """Ask for a window, whole seconds of both; the PipelineRun once it has ended well."""
        window = {
            key: moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            for key, moment in (("from", begin), ("to", end))
        }
        self.apply(declared.requested(name, pipeline, backfill=window))
        done: Object = self.wait("prun", name, is_finished, RUN_SECONDS)
        assert is_true(done, "Ready"), condition(done, "Ready")
        return done

    def query(self, sql: str) -> list[dict[str, Any]]:
        """``weir query``, in this process: tests ask often."""
        command = ["query", sql, "--output", "json"]
        done = CliRunner().invoke(app, command, env=self.stack.environment())
        assert done.exit_code == 0, done.output
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def aws(self, service: str) -> Any:
        """A client of the person's user."""
        return self.stack.session().client(service)

    def secret(self, name: str, value: str) -> None:
        """Have a secret of namespace default hold a value."""
        manager = self.aws("secretsmanager")
        name = f"weir/default/{name}"
        try:
            manager.create_secret(Name=name, SecretString=value)
        except manager.exceptions.ResourceExistsException:
            manager.put_secret_value(SecretId=name, SecretString=value)

    def grant(self, *arns: str) -> None:
        """Have the Platform grant namespace default what others own."""
        platform = self.get("plat", "default")
        assert platform is not None
        grants = platform["spec"]["grants"]
        known = grants[0]["externalArns"]
        grants[0]["externalArns"] = [*known, *(arn for arn in arns if arn not in known)]
        self.patch("plat", "default", {"spec": {"grants": grants}})

    def bucket(self, zone: str) -> str:
        """The Platform's bucket for a zone."""
        return self.resource("plat", "default", f"bucket-{zone}")["name"]

    def resource(self, kind: str, name: str, logical: str) -> dict[str, str]:
        """A line of ``status.resources``."""
        obj = self.get(kind, name)
        lines = obj["status"]["resources"] if obj else []
        found: dict[str, str] = next(line for line in lines if line["id"] == logical)
        return found

    def keys(self, zone: str, prefix: str) -> list[str]:
        """Keys of a zone's objects."""
        pages = self.aws("s3").get_paginator("list_objects_v2")
        return [
            item["Key"]
            for page in pages.paginate(Bucket=self.bucket(zone), Prefix=prefix)
            for item in page.get("Contents", [])
        ]

    def landed(self, source: str) -> list[dict[str, Any]]:
        """The records of a source's committed manifests, in order."""
        s3, bucket, found = self.aws("s3"), self.bucket("raw"), list[dict[str, Any]]()
        for key in self.keys("raw", f"default/{source}/_manifests/"):
            manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            for part in manifest["parts"]:
                body = s3.get_object(Bucket=bucket, Key=part["key"])["Body"].read()
                found += [json.loads(line) for line in gzip.decompress(body).splitlines()]
        return found

    def kill_workers(self, function: str) -> int:
        """SIGKILL to the processes in which this stack's local AWS runs a function; how many."""
        wanted = {
            f"AWS_LAMBDA_FUNCTION_NAME={function}".encode(),
            f"AWS_ENDPOINT_URL={self.stack.environment()['AWS_ENDPOINT_URL']}".encode(),
        }
        killed = 0
        for environ in Path("/proc").glob("[0-9]*/environ"):
            # Processes end while they are looked through.
            with suppress(OSError):
                if wanted <= set(environ.read_bytes().split(b"\0")):
                    os.kill(int(environ.parent.name), signal.SIGKILL)
                    killed += 1
        return killed

    def pod(self) -> Object:
        """The operator's pod."""
        found = json.loads(self.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
        (pod,) = [one for one in found if not one["metadata"].get("deletionTimestamp")]
        return pod

    def operator_pid(self) -> int | None:
        """The process of the operator's container, by the pod's own status; None while it is down."""
        (container,) = self.pod()["status"]["containerStatuses"]
        kind, _, pid = container.get("containerID", "").partition("://")
        return int(pid) if kind == "process" and "running" in container["state"] else None

    def kill_operator(self) -> int:
        """SIGKILL to the operator's process, and to that alone. Returns its id."""
        pid = self.operator_pid()
        assert pid is not None
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert command[1:3] == [b"-m", b"weir"], command
        os.kill(pid, signal.SIGKILL)
        return pid

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the operator's HTTP server."""
        chosen = self.pod()["metadata"]["annotations"]["podrunner.weir.dev/ports"]
        ports = dict(item.split("=") for item in chosen.split(","))
        try:
            url = f"http://127.0.0.1:{ports['http']}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_operator_ready(self) -> bool:
        try:
            return self.page("/readyz")[0] == 200
        except OSError:
            return False

    def aws_calls(self) -> Counter[str]:
        """AWS calls of the operator since it started, by service and operation."""
        calls: Counter[str] = Counter()
        for family in text_string_to_metric_families(self.page("/metrics")[1]):
            for sample in family.samples:
                if sample.name == "weir_aws_calls_total":
                    labels = sample.labels
                    calls[f"{labels['service']}:{labels['operation']}"] += int(sample.value)
        return calls


def until(holds: Callable[[], bool], what: str, seconds: float = CHANGE_SECONDS) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s: {what}"
        time.sleep(POLL_SECONDS)


def named(events: Iterable[tuple[str, str]], reason: str) -> list[str]:
    """Messages of the events with a reason."""
    return [message for found, message in events if found == reason]


def _echoed(obj: Object | None) -> str | None:
    return ((obj or {}).get("status") or {}).get("reconcileAt")
