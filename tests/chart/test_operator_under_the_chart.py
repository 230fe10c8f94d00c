"""The real operator, installed by the chart: under its rights, its probes and its settings."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from weir_local.cluster import ControlPlane, run

pytestmark = pytest.mark.cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "weir"
Kubectl = Callable[..., str]

# Nothing listens there: what the operator says of AWS is not what is tested here.
NO_AWS = "http://127.0.0.1:9"


@pytest.fixture
def operator(
    chart_cluster: ControlPlane, restricted_namespace: str, kubectl: Kubectl, tmp_path: Path
) -> Iterator[str]:
    space = restricted_namespace
    kubectl("-n", space, "create", "secret", "generic", "aws",
            "--from-literal=AWS_ACCESS_KEY_ID=none",
            "--from-literal=AWS_SECRET_ACCESS_KEY=none")  # fmt: skip
    file = tmp_path / "values.json"
    aws = {"endpointUrl": NO_AWS, "region": "us-east-1", "credentialsSecret": "aws"}
    file.write_text(json.dumps({"clusterId": "demo", "aws": aws}))
    run(chart_cluster, "helm", "install", "weir", str(CHART), "--namespace", space, "--wait",
        "--timeout=90s", "--take-ownership", "-f", str(file))  # fmt: skip
    yield space
    run(chart_cluster, "helm", "uninstall", "weir", "--namespace", space, "--no-hooks", "--wait")


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.2)


def container(kubectl: Kubectl, space: str) -> dict[str, Any]:
    pods = json.loads(kubectl("-n", space, "get", "pods", "-o", "json"))["items"]
    return dict(pods[0]["status"]["containerStatuses"][0])


def page(kubectl: Kubectl, space: str, path: str) -> str:
    chosen = kubectl("-n", space, "get", "pods", "-o",
                     r"jsonpath={.items[0].metadata.annotations.podrunner\.weir\.dev/ports}")  # fmt: skip
    url = f"http://127.0.0.1:{chosen.removeprefix('http=')}{path}"
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def test_it_looks_after_objects_with_no_right_missing_and_comes_back_when_killed(
    operator: str, kubectl: Kubectl
) -> None:
    platform = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": f"p-{operator}"},
        "spec": {"region": "us-east-1", "accountId": "000000000000", "endpointUrl": NO_AWS},
    }
    kubectl("apply", "-f", "-", text=json.dumps(platform))

    def ready() -> dict[str, Any] | None:
        status = json.loads(kubectl("get", "platform", f"p-{operator}", "-o", "json")).get("status")
        conditions = {each["type"]: each for each in (status or {}).get("conditions", [])}
        return conditions.get("Ready")

    condition = until(ready)
    assert condition["status"] == "False"
    assert "Unable to locate credentials" not in condition["message"]
    assert "weir_" in page(kubectl, operator, "/metrics")
    # runAsUser and limits are a kubelet's; the process itself is the machine's to end.
    process = container(kubectl, operator)["containerID"].removeprefix("process://")
    os.kill(int(process), signal.SIGKILL)
    until(lambda: (now := container(kubectl, operator))["restartCount"] == 1 and now["ready"])
    kubectl("delete", "platform", f"p-{operator}", "--timeout=60s")
    log = kubectl("-n", operator, "logs", "deploy/weir") + kubectl(
        "-n", operator, "logs", "deploy/weir", "--previous"
    )
    assert '"event": "started"' in log
    assert "forbidden" not in log.lower()
