"""Who waits for a name or a place is looked at as soon as somebody may have given it up."""

from __future__ import annotations

from typing import Any

import pytest

from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.controller import Controller
from weir.reconcile.queue import Lane


class Asked:
    """Notes who is asked for."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key, _lane: Lane, _delay: float = 0.0) -> None:
        self.keys.append(key)

    def forget(self, key: Key) -> None:
        self.keys = [one for one in self.keys if one != key]


def pipeline(name: str, reason: str = "Ready", generation: int = 1, version: int = 1) -> Any:
    status = "True" if reason == "Ready" else "False"
    ready = {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "observedGeneration": generation,
    }
    return {
        "kind": "Pipeline",
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": name,
            "generation": generation,
            "resourceVersion": str(version),
        },
        "spec": {"sources": [{"name": f"{name}-source"}]},
        "status": {"conditions": [ready]},
    }


@pytest.mark.parametrize("reason", ["Conflict", "Moving"])
def test_the_end_of_one_wakes_who_waits_for_its_name(reason: str) -> None:
    asked = Asked()
    controller = Controller(Store(), asked)  # type: ignore[arg-type]
    for obj in (pipeline("holder"), pipeline("waits", reason), pipeline("content")):
        controller.seen(obj, gone=False)
    asked.keys.clear()
    controller.seen(pipeline("holder", version=2), gone=True)
    assert Key("Pipeline", "team", "waits") in asked.keys
    assert Key("Pipeline", "team", "content") not in asked.keys


def test_a_changed_spec_wakes_who_waits_and_a_changed_status_does_not() -> None:
    asked = Asked()
    controller = Controller(Store(), asked)  # type: ignore[arg-type]
    waits = Key("Pipeline", "team", "waits")
    for obj in (pipeline("holder"), pipeline("waits", "Conflict")):
        controller.seen(obj, gone=False)
    asked.keys.clear()
    controller.seen(pipeline("holder", version=2), gone=False)
    assert waits not in asked.keys
    controller.seen(pipeline("holder", generation=2, version=3), gone=False)
    assert waits in asked.keys


def test_who_has_got_what_it_waited_for_is_left_alone() -> None:
    asked = Asked()
    controller = Controller(Store(), asked)  # type: ignore[arg-type]
    for obj in (pipeline("holder"), pipeline("waits", "Conflict"), pipeline("waits", version=2)):
        controller.seen(obj, gone=False)
    asked.keys.clear()
    controller.seen(pipeline("holder", version=2), gone=True)
    assert Key("Pipeline", "team", "waits") not in asked.keys
