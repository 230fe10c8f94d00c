"""Listings beside the watches, against the real API server: here no watch brings anything."""

from __future__ import annotations

import time
import uuid

import pytest
from prometheus_client import CollectorRegistry

from patience import until
from weir.kube.client import Kube, load_config
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.controller import Controller
from weir.reconcile.metrics import Metrics
from weir.reconcile.oversight import Oversight
from weir.reconcile.services import Result
from weir.reconcile.workers import Workers

pytestmark = pytest.mark.cluster


def schema(namespace: str) -> dict:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSchema",
        "metadata": {"name": f"s-{uuid.uuid4().hex[:6]}", "namespace": namespace},
        "spec": {"type": "json", "mapping": {"a": "b"}},
    }


def cached(kube: Kube, namespace: str) -> set[str]:
    """Names that the API server's cache has: it follows writes with a delay."""
    return {one["metadata"]["name"] for one in kube.metadata_of("DataSchema", namespace)[0]}


def test_a_silent_watch_is_noticed_and_what_it_missed_is_brought(cluster, kube_namespace):
    kube, store = Kube(load_config(str(cluster.kubeconfig))), Store()
    workers = Workers(lambda _key: Result("converged"), Metrics(CollectorRegistry()), 1, time.time)
    controller = Controller(store, workers)
    oversight = Oversight(kube, store, lambda: controller, (kube_namespace,))
    first = kube.create(schema(kube_namespace))
    assert Key.of(first) in oversight.prime()
    oversight.compare()
    assert oversight.fault() == ""

    second = kube.create(schema(kube_namespace))
    until(lambda: second["metadata"]["name"] in cached(kube, kube_namespace))
    oversight.compare()
    assert oversight.fault() == ""
    assert store.get(Key.of(second)) is None
    oversight.compare()
    assert second["metadata"]["name"] in oversight.fault()
    assert store.get(Key.of(second)) is not None
    oversight.heard("DataSchema")
    assert oversight.fault() == ""

    kube.delete(first)
    until(lambda: first["metadata"]["name"] not in cached(kube, kube_namespace))
    oversight.compare()
    assert store.get(Key.of(first)) is None


def test_a_server_that_does_not_answer_is_no_fault_of_the_process_at_first(cluster):
    configuration = load_config(str(cluster.kubeconfig))
    configuration.host = "https://127.0.0.1:9"
    configuration.retries = False
    kube, store, now = Kube(configuration), Store(), [0.0]
    workers = Workers(lambda _key: Result("converged"), Metrics(CollectorRegistry()), 1, time.time)
    controller = Controller(store, workers)
    oversight = Oversight(kube, store, lambda: controller, clock=lambda: now[0])
    oversight.compare()
    assert oversight.unreachable()
    assert oversight.fault() == ""
    now[0] = 301.0
    assert "has not answered" in oversight.fault()
