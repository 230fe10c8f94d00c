"""``python -m weir`` as a process: from start to end, against a real API server and local AWS."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from weir.kube.client import Kube, load_config
from weir.kube.conditions import find
from weir.kube.keys import API_VERSION, Key
from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws, free_port
from weir_local.cluster import ControlPlane
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, CLUSTER_ID, REGION, published_policies

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

START_SECONDS = 60
STOP_SECONDS = 10
METRICS = (
    "weir_reconcile_total",
    "weir_reconcile_seconds_bucket",
    "weir_aws_calls_total",
    "weir_aws_call_seconds_bucket",
    "weir_resources",
    "weir_queue_depth",
)


class Process:
    """One operator process."""

    def __init__(self, kubeconfig: Path, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.log = folder / "operator.log"
        variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "WEIR_CLUSTER_ID": CLUSTER_ID,
            "WEIR_ARTIFACTS": str(folder),
            "WEIR_LISTEN": f"127.0.0.1:{self.port}",
            "WEIR_DRIFT_INTERVAL": "5s",
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "weir", "--kubeconfig", str(kubeconfig)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page; 0 where nothing listens yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def stop(self) -> float:
        """SIGTERM; gives the seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait(what: Callable[[], bool], seconds: float = START_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def write_artifacts(folder: Path) -> None:
    index = {}
    for name, file in (
        ("functions", "functions.zip"),
        ("glue", "glue.zip"),
        ("glueScript", "process.py"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo("weir_lambdas/__init__.py"), f"# {name}\n")
        content = buffer.getvalue()
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content)
        code = base64.b64encode(digest.digest()).decode()
        index[name] = {"file": file, "sha256": digest.hexdigest(), "codeSha256": code}
    (folder / "artifacts.json").write_text(json.dumps(index))


@pytest.fixture(scope="module")
def process_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAws, dict]]:
    folder = tmp_path_factory.mktemp("process-aws")
    with LocalAws(folder, region=REGION) as aws:
        policies = published_policies(ACCOUNT, REGION)
        boundary = policies.pop(BOUNDARY_FILE)
        path = bootstrap.bootstrap(aws.endpoint, REGION, folder, policies, {BOUNDARY: boundary})
        yield aws, json.loads(path.read_text())


@pytest.fixture(scope="module")
def kube(cluster: ControlPlane) -> Iterator[Kube]:
    found = Kube(load_config(str(cluster.kubeconfig)))
    yield found
    for kind in ("Pipeline", "DataSource", "Platform"):
        for obj in found.all_of(kind):
            found.set_finalizers(obj, [])
            found.delete(obj)


@pytest.fixture
def operator(
    cluster: ControlPlane, process_aws: tuple[LocalAws, dict], tmp_path: Path
) -> Iterator[Process]:
    write_artifacts(tmp_path)
    made = Process(cluster.kubeconfig, tmp_path, process_aws[1]["operator"])
    yield made
    made.kill()


def ready(kube: Kube, key: Key) -> dict[str, Any]:
    obj = kube.get(key) or {}
    return dict(find(obj.get("status") or {}, "Ready") or {})


def objects(namespace: str, endpoint: str, source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    platform = {
        "apiVersion": API_VERSION,
        "kind": "Platform",
        "metadata": {"name": "process"},
        "spec": {
            "region": REGION,
            "accountId": ACCOUNT,
            "endpointUrl": endpoint,
            "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}",
            "grants": [{"namespaces": {"names": [namespace]}}],
        },
    }
    wanted = {
        "apiVersion": API_VERSION,
        "kind": "DataSource",
        "metadata": {"name": source, "namespace": namespace},
        "spec": {
            "platform": "process",
            "suspend": True,
            "source": {
                "restApi": {"endpoint": "https://api.example.com/rows", "schedule": "rate(1 hour)"}
            },
            "schema": {"fields": [{"name": "id", "type": "integer"}]},
        },
    }
    return platform, wanted


def test_the_process_serves_from_its_start_to_its_end(
    operator: Process,
    process_aws: tuple[LocalAws, dict],
    kube: Kube,
    kube_namespace: str,
    tmp_path: Path,
) -> None:
    aws, found = process_aws
    platform, wanted = objects(kube_namespace, aws.endpoint, "rows")
    for obj in (platform, wanted):
        kube.create(obj)
    assert wait(lambda: operator.page("/readyz")[0] == 200), operator.log.read_text()
    assert operator.page("/healthz")[0] == 200
    key = Key.of(wanted)
    assert wait(lambda: ready(kube, key).get("status") == "True"), kube.get(key)
    assert ready(kube, Key.of(platform))["message"] == "everything is as the spec says"
    text = operator.page("/metrics")[1]
    assert [name for name in METRICS if not re.search(rf"^{name}\b", text, re.M)] == []
    assert operator.page("/nothing")[0] == 404
    log = operator.log.read_text()
    assert found["operator"]["AWS_SECRET_ACCESS_KEY"] not in log
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|Bearer [A-Za-z0-9]", log)
    assert all(json.loads(line)["event"] for line in log.splitlines() if line.startswith("{"))
    assert operator.stop() < STOP_SECONDS
    assert operator.process.returncode == 0
    assert re.search(r'"event": "(stopped|cut off)"', operator.log.read_text())


def test_a_restart_looks_again_and_a_converged_object_is_not_written(
    operator: Process, process_aws: tuple[LocalAws, dict], kube: Kube, kube_namespace: str
) -> None:
    key = Key("DataSource", kube_namespace, "rows")
    before = kube.get(key)
    assert before is not None
    assert wait(lambda: operator.page("/readyz")[0] == 200), operator.log.read_text()
    assert '"object": "' + key.id in operator.log.read_text()
    time.sleep(1)
    after = kube.get(key)
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_it_ends_in_time_where_aws_does_not_answer(
    operator: Process, kube: Kube, kube_namespace: str
) -> None:
    """A listening port that never answers: calls hang until their own time limits."""
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        platform, _ = objects(
            kube_namespace, f"http://127.0.0.1:{silent.getsockname()[1]}", "unused"
        )
        platform["metadata"]["name"] = "silent"
        kube.create(platform)
        assert wait(lambda: operator.page("/metrics")[0] == 200)
        silent.settimeout(START_SECONDS)
        connection, _ = silent.accept()
        with connection:
            assert operator.stop() < STOP_SECONDS
    assert operator.process.returncode == 0
