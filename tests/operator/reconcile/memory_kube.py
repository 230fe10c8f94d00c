"""Everything in one process: an API server and an AWS in memory, for what counts at scale."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from weir.aws.registry import adapters as registered
from weir.aws.session import AwsSession
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.drift import SLACK
from weir.reconcile.engine import Reconciler
from weir.reconcile.forecast import Forecast
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Result, Services
from weir.reconcile.steps import view_of
from weir.reconcile.view import recorded
from weir.reconcile.world import Worlds
from weir.resource import Adapter, Change, Observed, Resource

ACCOUNT = "111122223333"
BLIND = {
    "states.StateMachine": frozenset({"definition", "roleArn", "loggingConfiguration"}),
    "s3.Object": frozenset({"Content", "Sha256"}),
    "scheduler.Schedule": frozenset({"Target", "ScheduleExpression"}),
    "lambda.Function": frozenset({"ReservedConcurrentExecutions"}),
}
"""What the listings of this AWS leave out, much as the real ones do."""


class Kept(Adapter):
    """One kind, kept as the real adapter's canonical form has it."""

    def __init__(self, real: Any, things: dict[tuple[str, str], bytes], calls: list[str]) -> None:
        self.kind = real.kind
        self.traits = real.traits
        self._things = things
        self._calls = calls

    def _seen(self, name: str, blind: frozenset[str] = frozenset()) -> Observed:
        properties, tags = json.loads(self._things[self.kind, name])
        return Observed(
            name,
            {key: value for key, value in properties.items() if key not in blind},
            {"arn": f"arn:aws:x:eu-central-1:{ACCOUNT}:{name}"},
            {} if "Tags" in blind else tags,
            unseen=blind,
        )

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        self._calls.append(f"observe {self.kind} {len(names)}")
        return {name: self._seen(name) for name in names if (self.kind, name) in self._things}

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        self._calls.append(f"survey {self.kind} {len(names)}")
        blind = BLIND.get(self.kind, frozenset())
        for name in names:
            if (self.kind, name) in self._things:
                yield self._seen(name, blind)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        self._calls.append(f"create {self.kind}")
        self._keep(resource, tags)
        return self._seen(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        self._calls.append(f"update {self.kind}")
        self._keep(resource, tags)
        return self._seen(resource.name)

    def delete(self, observed: Observed) -> None:
        self._calls.append(f"delete {self.kind}")
        self._things.pop((self.kind, observed.name), None)

    def _keep(self, resource: Resource, tags: Mapping[str, str]) -> None:
        form = dict(self.traits.canonical(resource.properties))
        hidden = {key: form[key] for key in form if key not in self.traits.write_only}
        labels = dict(tags) if resource.tagged else {}
        self._things[resource.key] = json.dumps([hidden, labels], default=str).encode()


class MemoryKube:
    """The API server: objects by key, and how often each verb was used."""

    def __init__(self) -> None:
        self.objects: dict[Key, bytes] = {}
        self.writes = 0
        self._versions = itertools.count(1)

    def get(self, key: Key) -> Any:
        text = self.objects.get(key)
        return None if text is None else json.loads(text)

    def _put(self, obj: Any) -> Any:
        self.writes += 1
        body = copy.deepcopy(obj)
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        text = json.dumps(body).encode()
        self.objects[Key.of(body)] = text
        return json.loads(text)

    def create(self, obj: Any) -> Any:
        meta = {
            "uid": f"00000000-0000-0000-0000-{next(self._versions):012d}",
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        return self._put({**obj, "metadata": {**meta, **obj["metadata"]}})

    def put_status(self, obj: Any, status: Mapping[str, Any]) -> Any:
        return self._put({**obj, "status": dict(status)})

    def set_finalizers(self, obj: Any, finalizers: list[str]) -> Any:
        return self._put({**obj, "metadata": {**obj["metadata"], "finalizers": finalizers}})

    def replace(self, obj: Any) -> Any:
        meta = {**obj["metadata"], "generation": obj["metadata"]["generation"] + 1}
        return self._put({**obj, "metadata": meta})

    def delete(self, obj: Any) -> None:
        self.writes += 1
        self.objects.pop(Key.of(obj), None)

    def namespace_labels(self, _namespace: str) -> dict[str, str]:
        return {}


class Quiet:
    """Nobody listens to events."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def warn(self, _obj: Any, reason: str, note: str, _action: str = "Reconcile") -> None:
        self.said.append((reason, note))

    say = warn


class InProcess:
    """The operator's engine over what outlives it: :class:`MemoryKube` and the AWS of ``things``."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.kube = MemoryKube()
        self.things: dict[tuple[str, str], bytes] = {}
        self.calls: list[str] = []
        self.now = [0.0]
        self.pool = ThreadPoolExecutor(4)
        self.start()

    def start(self) -> None:
        """A process begins, and has listed every object."""
        self.store = Store()
        for text in self.kube.objects.values():
            self.store.put(json.loads(text))
        self.events = Quiet()

        def kinds(session: AwsSession) -> dict[str, Adapter]:
            session._account = ACCOUNT
            return {
                kind: Kept(real, self.things, self.calls)
                for kind, real in registered(session).items()
            }

        self.worlds = Worlds(
            self.pool,
            lambda: self.now[0],
            600.0,
            make_adapters=kinds,
            expected=lambda platform: recorded(view_of(self.services), platform),
            slack=SLACK,
        )
        self.services = Services(
            kube=self.kube,  # type: ignore[arg-type]
            store=self.store,
            worlds=self.worlds,
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=self.events,
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=Options("c", str(self.artifacts)),
            now=lambda: datetime.now(UTC),
            saved=lambda obj: self.store.put(obj) and None,
            forecast=Forecast(),
        )
        self.reconciler = Reconciler(self.services)

    def apply(self, kind: str, name: str, namespace: str, spec: dict[str, Any]) -> Key:
        """Create an object."""
        meta = {"name": name, **({"namespace": namespace} if namespace else {})}
        body = {"apiVersion": "weir.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}
        self.store.put(self.kube.create(body))
        return Key(kind, namespace, name)

    def look(self, key: Key) -> Result:
        """One reconcile."""
        return self.reconciler.reconcile(key)

    def condition(self, key: Key, kind: str = "Ready") -> dict[str, Any]:
        """A condition of an object."""
        conditions = (self.kube.get(key).get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    def platform(self) -> Key:
        """A Platform without a warehouse, for everybody."""
        key = self.apply(
            "Platform",
            "default",
            "",
            {
                "region": "eu-central-1",
                "accountId": ACCOUNT,
                "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
                "grants": [{"namespaces": {"names": [f"team-{i}" for i in range(10)]}}],
            },
        )
        for _ in range(4):
            self.look(key)
        return key

    def source(self, number: int) -> Key:
        """A DataSource that nobody asks."""
        return self.apply(
            "DataSource",
            f"source-{number:05d}",
            f"team-{number % 10}",
            {
                "platform": "default",
                "source": {
                    "restApi": {
                        "endpoint": f"https://api.example.com/rows/{number}",
                        "schedule": "rate(1 hour)",
                    }
                },
                "schema": {
                    "fields": [
                        {"name": "id", "type": "integer", "nullable": False},
                        {"name": "name", "type": "string"},
                    ]
                },
                "suspend": True,
            },
        )
