"""Metrics: what is added up, what goes with its object, and what waits in the queue."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Gauge

from weir.aws.session import Call
from weir.kube.keys import Key
from weir.reconcile.apply import Entry
from weir.reconcile.metrics import Metrics
from weir.reconcile.plan import Action, Verb
from weir.reconcile.queue import KeyedQueue, Lane
from weir.reconcile.tallied import Tallied
from weir_contract.runs import Failure, RunRecord, StageAccount

ORDERS = Key("DataSource", "team", "orders")
OTHERS = Key("DataSource", "team", "others")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """Values by the labels' values, in the labels' order of names."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def entry(name: str, state: str = "Ready") -> Entry:
    return Entry("iam.Role", name, name, state=state)


def record(state: str, rows: int, error: str = "") -> RunRecord:
    return RunRecord(
        "r1",
        "source",
        "team/orders",
        state,  # type: ignore[arg-type]
        "2026-01-01T00:00:00Z",
        rows=rows,
        account=(StageAccount("land", "land", rows + 2, rows, quarantined=2),),
        failure=Failure("land", error, "it failed") if error else None,
    )


def test_a_sum_that_comes_to_nothing_is_no_sample(registry: CollectorRegistry) -> None:
    tallied = Tallied(Gauge("things", "Things.", ["kind"], registry=registry))
    tallied.put("a", {("x",): 2, ("y",): 1})
    tallied.put("b", {("x",): 3})
    assert samples(registry, "things") == {("x",): 5, ("y",): 1}
    tallied.put("a", {("y",): 4})
    assert samples(registry, "things") == {("x",): 3, ("y",): 4}
    tallied.put("b", {})
    tallied.put("a", {})
    tallied.put("never seen", {})
    assert samples(registry, "things") == {}


