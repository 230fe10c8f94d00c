from __future__ import annotations

from weir.kube.conditions import false, is_current, merged, true
from weir.kube.keys import Key
from weir.kube.store import Store


def source(name: str, version: int, **spec) -> dict:
    return {
        "kind": "DataSource",
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)},
        "spec": spec,
    }


def test_an_unchanged_condition_is_equal_to_the_one_before():
    before = merged([], [true("Ready", "Ready", "fine")], 1, "t1")
    assert merged(before, [true("Ready", "Ready", "fine")], 1, "t2") == before


def test_the_transition_time_moves_with_the_status_alone():
    before = merged([], [false("Ready", "A")], 1, "t1")
    (other,) = merged(before, [false("Ready", "B")], 1, "t2")
    assert other["lastTransitionTime"] == "t1"
    (turned,) = merged(before, [true("Ready", "B")], 1, "t2")
    assert turned["lastTransitionTime"] == "t2"


def test_a_condition_that_is_not_given_is_gone():
    before = merged([], [true("Stalled", "X")], 1, "t1")
    assert [one["type"] for one in merged(before, [true("Ready", "R")], 1, "t2")] == ["Ready"]


def test_ready_for_an_old_spec_is_not_current():
    obj = {"metadata": {"generation": 2}, "status": {}}
    obj["status"]["conditions"] = merged([], [true("Ready", "R")], 1, "t")
    assert not is_current(obj, "Ready")


def test_a_platform_knows_its_users_and_a_schema_too():
    store = Store()
    store.put(source("a", 1, platform="p", schemaRef={"name": "s"}))
    assert store.dependents(Key("Platform", "", "p")) == [Key("DataSource", "n", "a")]
    assert store.dependents(Key("DataSchema", "n", "s")) == [Key("DataSource", "n", "a")]
    store.put(source("a", 2, platform="q"))
    assert store.dependents(Key("Platform", "", "p")) == []


def test_an_older_sight_of_an_object_does_not_replace_a_newer():
    store = Store()
    store.put(source("a", 10, platform="new"))
    store.put(source("a", 9, platform="old"))
    assert store.get(Key("DataSource", "n", "a"))["spec"] == {"platform": "new"}


def test_the_removal_of_a_former_incarnation_leaves_the_present_one():
    store = Store()
    store.put(source("a", 10))
    former = source("a", 9)
    former["metadata"]["uid"] = "dead"
    store.remove(former)
    assert store.get(Key("DataSource", "n", "a")) is not None


def test_a_late_answer_to_our_own_write_does_not_bring_back_what_is_gone():
    store = Store()
    store.put(source("a", 9))
    store.remove(source("a", 10))
    store.put(source("a", 10))
    assert store.get(Key("DataSource", "n", "a")) is None
    again = source("a", 11)
    again["metadata"]["uid"] = "new"
    store.put(again)
    assert store.get(Key("DataSource", "n", "a")) is again
