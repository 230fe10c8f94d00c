"""The command against a real API server and a local AWS, and an operator that looks on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from builds import empty_build
from weir.aws.registry import adapters
from weir.aws.session import AwsSession
from weir.cli import app
from weir.kube.client import Kube, load_config
from weir.kube.events import Events
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.engine import Reconciler
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.world import Worlds
from weir.resource import Adapter
from weir_local.aws.bootstrap import warehouse
from weir_local.aws.server import ACCOUNT, REGION, LocalAws
from weir_local.cluster import ControlPlane, run

PLATFORM = "planned"
KINDS = ("Platform", "DataSchema", "DataSource", "Pipeline")


@pytest.fixture(scope="module")
def plan_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS of the module's own, and its administrator in boto3's default chain."""
    with (
        LocalAws(tmp_path_factory.mktemp("plan-aws")) as aws,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.delenv("AWS_PROFILE", raising=False)
        yield aws


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build's folder: the code does nothing, but is there."""
    return empty_build(tmp_path_factory.mktemp("artifacts"))


@dataclass
class Writes:
    """What an operator does to AWS: ``(create | update | delete, kind, name)``, in order."""

    done: list[tuple[str, str, str]] = field(default_factory=list)
    inside: threading.local = field(default_factory=threading.local)

    def adapters(self, session: AwsSession) -> dict[str, Adapter]:
        """The real adapters, noting each change that came to pass."""
        found = adapters(session)
        for kind, adapter in found.items():
            for verb in ("create", "update", "delete"):
                setattr(adapter, verb, self._noting(verb, kind, getattr(adapter, verb)))
        return found

    def _noting(self, verb: str, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(subject: Any, *more: Any) -> Any:
            if getattr(self.inside, "busy", False):
                return call(subject, *more)  # An update that puts anew what it updates.
            self.inside.busy = True
            try:
                answer = call(subject, *more)
            finally:
                self.inside.busy = False
            self.done.append((verb, kind, subject.name))
            return answer

        return noted


@dataclass
class Desk:
    """Someone with a terminal, kubectl and ``weir``, beside an operator."""

    plane: ControlPlane
    namespace: str
    kube: Kube
    services: Services
    folder: Path
    writes: Writes

    def weir(self, *arguments: str, stdin: str | None = None) -> Result:
        """``weir`` as a person calls it."""
        return CliRunner().invoke(app, list(arguments), input=stdin)

    def file(self, *objects: dict[str, Any]) -> str:
        """A file with these objects."""
        path = self.folder / "objects.json"
        path.write_text("\n---\n".join(json.dumps(one) for one in objects))
        return str(path)

    def plan(self, *objects: dict[str, Any], options: tuple[str, ...] = ()) -> dict[str, Any]:
        """The plan of these objects, as JSON, with the exit code."""
        result = self.weir(
            "plan", "-f", self.file(*objects), "-n", self.namespace, "-o", "json", *options
        )
        assert result.stdout, result.output
        return {**json.loads(result.stdout), "exit": result.exit_code}

    def apply(self, *objects: dict[str, Any]) -> None:
        """``kubectl apply``, and the operator looks until all is at rest."""
        run(self.plane, "kubectl", "apply", "-n", self.namespace, "-f", self.file(*objects))
        self.settle()

    def delete(self, *objects: dict[str, Any]) -> None:
        """``kubectl delete``, and the operator looks until all is gone."""
        run(
            self.plane, "kubectl", "delete", "--wait=false", "-n", self.namespace, "-f",
            self.file(*objects),
        )  # fmt: skip
        reconciler = Reconciler(self.services)
        deadline = time.monotonic() + 60
        while True:
            self.refresh()
            going = [
                one
                for kind in KINDS
                for one in self.services.store.of_kind(kind)
                if one["metadata"].get("deletionTimestamp")
            ]
            if not going:
                return
            assert time.monotonic() < deadline, going
            for obj in going:
                reconciler.reconcile(Key.of(obj))

    def settle(self, seconds: float = 60) -> None:
        """Reconcile everything until every object is Ready, none is going, and nothing changes."""
        reconciler = Reconciler(self.services)
        deadline = time.monotonic() + seconds
        while True:
            self.refresh()
            before = len(self.writes.done)
            for kind in KINDS[:1] + KINDS[2:]:
                for obj in self.services.store.of_kind(kind):
                    reconciler.reconcile(Key.of(obj))
            self.refresh()
            found = [o for k in KINDS for o in self.services.store.of_kind(k)]
            going = [Key.of(o) for o in found if o["metadata"].get("deletionTimestamp")]
            states = [self.ready(Key.of(o)) for o in found]
            waiting = [one for one in states if one and one["status"] != "True"]
            if not waiting and not going and len(self.writes.done) == before:
                return
            assert time.monotonic() < deadline, (waiting, going)
            time.sleep(0.1)

    def refresh(self) -> None:
        """What the watches would bring."""
        for kind in KINDS:
            there = {Key.of(one): one for one in self.kube.all_of(kind)}
            for obj in self.services.store.of_kind(kind):
                if Key.of(obj) not in there:
                    self.services.store.remove(obj)
            for obj in there.values():
                self.services.store.put(obj)

    def ready(self, key: Key) -> dict[str, Any] | None:
        """The object's condition Ready; None for a kind that has none."""
        if key.kind == "DataSchema":
            return None
        obj = self.kube.get(key) or {}
        for one in (obj.get("status") or {}).get("conditions", []):
            if one["type"] == "Ready":
                return dict(one)
        return {"status": "Unknown", "object": str(key)}


@pytest.fixture(scope="module")
def desk(
    cluster: ControlPlane,
    kube_namespace: str,
    plan_aws: LocalAws,
    build: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """The desk, with KUBECONFIG set and nothing on AWS yet but a warehouse."""
    kube = Kube(load_config(str(cluster.kubeconfig)))
    store = Store()
    metrics = Metrics(CollectorRegistry(), per_object=False)
    writes = Writes()
    with ThreadPoolExecutor(8) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        services = Services(
            kube=kube,
            store=store,
            # A look counts for no time: whatever a test changes behind its back is seen.
            worlds=Worlds(pool, time.monotonic, 0.0, make_adapters=writes.adapters),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=Events(kube, "desk", time.time, print),
            metrics=metrics,
            options=Options("desk", str(build)),
            now=lambda: datetime.now(UTC),
            saved=lambda obj: store.put(obj) and None,
        )
        folder = tmp_path_factory.mktemp("desk")
        yield Desk(cluster, kube_namespace, kube, services, folder, writes)
        for kind in reversed(KINDS):
            for obj in kube.all_of(kind):
                kube.set_finalizers(obj, [])
                kube.delete(obj)


@pytest.fixture(scope="module")
def platform(plan_aws: LocalAws, kube_namespace: str) -> dict[str, Any]:
    """A Platform with a warehouse."""
    found = warehouse(plan_aws.admin_session())
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": PLATFORM},
        "spec": {
            "region": REGION,
            "accountId": ACCOUNT,
            "endpointUrl": plan_aws.endpoint,
            "redshift": {
                "workgroup": found["workgroupName"],
                "database": found["database"],
                "adminSecretArn": found["adminSecretArn"],
                "copyRoleArn": found["copyRoleArn"],
            },
            "grants": [{"namespaces": {"names": [kube_namespace]}, "allow": ["delete", "adopt"]}],
        },
    }


@pytest.fixture
def source() -> Callable[..., dict[str, Any]]:
    """Makes a DataSource with a managed Pipeline; arguments replace parts of its spec."""

    def make(name: str = "customers", **spec: Any) -> dict[str, Any]:
        base = {
            "platform": PLATFORM,
            "source": {
                "restApi": {
                    "endpoint": "https://api.example.com/customers",
                    "schedule": "rate(1 hour)",
                }
            },
            "schema": {
                "fields": [
                    {"name": "customerId", "type": "integer", "nullable": False},
                    {"name": "name", "type": "string"},
                ]
            },
            "destination": {"prefix": f"{name}/"},
            "redshift": {"schema": "sales", "table": name, "distkey": "customerId"},
        }
        merged = {key: value for key, value in {**base, **spec}.items() if value is not None}
        return {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "DataSource",
            "metadata": {"name": name},
            "spec": merged,
        }

    return make
