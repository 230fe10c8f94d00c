"""When an object is looked at next, though nobody asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.controller import Controller
from weir.reconcile.look import BACKSTOP, DUE_SLACK, SETTLES, Halt, Look
from weir.reconcile.metrics import Metrics
from weir.reconcile.queue import Lane
from weir.reconcile.services import Options, Result
from weir.reconcile.steps import follow_runs
from weir.reconcile.workers import JITTER, Workers

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def look(grants: list[dict[str, Any]], conditions: list[dict[str, Any]] | None = None) -> Look:
    store = Store()
    store.put(
        {
            "kind": "Platform",
            "metadata": {"name": "default", "uid": "p", "resourceVersion": "1"},
            "spec": {"driftInterval": "5m", "grants": grants},
        }
    )
    services: Any = SimpleNamespace(
        store=store,
        options=Options("c", ""),
        obeyed={},
        now=lambda: NOW,
        metrics=Metrics(CollectorRegistry(), per_object=False),
        events=SimpleNamespace(say=lambda *_: None, warn=lambda *_: None),
        saved=lambda _obj: None,
        kube=SimpleNamespace(put_status=lambda obj, status: {**obj, "status": status}),
    )
    meta = {
        "name": "s", "namespace": "team", "uid": "u", "generation": 1,
        "creationTimestamp": "2026-05-01T11:50:00Z",
    }  # fmt: skip
    status = {"conditions": conditions or []}
    return Look(services, {"kind": "DataSource", "metadata": meta, "spec": {}, "status": status})


NAMED = [{"namespaces": {"names": ["team"]}}]
SELECTED = [{"namespaces": {"matchLabels": {"weir": "yes"}}}]


def test_what_is_well_is_looked_at_rarely_since_rounds_find_what_changes() -> None:
    assert look(NAMED).close(None).requeue_after == BACKSTOP * 300


def test_where_labels_grant_they_are_asked_as_often_as_aws() -> None:
    assert look(SELECTED).close(None).requeue_after == 300


@pytest.mark.parametrize(
    ("schedule", "suspended", "expected"),
    [
        # Ten minutes old, and late after twice its period.
        ("rate(1 hour)", False, timedelta(minutes=110)),
        ("rate(1 hour)", True, None),
        (None, False, None),
        ("rate(5 minutes)", False, None),  # Late already: nothing more changes by itself.
    ],
)
def test_an_object_is_looked_at_just_when_its_data_becomes_late(
    schedule: str | None, suspended: bool, expected: timedelta | None
) -> None:
    one = look(NAMED)
    follow_runs(one, None, schedule, "UTC", suspended)
    found = one.close(None).at_latest
    assert found == (None if expected is None else expected.total_seconds() + DUE_SLACK)


def test_a_look_that_was_asked_for_ends_when_aws_has_settled_and_looks_afresh_once() -> None:
    one = look(NAMED)
    one.obj["metadata"]["annotations"] = {"weir.dev/reconcile-at": "1"}
    assert one.forced and one.begins()
    one.close(Halt(SETTLES, "a function settles", after=2.0))
    assert "reconcileAt" not in one.status and one.forced
    assert not one.begins()
    one.close(None)
    assert one.status["reconcileAt"] == "1" and not one.forced


@pytest.mark.parametrize("at_latest", [None, 40.0, 4000.0])
def test_the_backstop_is_spread_and_what_is_due_is_never_later(at_latest: float | None) -> None:
    def reconcile(_key: Key) -> Result:
        return Result("converged", 1000.0, at_latest=at_latest)

    workers = Workers(reconcile, Metrics(CollectorRegistry()), 1, lambda: 0.0)
    delays = set()
    for number in range(20):
        key = Key("DataSource", "team", f"s{number}")
        workers._give_back(key, reconcile(key))
        delays.add(workers._queue._entries[key].due)
        assert workers._queue._entries[key].lane is Lane.DRIFT
        workers.forget(key)
    if at_latest == 40.0:
        assert delays == {40.0}
    else:
        assert 1000.0 <= min(delays) < max(delays) <= 1000.0 * (1 + JITTER)


class Asked:
    """Notes who is asked for."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def add(self, key: Key, _lane: Lane, _delay: float = 0.0) -> None:
        self.kinds.append(key.kind)

    def forget(self, _key: Key) -> None:
        """Nobody is gone."""


def stored(kind: str, version: int, **more: Any) -> Any:
    meta = {"name": "one", "uid": kind, "generation": 1, "resourceVersion": str(version)}
    place = {} if kind == "Platform" else {"namespace": "team"}
    spec = {"Pipeline": {"sources": [{"name": "one"}]}, "DataSource": {"platform": "one"}}
    found = {"kind": kind, "metadata": {**meta, **place}, "spec": spec.get(kind, {})}
    found["metadata"] |= more.pop("metadata", {})
    return found | more


def test_who_holds_claims_is_woken_by_what_an_object_states_and_not_by_how_it_fares() -> None:
    asked = Asked()
    controller = Controller(Store(), asked)  # type: ignore[arg-type]
    for number, kind in enumerate(("Platform", "Pipeline", "DataSource")):
        controller.seen(stored(kind, number), gone=False)

    def woken(version: int, **more: Any) -> set[str]:
        asked.kinds.clear()
        controller.seen(stored("DataSource", version, **more), gone=False)
        return set(asked.kinds)

    ready = {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}
    assert woken(5, status=ready) == {"Pipeline"}
    assert woken(6, status=ready, metadata={"generation": 2}) >= {"Pipeline", "Platform"}
    leaving = {"generation": 2, "deletionTimestamp": "2026-05-01T12:00:00Z"}
    assert woken(7, status=ready, metadata=leaving) >= {"Pipeline", "Platform"}


def test_what_is_known_already_wakes_nobody_and_is_not_taken_in_again() -> None:
    store, asked = Store(), Asked()
    controller = Controller(store, asked)  # type: ignore[arg-type]
    controller.seen(stored("DataSource", 5), gone=False)
    key = Key("DataSource", "team", "one")
    first = store.get(key)
    asked.kinds.clear()
    controller.seen(stored("DataSource", 5, metadata={"labels": {"a": "b"}}), gone=False)
    assert store.get(key) is first
    assert asked.kinds == []
    controller.seen(stored("DataSource", 6), gone=False)
    assert store.get(key) is not first
