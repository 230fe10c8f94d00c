"""What a worker does with objects: the operator's own reconcile against the real API server.

All that outlives a worker is what it wrote to the API server and to AWS.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from crashing.jobs import PASS_SECONDS, Clock, InTurn, NotSettled, session_of
from prometheus_client import CollectorRegistry

from weir.aws.session import AwsSession, Target
from weir.kube.client import Kube, Object, load_config
from weir.kube.conditions import find
from weir.kube.keys import PLURALS, Key
from weir.kube.store import Store
from weir.reconcile import world
from weir.reconcile.engine import Reconciler
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.steps import view_of
from weir.reconcile.view import recorded
from weir.reconcile.world import Worlds
from weir_local.stack import CLUSTER_ID

CLUSTER = CLUSTER_ID
PASSES = 150
ORDER = ("Platform", "DataSource", "Pipeline")


class Heard:
    """Events as they are told: reason and note."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Note it."""
        self.said.append(f"{obj['kind']} {action} {reason}: {note}")

    say = warn


class MortalKube(Kube):
    """Dies by SIGKILL at its first write whose sort is new.

    :param met: the sorts that are not new
    :param before: whether it dies before the API server sees the write; else before the answer
    :param last: the file that is told which sort it died at
    """

    def __init__(self, kubeconfig: str, met: list[str], before: bool, last: str) -> None:
        super().__init__(load_config(kubeconfig))
        self._met, self._before, self._last = set(met), before, Path(last)

    def request(self, method: str, path: str, *given: Any, **named: Any) -> Object:
        """As of Kube, or the end."""
        mark = sort_of(method, path)
        if method == "GET" or mark in self._met:
            return super().request(method, path, *given, **named)
        self._last.write_text(mark)
        if not self._before:
            super().request(method, path, *given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a process outlives no SIGKILL")


def sort_of(method: str, path: str) -> str:
    """What sort of write it is: method, collection and subresource."""
    parts = path.split("/")
    plural = next((one for one in parts if one in PLURALS.values()), parts[-1])
    return " ".join([method, plural, *parts[parts.index(plural) + 2 :]])


def prepare() -> None:
    """Let worlds have the session that was made before the fork."""

    def made(target: Target, **_: Any) -> AwsSession:
        return session_of(target.endpoint_url, target.region)

    world.AwsSession = made  # type: ignore[misc, assignment]


class Operator:
    """One operator's life: an empty store, an empty inventory, the objects on the server."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.kube = (
            MortalKube(job["kubeconfig"], **job["mortal"])
            if "mortal" in job
            else Kube(load_config(job["kubeconfig"]))
        )
        self.store, self.heard, self.clock = Store(), Heard(), Clock()
        self.services = Services(
            kube=self.kube,
            store=self.store,
            worlds=Worlds(
                InTurn(),
                self.clock,
                600.0,
                expected=lambda platform: recorded(view_of(self.services), platform),
            ),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=self.heard,
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=Options(CLUSTER, job["artifacts"], drain_seconds=1.0),
            now=lambda: datetime.now(UTC),
            saved=lambda obj: self.store.put(obj) and None,
        )

    def refresh(self) -> list[Object]:
        """What the watches would bring."""
        found: list[Object] = []
        for kind in PLURALS:
            there = {Key.of(one): one for one in self.kube.all_of(kind)}
            for obj in list(self.store.of_kind(kind)):
                if Key.of(obj) not in there:
                    self.store.remove(obj)
            for obj in there.values():
                self.store.put(obj)
            found += there.values()
        return found

    def passes(self, done: Callable[[list[Object]], bool]) -> None:
        """Reconcile every object, again and again, until it is done.

        :raises NotSettled: the passes are over
        """
        reconciler = Reconciler(self.services)
        for _ in range(PASSES):
            objects = self.refresh()
            if done(objects):
                return
            for kind in ORDER:
                for obj in [one for one in objects if one["kind"] == kind]:
                    reconciler.reconcile(Key.of(obj))
            self.clock.now += PASS_SECONDS
            time.sleep(0.01)
        objects = self.refresh()
        raise NotSettled(
            str([(one["kind"], find(one.get("status") or {}, "Ready")) for one in objects])
        )


def _ready(operator: Operator, objects: list[Object]) -> bool:
    """Whether all that is expected is there, Ready for its spec, and has been looked at by us."""
    kinds = {one["kind"] for one in objects}
    looked = operator.clock.now > Clock().now
    return looked and kinds == set(ORDER) and all(map(_fine, objects))


def _fine(obj: Object) -> bool:
    status, generation = obj.get("status") or {}, obj["metadata"]["generation"]
    ready = find(status, "Ready") or {}
    return ready.get("status") == "True" and ready.get("observedGeneration") == generation


def settle(job: dict[str, Any]) -> dict[str, Any]:
    """Until every object is Ready.

    :returns: the entries of all objects, and what events said
    """
    operator = Operator(job)
    operator.passes(partial(_ready, operator))
    entries = [
        {**line, "owner": obj["kind"]}
        for obj in sorted(operator.refresh(), key=lambda one: one["kind"])
        for line in (obj.get("status") or {}).get("resources") or []
    ]
    return {"entries": entries, "said": operator.heard.said}


def clear(job: dict[str, Any]) -> dict[str, Any]:
    """Until no object is left."""
    operator = Operator(job)
    operator.passes(lambda objects: not objects)
    return {"entries": [], "said": operator.heard.said}


JOBS: dict[str, Callable[[dict[str, Any]], Any]] = {"settle": settle, "clear": clear}
