"""A throttling storm slows us down, and ends without a failure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from fake_cloud import Cloud, adapters
from hypothesis import given
from hypothesis import strategies as st

from weir.aws.errors import AccessDenied, Throttled
from weir.kube.conditions import find
from weir.reconcile.apply import Applier, Entry
from weir.reconcile.brake import FIRST_PAUSE, LONGEST_PAUSE, Brake, Braked
from weir.reconcile.inventory import Inventory
from weir.reconcile.look import Halt, Look, halt_of
from weir.resource import Owner, Resource

OWNER = Owner("c", "DataSource", "team", "s", "u")


class Api:
    """A service that throttles until somebody says otherwise."""

    def __init__(self) -> None:
        self.asked = 0
        self.busy = True

    def __call__(self) -> str:
        self.asked += 1
        if self.busy:
            raise Throttled("slow down")
        return "fine"


def test_who_comes_during_a_pause_asks_nothing_and_is_told_how_long_it_lasts() -> None:
    now, api = [0.0], Api()
    brake = Brake(lambda: now[0], chance=lambda: 0.0)
    for _ in range(50):
        with pytest.raises(Throttled) as caught:
            brake.call("iam", api)
        assert 0 < (caught.value.retry_after or 0) <= FIRST_PAUSE
    assert api.asked == 1
    assert brake.call("lambda", lambda: "other services are asked") == "other services are asked"


def test_one_caller_tries_after_a_pause_and_the_next_pause_is_longer() -> None:
    now, api = [0.0], Api()
    brake = Brake(lambda: now[0], chance=lambda: 0.0)
    waits = []
    for _ in range(9):
        with pytest.raises(Throttled) as caught:
            brake.call("iam", api)
        waits.append(caught.value.retry_after)
        now[0] += caught.value.retry_after or 0.0
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert api.asked == 9


def test_the_first_answer_opens_the_way_for_everybody() -> None:
    now, api = [0.0], Api()
    brake = Brake(lambda: now[0])
    with pytest.raises(Throttled):
        brake.call("iam", api)
    api.busy = False
    now[0] += FIRST_PAUSE
    assert [brake.call("iam", api) for _ in range(5)] == ["fine"] * 5


def test_another_failure_is_no_reason_to_wait() -> None:
    brake = Brake(lambda: 0.0)

    def denied() -> None:
        raise AccessDenied("no", action="a:B", target="*")

    for _ in range(3):
        with pytest.raises(AccessDenied):
            brake.call("iam", denied)


@given(st.lists(st.floats(0, 100), max_size=60), st.floats(0, 0.99))
def test_a_pause_is_never_longer_than_the_longest(steps: list[float], chance: float) -> None:
    now, api = [0.0], Api()
    brake = Brake(lambda: now[0], lambda: chance)
    for step in steps:
        now[0] += step
        with pytest.raises(Throttled) as caught:
            brake.call("iam", api)
        assert 0 < (caught.value.retry_after or 0) <= LONGEST_PAUSE + 1e-6


def wanted(name: str, version: str = "1") -> list[Resource]:
    return [
        Resource("role", "role", f"r-{name}", {"Policies": [version]}),
        Resource("schedule", "tick", f"t-{name}", {"Rate": "1"}, ("role",)),
    ]


def test_a_storm_ends_with_everything_made_once_and_asks_little_while_it_lasts() -> None:
    cloud, now = Cloud(), [0.0]
    brake = Brake(lambda: now[0], lambda: 0.0)
    kinds = {kind: Braked(one, brake) for kind, one in adapters(cloud).items()}
    storm = [True]

    def fault(operation: str, kind: str, _name: str, done: bool) -> None:
        if storm[0] and kind == "role" and operation == "create" and not done:
            raise Throttled("slow down")

    cloud.fault = fault
    with ThreadPoolExecutor(1) as pool:
        applier = Applier(kinds, Inventory(kinds, 600, lambda: now[0]), pool)
        status: dict[str, list[Entry]] = {f"s{i}": [] for i in range(20)}

        def look_at_all() -> list[str]:
            states = []
            for name in status:
                result = applier.apply(OWNER, wanted(name), OWNER.tags, status[name])
                status[name] = result.entries
                for problem in result.problems:
                    assert isinstance(problem.error, Throttled)
                states += [entry.state for entry in result.entries]
            return states

        for _ in range(60):
            states = look_at_all()
            assert not {"Failed", "Conflict"} & set(states)
            now[0] += 1.0
        asked = [call for call in cloud.calls if call[0] == "create"]
        assert len(asked) < 12, "one caller at a time, less and less often"
        storm[0] = False
        now[0] += LONGEST_PAUSE
        for _ in range(2):
            states = look_at_all()
        assert set(states) == {"Ready"}
    assert len(cloud.things) == 40
    assert [call for call in cloud.calls if call[0] == "create" and call[1] == "schedule"] == [
        ("create", "schedule", f"t-{name}") for name in status
    ]


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def warn(self, _obj: Any, reason: str, note: str, _action: str = "") -> None:
        self.said.append((reason, note))

    say = warn


def looked(conditions: list[dict[str, Any]], halt: Halt) -> tuple[Look, Told, list[Any], Any]:
    """A look that ends so, at an object with these conditions."""
    from datetime import UTC, datetime

    obj = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSource",
        "metadata": {"name": "s", "namespace": "team", "generation": 2, "uid": "u"},
        "spec": {},
        "status": {"conditions": conditions, "observedGeneration": 2},
    }
    told, sent = Told(), list[Any]()

    def put(one: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        sent.append(status)
        return {**one, "status": status}

    quiet = SimpleNamespace(says=lambda *_: None, synced=lambda *_: None)
    services: Any = SimpleNamespace(
        events=told,
        metrics=quiet,
        now=lambda: datetime.now(UTC),
        saved=lambda _obj: None,
        kube=SimpleNamespace(put_status=put),
    )
    look = Look(services, obj)
    return look, told, sent, look.close(halt)


def condition(kind: str, status: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind, "status": status, "reason": kind, "message": "",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip


THROTTLED = halt_of([Throttled("slow down", retry_after=4.0)])


def test_an_object_that_is_as_it_should_be_stays_so_while_nobody_can_look() -> None:
    conditions = [condition("Ready", "True", 2), condition("Synced", "True", 2)]
    _, told, sent, result = looked(conditions, THROTTLED)
    assert (told.said, sent) == ([], [])
    assert (result.outcome, result.failed) == ("throttled", False)
    assert 4.0 <= result.requeue_after <= 8.0


def test_an_edited_object_says_that_it_waits_and_tells_no_failure() -> None:
    conditions = [condition("Ready", "True", 1), condition("Synced", "True", 1)]
    look, told, sent, result = looked(conditions, THROTTLED)
    assert told.said == [] and len(sent) == 1
    found = find(look.status, "Ready") or {}
    assert (found["status"], found["reason"]) == ("False", "Throttled")
    assert find(look.status, "Stalled") in (None, {}) or (
        (find(look.status, "Stalled") or {})["status"] != "True"
    )
    assert not result.failed


def test_what_is_throttled_beside_a_real_failure_is_told_as_that_failure() -> None:
    halt = halt_of([Throttled("slow down"), AccessDenied("no", action="a:B", target="*")])
    _, told, _, result = looked([condition("Ready", "True", 2)], halt)
    assert halt.reason == "AccessDenied" and result.failed
    assert [reason for reason, _ in told.said] == ["AccessDenied"]
