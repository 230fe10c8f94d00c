"""The real operator, installed by the chart: under its rights, its probes and its settings."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_SECONDS, until
from weir_local.cluster import ControlPlane, run

pytestmark = pytest.mark.cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "weir"
Kubectl = Callable[..., str]
TIMEOUT = f"--timeout={PATIENCE_SECONDS:.0f}s"

# Nothing listens there: what the operator says of AWS is not what is tested here.
NO_AWS = "http://127.0.0.1:9"


@pytest.fixture(params=[1])
def operator(
    request: pytest.FixtureRequest,
    chart_cluster: ControlPlane,
    restricted_namespace: str,
    kubectl: Kubectl,
    tmp_path: Path,
) -> Iterator[str]:
    """The namespace of a release with as many replicas as the test asks for."""
    space = restricted_namespace
    kubectl("-n", space, "create", "secret", "generic", "aws",
            "--from-literal=AWS_ACCESS_KEY_ID=none",
            "--from-literal=AWS_SECRET_ACCESS_KEY=none")  # fmt: skip
    file = tmp_path / "values.json"
    aws = {"endpointUrl": NO_AWS, "region": "us-east-1", "credentialsSecret": "aws"}
    file.write_text(json.dumps({"clusterId": "demo", "aws": aws, "replicas": request.param}))
    run(chart_cluster, "helm", "install", "weir", str(CHART), "--namespace", space, "--wait",
        TIMEOUT, "--take-ownership", "-f", str(file))  # fmt: skip
    yield space
    run(chart_cluster, "helm", "uninstall", "weir", "--namespace", space, "--no-hooks", "--wait")


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
    kubectl("delete", "platform", f"p-{operator}", TIMEOUT)
    log = kubectl("-n", operator, "logs", "deploy/weir") + kubectl(
        "-n", operator, "logs", "deploy/weir", "--previous"
    )
    assert '"event": "started"' in log
    assert "forbidden" not in log.lower()


def leases(kubectl: Kubectl, space: str) -> dict[str, str]:
    """Lease -> holder, of those that replicas share."""
    items = json.loads(kubectl("-n", space, "get", "leases", "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: item["spec"].get("holderIdentity", "")
        for item in items
        if ".replica." not in item["metadata"]["name"]
    }


@pytest.mark.parametrize("operator", [2], indirect=True)
def test_a_rolling_update_of_two_replicas_ends_and_leaves_each_lease_with_one_of_the_new(
    operator: str, chart_cluster: ControlPlane, kubectl: Kubectl
) -> None:
    pods = json.loads(kubectl("-n", operator, "get", "pods", "-o", "json"))["items"]
    assert len(pods) == 2
    holders = until(lambda: set(filter(None, leases(kubectl, operator).values())))
    assert len(holders) == 1, "one Lease for objects without a Platform"
    run(chart_cluster, "helm", "upgrade", "weir", str(CHART), "--namespace", operator, "--wait",
        TIMEOUT, "--reuse-values", "--set", "logLevel=debug")  # fmt: skip

    def handed_over() -> bool:
        pods = json.loads(kubectl("-n", operator, "get", "pods", "-o", "json"))["items"]
        living = {
            each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"]
        }
        now = {holder.partition("_")[0] for holder in leases(kubectl, operator).values()}
        return (
            len(living) == 2
            and now <= living
            and not holders & set(leases(kubectl, operator).values())
        )

    until(handed_over)

    def replicas() -> list[str]:
        left = json.loads(kubectl("-n", operator, "get", "leases", "-o", "json"))["items"]
        return [name for item in left if ".replica." in (name := item["metadata"]["name"])]

    # Those that go take their Leases along, at the end of their grace.
    until(lambda: len(replicas()) == 2)
    assert "forbidden" not in kubectl("-n", operator, "logs", "deploy/weir").lower()
