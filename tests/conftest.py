"""What the rooms share: one real API server and one local AWS for the whole session."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from kubernetes import client, config

from confluent_registry import Registry
from weir_local.cluster import ControlPlane, run
from weir_local.kafka import Broker, warm

if TYPE_CHECKING:
    # Rooms without Spark do not wait for its import.
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[1]

# A busy machine makes no property false: how long an example takes is for benchmarks to say.
settings.register_profile("weir", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("weir")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real control plane with Weir's CRDs, one for the session."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"), environ=os.environ)
    plane.start()
    try:
        plane.wait_ready()
        run(plane, "kubectl", "apply", "--server-side", "-f", str(ROOT / "crds"))
        run(
            plane, "kubectl", "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"
        )
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One local Spark for the session."""
    from spark_session import spark_session

    with spark_session(tmp_path_factory.mktemp("iceberg")) as session:
        yield session


@pytest.fixture(scope="session")
def kube_api(cluster: ControlPlane) -> client.ApiClient:
    """A client of the API server, as its administrator."""
    return config.new_client_from_config(str(cluster.kubeconfig))


@pytest.fixture(scope="module")
def kube_namespace(kube_api: client.ApiClient) -> Iterator[str]:
    """A fresh namespace for the module."""
    core = client.CoreV1Api(kube_api)
    name = f"test-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """An Apache Kafka broker, one for the session; tests make topics of their own."""
    list(warm())
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def confluent_registry() -> Iterator[Registry]:
    """An empty schema registry with Confluent's API."""
    with Registry() as registry:
        yield registry
