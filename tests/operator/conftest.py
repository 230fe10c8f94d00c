"""The rig of the rooms that reconcile: see rig.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rig import Rig, operators_local_aws, ready_rig

from builds import empty_build
from weir_local.aws.server import LocalAws
from weir_local.cluster import ControlPlane


@pytest.fixture(scope="module")
def operators_aws(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LocalAws, dict[str, Any]]]:
    """A local AWS where the operator may do what docs/iam says, and what bootstrap wrote down."""
    with operators_local_aws(tmp_path_factory.mktemp("operators-aws")) as found:
        yield found


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build's folder: the code does nothing, but is there."""
    return empty_build(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def rig(
    cluster: ControlPlane,
    kube_namespace: str,
    operators_aws: tuple[LocalAws, dict[str, Any]],
    artifacts: Path,
) -> Iterator[Rig]:
    """The engine with one Platform that is ready."""
    with ready_rig(cluster, kube_namespace, operators_aws, artifacts) as found:
        yield found
