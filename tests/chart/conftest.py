from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from weir_local.cluster import ControlPlane, Image, run, temporary, toolchain

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "weir"
HERE = Image("weir:*", (str(Path(sys.executable).parent),))


@pytest.fixture(scope="package")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm where no cluster is needed; the caller looks at the exit code."""
    program = toolchain.programs()["helm"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)

    return call


@pytest.fixture
def render(
    helm: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., list[dict[str, Any]]]:
    """The objects of the chart with these values (dotted names become ``clusterId: demo`` + ...)."""

    def call(**values: Any) -> list[dict[str, Any]]:
        file = tmp_path / "values.json"
        file.write_text(json.dumps({"clusterId": "demo", **values}))
        result = helm("template", "weir", str(CHART), "--namespace", "weir-system", "-f", str(file))
        assert result.returncode == 0, result.stderr
        return [item for item in yaml.safe_load_all(result.stdout) if item]

    return call


@pytest.fixture(scope="package")
def chart_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with temporary(tmp_path_factory.mktemp("chart"), pods=[HERE]) as cluster:
        yield cluster


@pytest.fixture(scope="package")
def kubectl(chart_cluster: ControlPlane) -> Callable[..., str]:
    """Runs kubectl and gives what it printed; an exit code but 0 fails the test."""

    def call(*arguments: str, text: str | None = None) -> str:
        return run(chart_cluster, "kubectl", *arguments, text=text).stdout.strip()

    return call


@contextmanager
def restricted(kubectl: Callable[..., str]) -> Iterator[str]:
    """A namespace that enforces the restricted Pod Security standard."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def restricted_namespace(kubectl: Callable[..., str]) -> Iterator[str]:
    """A namespace of the test's own that enforces the restricted Pod Security standard."""
    with restricted(kubectl) as name:
        yield name


@pytest.fixture(scope="module")
def shared_namespace(kubectl: Callable[..., str]) -> Iterator[str]:
    """One for all tests of a module."""
    with restricted(kubectl) as name:
        yield name
