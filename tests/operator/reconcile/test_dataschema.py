"""A DataSchema says of itself what is wrong with it, and who waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from weir.kube.client import Kube, Object, load_config
from weir.kube.keys import API_VERSION, Key
from weir.kube.store import Store
from weir.reconcile.controller import Controller
from weir.reconcile.engine import Reconciler
from weir.reconcile.metrics import Metrics
from weir.reconcile.queue import Lane
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.world import Worlds
from weir_local.cluster import ControlPlane, run

pytestmark = pytest.mark.cluster

SOUND = {"fields": [{"name": "id", "type": "integer"}, {"name": "city", "type": "string"}]}
FOLDED = {"fields": [{"name": "id", "type": "integer"}, {"name": "ID", "type": "string"}]}


@dataclass
class Workers:
    """Notes who is woken."""

    woken: list[Key] = field(default_factory=list)

    def add(self, key: Key, lane: Lane) -> None:
        self.woken.append(key)

    def forget(self, key: Key) -> None:
        """Nothing is kept."""


@dataclass
class Teller:
    said: list[tuple[str, str]] = field(default_factory=list)

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        self.said.append((reason, note))

    say = warn


@dataclass
class Room:
    plane: ControlPlane
    kube: Kube
    services: Services
    controller: Controller
    workers: Workers
    told: Teller
    namespace: str

    def put(self, kind: str, name: str, spec: dict[str, Any]) -> Key:
        key = Key(kind, self.namespace, name)
        there = self.kube.get(key)
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        made = self.kube.replace({**there, "spec": spec}) if there else self.kube.create(body)
        self.controller.seen(made, gone=False)
        return key

    def look(self, key: Key) -> dict[str, Any]:
        """One reconcile; the conditions by type, and the status."""
        Reconciler(self.services).reconcile(key)
        found = self.kube.get(key) or {}
        status = found.get("status") or {}
        conditions = {one["type"]: one for one in status.get("conditions") or []}
        return {**status, "conditions": conditions}


@pytest.fixture
def room(cluster: ControlPlane, kube_namespace: str) -> Iterator[Room]:
    kube = Kube(load_config(str(cluster.kubeconfig)))
    store, told, workers = Store(), Teller(), Workers()
    controller = Controller(store, workers)  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as pool:
        services = Services(
            kube=kube,
            store=store,
            worlds=Worlds(pool, time.monotonic, 600.0),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=told,
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=Options("schemas", ""),
            now=lambda: datetime.now(UTC),
            saved=controller.saved,
        )
        yield Room(cluster, kube, services, controller, workers, told, kube_namespace)
        for kind in ("DataSource", "DataSchema"):
            for obj in kube.all_of(kind, kube_namespace):
                kube.delete(obj)


def source(schema: str) -> dict[str, Any]:
    return {
        "source": {
            "restApi": {"endpoint": "https://api.example.com/x", "schedule": "rate(1 hour)"}
        },
        "schemaRef": {"name": schema},
    }


def test_a_sound_schema_is_ready_and_counts_its_users(room: Room) -> None:
    key = room.put("DataSchema", "city", SOUND)
    assert room.look(key)["conditions"]["Ready"]["message"] == "2 columns, not used yet"
    room.put("DataSource", "b", source("city"))
    room.put("DataSource", "a", source("city"))
    found = room.look(key)
    assert (found["users"], found["usedBy"]) == (2, ["a", "b"])
    ready = found["conditions"]["Ready"]
    assert (ready["status"], ready["message"]) == ("True", "2 columns, used by 2 DataSources")
    assert "Synced" not in found["conditions"]
    assert room.told.said == [("Ready", "2 columns, not used yet")]


def test_an_unsound_schema_names_its_problems_and_who_waits(room: Room) -> None:
    key = room.put("DataSchema", "folded", FOLDED)
    room.put("DataSource", "waits", source("folded"))
    conditions = room.look(key)["conditions"]
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["reason"] == "Invalid"
    assert "columns 'id' and 'ID' are the same" in conditions["Ready"]["message"]
    assert "1 DataSource not built before it is mended" in conditions["Ready"]["message"]
    assert conditions["Stalled"]["status"] == "True"
    room.put("DataSchema", "folded", SOUND)
    conditions = room.look(key)["conditions"]
    assert conditions["Ready"]["status"] == "True" and "Stalled" not in conditions
    assert conditions["Ready"]["observedGeneration"] == 2
    assert [reason for reason, _ in room.told.said] == ["Invalid", "Ready"]


def test_a_schema_at_rest_is_not_written_again(room: Room) -> None:
    key = room.put("DataSchema", "calm", SOUND)
    room.look(key)
    before = room.kube.get(key)
    room.look(key)
    assert room.kube.get(key) == before
    assert len(room.told.said) == 1


def test_a_schema_is_looked_at_when_a_source_comes_leaves_or_goes(room: Room) -> None:
    one = room.put("DataSchema", "one", SOUND)
    two = room.put("DataSchema", "two", SOUND)
    seen: list[Callable[[], object]] = [
        lambda: room.put("DataSource", "s", source("one")),
        lambda: room.put("DataSource", "s", source("two")),
        lambda: room.controller.seen(
            room.kube.get(Key("DataSource", room.namespace, "s")) or {}, gone=True
        ),
    ]
    woken = []
    for step in seen:
        room.workers.woken.clear()
        step()
        woken.append({key for key in (one, two) if key in room.workers.woken})
    assert woken == [{one}, {one, two}, {two}]


def test_kubectl_shows_what_is_wrong(room: Room) -> None:
    key = room.put("DataSchema", "shown", FOLDED)
    room.look(key)
    place = ("-n", room.namespace, "dataschema", "shown")
    table = run(room.plane, "kubectl", "get", *place).stdout.splitlines()
    assert table[0].split() == ["NAME", "READY", "REASON", "TYPE", "USERS", "AGE"]
    assert table[1].split()[:5] == ["shown", "False", "Invalid", "json", "0"]
    described = run(room.plane, "kubectl", "describe", *place).stdout
    assert "are the same for Redshift" in described
