from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weir_local.cluster import ControlPlane, Image, run, temporary

# The interpreter's own directory: `python` in a container is this environment's.
HERE = Image("*weir*", (str(Path(sys.executable).parent),), {"FROM_IMAGE": "yes"})


@pytest.fixture(scope="session")
def pod_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with temporary(tmp_path_factory.mktemp("cluster"), pods=[HERE]) as cluster:
        yield cluster


@pytest.fixture
def kubectl(pod_cluster: ControlPlane) -> Callable[..., str]:
    """Runs kubectl and gives what it printed."""

    def call(*arguments: str, text: str | None = None) -> str:
        return run(pod_cluster, "kubectl", *arguments, text=text).stdout.strip()

    return call


@pytest.fixture
def namespace(kubectl: Callable[..., str]) -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    for _ in range(100):
        if kubectl("-n", name, "get", "sa", "default", "--ignore-not-found"):
            break
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