def test_all_that_is_said_of_an_object_goes_with_it(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    empty = {sample for family in registry.collect() for sample in family.samples}
    metrics.owns(ORDERS, [entry("a"), entry("b", "Creating")])
    metrics.says(ORDERS, [{"type": "Ready", "status": "False", "reason": "Conflict"}])
    metrics.edited(ORDERS, 3)
    metrics.ran(ORDERS, record("Failed", 5, "AccountDoesNotAddUp"), 1.0, 1.0, 1.0)
    assert samples(registry, "weir_source_last_run_failed") == {("orders", "team"): 1}
    metrics.forget(ORDERS)
    metrics.synced(ORDERS, 3)
    left = {sample for family in registry.collect() for sample in family.samples}
    assert {(one.name, one.value) for one in left} == {(one.name, one.value) for one in empty}


def test_objects_are_counted_by_what_their_conditions_say(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    denied = {"type": "Ready", "status": "False", "reason": "AccessDenied"}
    for key in (ORDERS, OTHERS):
        metrics.says(key, [denied, {"type": "Stalled", "status": "True", "reason": "AccessDenied"}])
    assert samples(registry, "weir_objects") == {
        ("Ready", "DataSource", "AccessDenied", "False"): 2,
        ("Stalled", "DataSource", "AccessDenied", "True"): 2,
    }
    metrics.says(OTHERS, [{"type": "Ready", "status": "True", "reason": "Ready"}])
    assert samples(registry, "weir_objects") == {
        ("Ready", "DataSource", "AccessDenied", "False"): 1,
        ("Stalled", "DataSource", "AccessDenied", "True"): 1,
        ("Ready", "DataSource", "Ready", "True"): 1,
    }


def test_runs_are_counted_without_names_where_single_objects_are_switched_off(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry, per_object=False)
    metrics.ran(ORDERS, record("Failed", 5, "AccountDoesNotAddUp"), 1.0, 1.0, 1.0)
    metrics.ran(OTHERS, record("Failed", 7, "no name: s3://of/anything"), 1.0, 1.0, 1.0)
    assert samples(registry, "weir_last_runs") == {
        ("AccountDoesNotAddUp", "DataSource", "Failed"): 1,
        ("Other", "DataSource", "Failed"): 1,
    }
    assert samples(registry, "weir_last_run_rows")["DataSource", "quarantined"] == 4
    assert samples(registry, "weir_source_rows") == {}


def test_the_time_of_an_edit_ends_when_its_own_generation_is_synced(
    registry: CollectorRegistry,
) -> None:
    now = [100.0]
    metrics = Metrics(registry, clock=lambda: now[0])
    metrics.edited(ORDERS, 2)
    now[0] = 101.0
    metrics.synced(ORDERS, 1)
    assert samples(registry, "weir_edit_to_synced_seconds_count") == {}
    metrics.edited(ORDERS, 2)
    now[0] = 101.5
    metrics.synced(ORDERS, 2)
    metrics.synced(ORDERS, 2)
    assert samples(registry, "weir_edit_to_synced_seconds_sum") == {("DataSource",): 1.5}
    assert samples(registry, "weir_edit_to_synced_seconds_count") == {("DataSource",): 1}


def test_calls_say_what_throttling_cost_them(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.called(Call("iam", "GetRole", "ok", 0.9, 2, throttles=2, held=0.7))
    metrics.called(Call("iam", "GetRole", "ok", 0.1, 0))
    assert samples(registry, "weir_aws_throttles_total") == {("iam",): 2}
    assert samples(registry, "weir_aws_throttle_wait_seconds_total") == {("iam",): 0.7}


def test_what_the_inventory_saves_is_told_by_where_the_answer_came_from(
    registry: CollectorRegistry,
) -> None:
    metrics = Metrics(registry)
    metrics.looked("iam.Role", 200, deep=False)
    metrics.looked("iam.Role", 3, deep=True)
    metrics.served("iam.Role", 50)
    assert samples(registry, "weir_inventory_resources_total") == {
        ("iam.Role", "listing"): 200,
        ("iam.Role", "deep"): 3,
        ("iam.Role", "memory"): 50,
    }
    assert samples(registry, "weir_inventory_looks_total") == {
        ("iam.Role", "listing"): 1,
        ("iam.Role", "deep"): 1,
    }


def test_actions_are_counted_by_verb_and_kind(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.acted(
        [
            Action(Verb.CREATE, "iam.Role", "role", "a"),
            Action(Verb.CREATE, "iam.Role", "role", "b"),
            Action(Verb.NONE, "iam.Role", "role", "c"),
        ]
    )
    assert samples(registry, "weir_actions_total") == {("iam.Role", "create"): 2}


def test_what_waits_grows_older_between_two_takes(registry: CollectorRegistry) -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    queue.add("first", Lane.DRIFT, 10.0)
    queue.add("second", Lane.DRIFT, 12.0)
    queue.add("later", Lane.RETRY, 10.0, delay=60.0)
    now = [20.0]
    metrics = Metrics(registry)
    metrics.follow(
        lambda: {
            lane.name: (count, queue.oldest(now[0])[lane]) for lane, count in queue.depth().items()
        }
    )
    assert samples(registry, "weir_queue_oldest_seconds")[("drift",)] == 10.0
    now[0] = 75.0
    assert samples(registry, "weir_queue_oldest_seconds")[("drift",)] == 65.0
    assert samples(registry, "weir_queue_oldest_seconds")[("retry",)] == 5.0
    assert samples(registry, "weir_queue_depth")[("drift",)] == 2
    queue.take(75.0)
    assert samples(registry, "weir_queue_oldest_seconds")[("edit",)] == 0.0


def test_a_deletion_tells_for_how_long_it_has_been_going(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, wall_clock=lambda: 1000.0)
    going = [{"type": "Ready", "status": "False", "reason": "Draining"}]
    metrics.says(ORDERS, going, deleted=900.0)
    metrics.says(OTHERS, going, deleted=400.0)
    assert samples(registry, "weir_deletion_oldest_seconds") == {("DataSource",): 600.0}
    metrics.forget(OTHERS)
    assert samples(registry, "weir_deletion_oldest_seconds") == {("DataSource",): 100.0}
    metrics.says(ORDERS, going)
    assert samples(registry, "weir_deletion_oldest_seconds") == {}


def test_quotas_go_with_their_platform(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.quota("default", "iam-roles", 900, 1000)
    metrics.quota("other", "iam-roles", 1, 1000)
    metrics.forget(Key("Platform", "", "default"))
    assert samples(registry, "weir_quota_used") == {("other", "iam-roles"): 1}
    assert samples(registry, "weir_quota_limit") == {("other", "iam-roles"): 1000}
