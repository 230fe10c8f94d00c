from __future__ import annotations

import time
import uuid

import pytest

from weir.kube.client import Kube, KubeError, Stale, load_config
from weir.kube.events import Events
from weir.kube.keys import FINALIZER, PLURALS, Key

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def kube(cluster) -> Kube:
    return Kube(load_config(str(cluster.kubeconfig)))


def schema(namespace: str) -> dict:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSchema",
        "metadata": {"name": f"s-{uuid.uuid4().hex[:6]}", "namespace": namespace},
        "spec": {"type": "json", "mapping": {"a": "b"}},
    }


def run(namespace: str) -> dict:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "PipelineRun",
        "metadata": {"name": f"r-{uuid.uuid4().hex[:6]}", "namespace": namespace},
        "spec": {"pipeline": "p", "now": {}},
    }


def test_an_object_is_created_listed_and_deleted(kube, kube_namespace):
    made = kube.create(schema(kube_namespace))
    key = Key.of(made)
    assert kube.get(key)["metadata"]["uid"] == made["metadata"]["uid"]
    assert key in [Key.of(one) for one in kube.all_of("DataSchema", kube_namespace)]
    kube.delete(made)
    assert kube.get(key) is None
    kube.delete(made)


def test_a_status_based_on_an_old_object_is_refused(kube, kube_namespace):
    made = kube.create(run(kube_namespace))
    newer = kube.put_status(made, {"started": "2026-01-01T00:00:00Z"})
    assert newer["status"] == {"started": "2026-01-01T00:00:00Z"}
    with pytest.raises(Stale):
        kube.put_status(made, {"started": "2026-02-01T00:00:00Z"})


def test_a_status_that_is_replaced_keeps_nothing_of_the_old_one(kube, kube_namespace):
    made = kube.create(run(kube_namespace))
    made = kube.put_status(made, {"lastRun": {"run": "1", "state": "Failed", "message": "x"}})
    made = kube.put_status(made, {"lastRun": {"run": "2", "state": "Succeeded"}})
    assert kube.get(Key.of(made))["status"]["lastRun"] == {"run": "2", "state": "Succeeded"}


def test_the_finalizer_holds_an_object_until_it_is_taken_off(kube, kube_namespace):
    made = kube.set_finalizers(kube.create(schema(kube_namespace)), [FINALIZER])
    kube.delete(made)
    held = kube.get(Key.of(made))
    assert held["metadata"]["deletionTimestamp"]
    kube.set_finalizers(held, [])
    assert kube.get(Key.of(made)) is None


def test_a_dry_run_gives_defaults_and_stores_nothing(kube, kube_namespace):
    wish = run(kube_namespace)
    assert kube.dry_run(wish)["spec"]["now"] == {"extract": True}
    assert kube.get(Key.of(wish)) is None
    with pytest.raises(KubeError, match="spec"):
        kube.dry_run({**wish, "spec": {"pipeline": "p"}})


def test_every_kind_is_served(kube):
    assert all("v1alpha1" in kube.served_versions(kind) for kind in PLURALS)


def test_an_event_is_told_once_even_after_a_restart(kube, kube_namespace):
    made = kube.create(schema(kube_namespace))
    faults: list[str] = []
    for _ in range(2):
        events = Events(kube, "test", time.time, faults.append)
        events.warn(made, "Conflict", "somebody else has it")
        events.warn(made, "Conflict", "somebody else has it")
    path = f"/apis/events.k8s.io/v1/namespaces/{kube_namespace}/events"
    told = [
        one
        for one in kube.request("GET", path)["items"]
        if one["regarding"]["name"] == made["metadata"]["name"]
    ]
    assert [(one["reason"], one["note"]) for one in told] == [("Conflict", "somebody else has it")]
    assert faults == []
