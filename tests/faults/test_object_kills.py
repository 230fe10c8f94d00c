"""The operator killed while it builds, edits and takes down a whole installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import ground
from crashing.faults import OBJECT_RULES
from crashing.object_lives import Mortality, ObjectLives
from crashing.workers import Workers
from crashing.world import WorldAws

from builds import empty_build
from weir.aws.session import is_write
from weir.kube.client import Kube, load_config
from weir_local.cluster import ControlPlane
from weir_local.stack import REGION

pytestmark = [pytest.mark.aws, pytest.mark.cluster]


@pytest.fixture(scope="module")
def installation(
    cluster: ControlPlane, kube_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectLives]:
    """A real API server, and a local AWS where the operator may do what docs/iam says."""
    folder = tmp_path_factory.mktemp("object-kills")
    with WorldAws(folder / "aws", region=REGION) as aws:
        found = ground.operators(aws, folder)
        environ = {**found["operator"], "AWS_EC2_METADATA_DISABLED": "true"}
        with Workers(aws, environ, folder / "workers", objects=True) as workers:
            yield ObjectLives(
                aws,
                workers,
                Kube(load_config(str(cluster.kubeconfig))),
                str(cluster.kubeconfig),
                kube_namespace,
                found,
                empty_build(folder / "artifacts"),
            )


def test_killed_at_each_operation_in_turn_it_comes_to_the_same_world(
    installation: ObjectLives,
) -> None:
    stages = installation.stages()
    before = installation.restarts
    for stage, verdict in installation.live(installation.kill_at_each()):
        assert not verdict, f"{stage.name}: {verdict}"
    writes = {(stage.name, one) for stage in stages for one in stage.calls if writing(one)}
    assert installation.restarts - before >= len(writes)


def test_killed_at_its_writes_to_kubernetes_it_comes_to_the_same_world(
    installation: ObjectLives, tmp_path: Path
) -> None:
    mortality = Mortality(tmp_path / "last")
    for stage, verdict in installation.live_mortal(mortality):
        assert not verdict, f"{stage.name}: {verdict}"
    kinds = ("platforms", "datasources", "pipelines")
    assert {f"PUT {kind} status" for kind in kinds} <= set(mortality.met["create"])
    assert "POST pipelines" in mortality.met["create"]
    assert "DELETE pipelines" in mortality.met["delete"]


@pytest.mark.parametrize("fault", OBJECT_RULES)
def test_a_bad_day_of_an_installation_ends_in_the_same_world_and_blames_nobody(
    installation: ObjectLives, fault: str
) -> None:
    for stage, verdict in installation.live(lambda _stage: OBJECT_RULES[fault]()):
        assert not verdict, f"{stage.name}: {verdict}"
    assert [text for text in installation.said if "Stalled" in text or "Conflict" in text] == []


def writing(call: str) -> bool:
    return is_write(call.partition(":")[2])
