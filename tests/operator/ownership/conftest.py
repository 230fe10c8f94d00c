"""One stack for the room: a Platform that is granted to two namespaces of one team and one of another."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import CountingKube, Rig, operators_local_aws, ready_rig

from weir.kube.client import load_config
from weir.kube.keys import Key
from weir_local.cluster import ControlPlane


@pytest.fixture(scope="package")
def rig(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory, artifacts: Path
) -> Iterator[Rig]:
    """The engine with one Platform that is ready; its clocks and grants are the tests' to turn."""
    folder = tmp_path_factory.mktemp("ownership-aws")
    namespace = f"own-{uuid.uuid4().hex[:6]}"
    with operators_local_aws(folder) as stack:
        for name in (namespace, f"{namespace}-b"):
            _namespace(cluster, name)
        with ready_rig(cluster, namespace, stack, artifacts, "owner") as found:
            yield found


def _namespace(cluster: ControlPlane, name: str) -> None:
    kube = CountingKube(load_config(str(cluster.kubeconfig)))
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


@pytest.fixture
def platform(rig: Rig) -> Key:
    """The room's Platform."""
    return Key("Platform", "", rig.platform_name)


@pytest.fixture
def other(rig: Rig) -> str:
    """Another namespace; a test grants it what it needs."""
    return f"{rig.namespace}-b"
