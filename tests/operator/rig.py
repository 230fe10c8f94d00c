"""Reconciles on request, against a real API server and a real local AWS; counts what they write."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from weir.aws.session import Call, is_write
from weir.kube.client import Kube, Object, load_config
from weir.kube.conditions import find
from weir.kube.keys import API_VERSION, PLURALS, Key
from weir.kube.store import Store
from weir.reconcile.engine import Reconciler
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Result, Services
from weir.reconcile.world import Worlds
from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws
from weir_local.cluster import ControlPlane
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, CLUSTER_ID, REGION, published_policies

SETTLE_SECONDS = 90.0
"""How long AWS and the engine may take: counted in time, since a fast machine makes many passes."""
PLATFORM = "rigged"
KINDS = ("PipelineRun", "Pipeline", "DataSource", "Platform")


class CountingKube(Kube):
    """The API server, with a note of every write to our kinds."""

    def __init__(self, configuration: Any) -> None:
        super().__init__(configuration)
        self.writes: list[str] = []

    def request(self, method: str, path: str, *args: Any, **more: Any) -> Object:
        if method not in ("GET", "HEAD"):
            self.writes.append(f"{method} {path}")
        return super().request(method, path, *args, **more)


@dataclass
class Told:
    """Events as they are told."""

    said: list[tuple[str, str, str]] = field(default_factory=list)

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        self.said.append((str(Key.of(obj)), reason, note))

    say = warn


@dataclass
class Rig:
    kube: CountingKube
    services: Services
    told: Told
    calls: list[Call]
    written: list[Call]
    namespace: str
    platform_name: str
    clock: list[timedelta]
    aws: Any

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock[0]

    def apply(self, kind: str, name: str, spec: dict[str, Any], **meta: Any) -> Key:
        """Create, or replace the spec (and annotations) of what is there."""
        namespace = "" if kind == "Platform" else meta.pop("namespace", self.namespace)
        key = Key(kind, namespace, name)
        there = self.kube.get(key)
        metadata: dict[str, Any] = {"name": name, **meta}
        if namespace:
            metadata["namespace"] = namespace
        if there is None:
            body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
            self.kube.create(body)
        else:
            self.kube.replace({**there, "metadata": {**there["metadata"], **meta}, "spec": spec})
        return key

    def annotate(self, key: Key, **annotations: str) -> None:
        there = self.get(key)
        meta = {**there["metadata"], "annotations": annotations}
        self.kube.replace({**there, "metadata": meta})

    def get(self, key: Key) -> Object:
        found = self.kube.get(key)
        assert found is not None, key
        return found

    def refresh(self) -> None:
        """What the watches would bring."""
        store = self.services.store
        for kind in PLURALS:
            there = {Key.of(one): one for one in self.kube.all_of(kind)}
            for obj in store.of_kind(kind):
                if Key.of(obj) not in there:
                    store.remove(obj)
            for obj in there.values():
                store.put(obj)

    def look(self, key: Key) -> Result:
        """One reconcile of one object."""
        self.refresh()
        return Reconciler(self.services).reconcile(key)

    def settle(self, key: Key, *around: Key, until: Callable[[], bool] | None = None) -> Object:
        """Reconcile an object and those around it until it is Ready, or what is asked for."""
        platform = Key("Platform", "", self.platform_name)
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            for one in (platform, key, *around):
                self.look(one)
            if until() if until else self.condition(key)["status"] == "True":
                return self.kube.get(key) or {}
            time.sleep(0.1)
        said = {one: self.condition(one) for one in (platform, key, *around)}
        raise AssertionError("; ".join(f"{one}: {what}" for one, what in said.items()))

    def condition(self, key: Key, kind: str = "Ready") -> dict[str, Any]:
        """A condition of an object as it stands on the server; empty where there is none."""
        obj = self.kube.get(key) or {}
        return {
            "status": "",
            "reason": "",
            "message": "",
            **(find(obj.get("status") or {}, kind) or {}),
        }

    def aws_writes(self) -> list[str]:
        return [f"{call.service}:{call.operation}" for call in self.written]

    def silence(self) -> None:
        """Forget what was written and told so far."""
        self.calls.clear()
        self.written.clear()
        self.kube.writes.clear()
        self.told.said.clear()

    def delete(self, key: Key, *around: Key) -> None:
        """Delete an object and reconcile until it is gone."""
        self.kube.delete(self.get(key))
        self.settle(key, *around, until=lambda: self.kube.get(key) is None)

    def resources(self, key: Key) -> dict[str, dict[str, str]]:
        """``status.resources`` by logical id."""
        lines = (self.get(key).get("status") or {}).get("resources") or []
        return {line["id"]: line for line in lines}


def source_spec(rig: Rig, **changes: Any) -> dict[str, Any]:
    base = {
        "platform": rig.platform_name,
        "source": {
            "restApi": {"endpoint": "https://api.example.com/rows", "schedule": "rate(1 hour)"}
        },
        "schema": {
            "fields": [
                {"name": "id", "type": "integer", "nullable": False},
                {"name": "name", "type": "string"},
            ]
        },
        "suspend": True,
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def loaded(table: str) -> dict[str, Any]:
    return {
        "destination": {"prefix": f"{table}/"},
        "redshift": {"schema": "sales", "table": table, "distkey": "id"},
    }


def pipeline_spec(rig: Rig, *sources: str, prefix: str = "", table: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "platform": rig.platform_name,
        "sources": [{"name": name} for name in sources],
        "destination": {"prefix": prefix or f"{sources[0]}-out/"},
        "stages": [{"name": "tidy", "clean": {"trim": True}}],
    }
    if table:
        load = {"redshift": {"schema": "sales", "table": table, "mode": "append"}}
        spec["stages"].append({"name": "warehouse", "load": load})
    return spec


def source(rig: Rig, name: str, **changes: Any) -> Key:
    meta = {word: changes.pop(word) for word in ("namespace", "annotations") if word in changes}
    return rig.apply("DataSource", name, source_spec(rig, **changes), **meta)


def open_key_policy() -> str:
    """A KMS key's policy that lets the account and the services in that use a Platform's key."""
    services = [f"{one}.amazonaws.com" for one in (f"logs.{REGION}", "events", "cloudwatch")]
    principals = [{"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, {"Service": services}]
    statements = [
        {"Effect": "Allow", "Principal": one, "Action": "kms:*", "Resource": "*"}
        for one in principals
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def child_of(key: Key) -> Key:
    return Key("Pipeline", key.namespace, key.name)


@contextmanager
def operators_local_aws(folder: Path) -> Iterator[tuple[LocalAws, dict[str, Any]]]:
    """A local AWS where the operator may do what docs/iam says, and what bootstrap wrote down."""
    with LocalAws(folder, region=REGION) as aws:
        policies = published_policies(ACCOUNT, REGION)
        boundary = policies.pop(BOUNDARY_FILE)
        path = bootstrap.bootstrap(aws.endpoint, REGION, folder, policies, {BOUNDARY: boundary})
        yield aws, json.loads(path.read_text())


def platform_spec(aws: LocalAws, found: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A Platform with a warehouse, granted to one namespace."""
    redshift = found["redshift"]
    return {
        "region": REGION,
        "accountId": ACCOUNT,
        "endpointUrl": aws.endpoint,
        "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}",
        "redshift": {
            "workgroup": redshift["workgroupName"],
            "database": redshift["database"],
            "adminSecretArn": redshift["adminSecretArn"],
            "copyRoleArn": redshift["copyRoleArn"],
        },
        "grants": [{"namespaces": {"names": [namespace]}, "allow": ["adopt", "delete"]}],
    }


