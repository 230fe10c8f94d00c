"""A throttling storm is told on its Platform once; what a dead-letter queue holds is known."""

from __future__ import annotations

import threading
from typing import Any

from patience import PATIENCE_SECONDS
from weir.aws.session import Call
from weir.kube.client import Object
from weir.kube.store import Store
from weir.reconcile.storms import MANY, QUIET, WINDOW, Storms


class Told:
    """Events as they are told, from whatever thread."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []
        self.heard = threading.Semaphore(0)

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        self.said.append((obj["metadata"]["name"], reason, note))
        self.heard.release()

    say = warn


def platform(name: str) -> Object:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": name, "uid": name, "resourceVersion": "1", "generation": 1},
        "spec": {},
    }


def storms(told: Told, now: list[float]) -> Storms:
    store = Store()
    store.put(platform("default"))
    return Storms(store, lambda: told, lambda: now[0])


def throttled(service: str = "iam", tries: int = 1) -> Call:
    return Call(service, "CreateRole", "ok", 1.0, tries, throttles=tries, held=0.5)


def test_a_storm_is_told_once_an_hour_with_what_to_do() -> None:
    told, now = Told(), [0.0]
    counting = storms(told, now)
    for _ in range(3 * MANY):
        counting.called("default", throttled())
    assert told.heard.acquire(timeout=PATIENCE_SECONDS)
    now[0] = QUIET - 1
    for _ in range(MANY):
        counting.called("default", throttled())
    assert not told.heard.acquire(timeout=0.2)
    now[0] = QUIET + 1
    counting.called("default", throttled())
    assert told.heard.acquire(timeout=PATIENCE_SECONDS)
    (name, reason, note), second = told.said
    assert (name, reason) == ("default", "ThrottlingStorm")
    assert "iam" in note and "Service Quotas" in note
    assert second[2] == note


def test_a_few_throttled_calls_over_time_are_no_storm() -> None:
    told, now = Told(), [0.0]
    counting = storms(told, now)
    for number in range(2 * MANY):
        now[0] = number * 2 * WINDOW / MANY
        counting.called("default", throttled())
    assert not told.heard.acquire(timeout=0.2)


def test_services_and_platforms_are_counted_apart() -> None:
    told, now = Told(), [0.0]
    counting = storms(told, now)
    nearly: dict[str, Any] = {"tries": MANY - 1}
    counting.called("default", throttled("iam", **nearly))
    counting.called("default", throttled("lambda", **nearly))
    counting.called("other", throttled("iam", **nearly))
    assert not told.heard.acquire(timeout=0.2)
    counting.called("default", throttled("lambda"))
    assert told.heard.acquire(timeout=PATIENCE_SECONDS)
    assert "lambda" in told.said[0][2]
