"""Reconciles on request, against a real API server and a real local AWS; counts what they write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from weir.aws.session import Call, is_write
from weir.kube.client import Kube, Object
from weir.kube.conditions import find
from weir.kube.keys import API_VERSION, PLURALS, Key
from weir.reconcile.engine import Reconciler
from weir.reconcile.services import Result, Services

PASSES = 40


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
        for _ in range(PASSES):
            for one in (platform, key, *around):
                self.look(one)
            if until() if until else self.condition(key)["status"] == "True":
                return self.kube.get(key) or {}
            time.sleep(0.1)
        raise AssertionError(f"{key}: {self.kube.get(key)}")

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
        return [
            f"{call.service}:{call.operation}" for call in self.calls if is_write(call.operation)
        ]

    def silence(self) -> None:
        """Forget what was written and told so far."""
        self.calls.clear()
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