@contextmanager
def ready_rig(
    cluster: ControlPlane,
    namespace: str,
    operators_aws: tuple[LocalAws, dict[str, Any]],
    artifacts: Path,
    platform: str = PLATFORM,
) -> Iterator[Rig]:
    """The engine with one Platform that is ready; every object of ours is gone afterwards."""
    aws, found = operators_aws
    kube = CountingKube(load_config(str(cluster.kubeconfig)))
    store, told, clock = Store(), Told(), [timedelta()]
    calls, written = list[Call](), list[Call]()

    def note(call: Call) -> None:
        calls.append(call)
        # Whether a statement only reads is known while it is sent, and not afterwards.
        if is_write(call.operation):
            written.append(call)

    with ThreadPoolExecutor(8) as pool, pytest.MonkeyPatch.context() as patch:
        for name, value in found["operator"].items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        services = Services(
            kube=kube,
            store=store,
            worlds=Worlds(pool, time.monotonic, 600.0, observer=note),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=told,
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=Options(CLUSTER_ID, str(artifacts), drain_seconds=1.0),
            now=lambda: datetime.now(UTC) + clock[0],
            saved=lambda obj: store.put(obj) and None,
        )
        rig = Rig(kube, services, told, calls, written, namespace, platform, clock, aws)
        key = rig.apply("Platform", platform, platform_spec(aws, found, namespace))
        rig.settle(key)
        yield rig
        for kind in KINDS:
            for obj in kube.all_of(kind):
                kube.set_finalizers(obj, [])
                kube.delete(obj)
        assert kube.get(Key("Platform", "", platform)) is None
