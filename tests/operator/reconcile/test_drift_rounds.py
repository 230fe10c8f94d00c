"""What a drift round finds, what it costs, and whom it wakes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fake_cloud import BLIND, TRAITS, Cloud, Crash, NthCall, Thing, adapters

from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AccessDenied
from weir.kube.keys import Key
from weir.reconcile import drift
from weir.reconcile.apply import Applied, Applier, Entry, NotConverging
from weir.reconcile.drift import DriftRounds, Round, deep_budget, drift_round
from weir.reconcile.inventory import CONSISTENCY_GRACE, Inventory
from weir.reconcile.plan import Verb
from weir.reconcile.queue import Lane
from weir.reconcile.world import Worlds
from weir.resource import Owner, Resource


class Installation:
    """Objects of one Platform: their statuses outlive a restart, and nothing else does."""

    def __init__(self, cloud: Cloud, count: int = 1) -> None:
        self.cloud = cloud
        self.now = 0.0
        self.pool = ThreadPoolExecutor(1)
        self.status: dict[str, list[Entry]] = {f"s{i}": [] for i in range(count)}
        self.rate = dict.fromkeys(self.status, "1")
        self.woken: list[Key] = []
        self.lanes: list[Lane] = []
        self.restart()

    def restart(self) -> None:
        kinds = adapters(self.cloud)
        self.inventory = Inventory(kinds, 1000, lambda: self.now)
        self.applier = Applier(kinds, self.inventory, self.pool)
        for name, entries in self.status.items():
            self.inventory.expect(
                [one.key for one in entries if not one.mark and one.state == "Ready"], deeply=True
            )
            self.inventory.own(key_of(name), [one.key for one in entries])

    def wanted(self, name: str) -> list[Resource]:
        return [
            Resource("role", "role", f"role-{name}", {"Policies": ["a"]}),
            Resource(
                "function", "fn", f"fn-{name}", {"Package": "Zip", "Code": "1", "Env": {"C": "1"}}
            ),
            Resource("object", "config", f"object-{name}", {"Body": "b"}, tagged=False),
            Resource("schedule", "tick", f"tick-{name}", {"Target": "t", "Rate": self.rate[name]}),
        ]

    def apply(self, name: str) -> Applied:
        owner = Owner("c", "DataSource", "team", name, f"uid-{name}")
        resources = self.wanted(name)
        self.inventory.own(key_of(name), [one.key for one in resources])

        def write_ahead(entries: list[Entry]) -> None:
            self.status[name] = entries

        result = self.applier.apply(
            owner, resources, owner.tags, self.status[name], write_ahead=write_ahead
        )
        self.status[name] = result.entries
        return result

    def apply_all(self) -> list[Applied]:
        return [self.apply(name) for name in self.status]

    def pass_time(self, seconds: float = 60.0) -> None:
        self.now += seconds

    def round(self) -> Round:
        self.pass_time()
        world: Any = SimpleNamespace(inventory=self.inventory)
        self.woken, self.lanes = [], []

        def wake(key: Key, lane: Lane) -> None:
            self.lanes.append(lane)
            if key not in self.woken:
                self.woken.append(key)

        return drift_round("p", world, wake)

    def reads(self) -> list[tuple[str, str, str]]:
        return [call for call in self.cloud.calls if call not in self.cloud.writes]


def key_of(name: str) -> Key:
    return Key("DataSource", "team", name)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(blind=BLIND)


def made(cloud: Cloud, count: int = 1) -> Installation:
    found = Installation(cloud, count)
    for result in found.apply_all():
        assert result.converged
    found.pass_time(CONSISTENCY_GRACE + 1)
    cloud.calls.clear()
    return found


def test_a_restart_costs_one_listing_a_kind_however_many_objects_there_are(cloud: Cloud) -> None:
    found = made(cloud, 50)
    found.restart()
    for result in found.apply_all():
        assert result.converged and not result.done
    assert len(cloud.calls) == len({one.kind for one in found.wanted("s0")})
    assert {call[0] for call in cloud.calls} == {"survey"}


def test_a_restart_looks_deeply_where_no_mark_stands_for_what_listings_leave_out(
    cloud: Cloud,
) -> None:
    found = made(cloud, 20)
    for name, entries in found.status.items():
        found.status[name] = [replace(entry, mark="") for entry in entries]
    cloud.things["schedule", "tick-s3"].properties["Rate"] = "9"
    found.restart()
    done = [action.name for result in found.apply_all() for action in result.done]
    assert done == ["tick-s3"]
    deep = [call for call in cloud.calls if call[0] == "observe"]
    assert len(deep) == len({one.kind for one in found.wanted("s0")})
    assert all(entry.mark for entries in found.status.values() for entry in entries)


def test_a_spec_that_changed_while_nobody_ran_is_applied_after_a_deep_look(cloud: Cloud) -> None:
    found = made(cloud, 3)
    found.rate["s1"] = "2"
    found.restart()
    done = [action for result in found.apply_all() for action in result.done]
    assert [(action.verb, action.name) for action in done] == [(Verb.UPDATE, "tick-s1")]
    assert ("observe", "schedule", "tick-s1") in cloud.calls
    assert cloud.things["schedule", "tick-s1"].properties["Rate"] == "2"


def test_a_listing_that_shows_a_difference_after_a_restart_is_followed_by_a_deep_look(
    cloud: Cloud,
) -> None:
    found = made(cloud)
    cloud.things["role", "role-s0"].properties["Policies"] = ["evil"]
    found.restart()
    (action,) = found.apply("s0").done
    assert [change.path for change in action.changes] == ["Policies"]
    assert ("observe", "role", "role-s0") in cloud.calls


@pytest.mark.parametrize("mark", ["", "0123456789ab"], ids=["no mark", "another mark"])
def test_what_a_listing_leaves_out_is_never_taken_for_absent(cloud: Cloud, mark: str) -> None:
    found = made(cloud)
    found.status["s0"] = [replace(entry, mark=mark) for entry in found.status["s0"]]
    found.restart()
    assert found.apply("s0").done == []
    assert cloud.writes == []


def test_a_round_over_what_nobody_touched_wakes_nobody_and_lists_each_kind_once(
    cloud: Cloud,
) -> None:
    found = made(cloud, 10)
    done = found.round()
    assert (done.findings, done.faults, found.woken) == ([], {}, [])
    kinds = {one.kind for one in found.wanted("s0")}
    listings = [call for call in cloud.calls if call[0] == "survey"]
    assert sorted(kind for _, kind, _ in listings) == sorted(kinds)


CHANGES = {
    "in a listing": ("role", "Policies", ["evil"], 0),
    "behind a listing": ("schedule", "Rate", "9", 0),
    "tags behind a listing": ("function", None, None, 0),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_others_change_wakes_its_owner_alone_and_is_put_right(cloud: Cloud, case: str) -> None:
    kind, name, value, _ = CHANGES[case]
    found = made(cloud, 5)
    thing = next(one for key, one in cloud.things.items() if key[0] == kind and "s2" in key[1])
    before = (dict(thing.properties), dict(thing.tags))
    if name is None:
        thing.tags.clear()
    else:
        thing.properties[name] = value
    found.round()
    assert found.woken == [key_of("s2")]
    if name is None:  # Nobody owns it now: it is not taken back without leave.
        assert found.apply("s2").problems
        return
    result = found.apply("s2")
    assert [action.kind for action in result.done] == [kind]
    assert result.drifted == {(kind, result.done[0].name)}
    assert (thing.properties, thing.tags) == before
    found.pass_time(CONSISTENCY_GRACE)
    found.round()
    assert found.woken == []


def test_what_others_delete_is_missed_after_a_second_look_and_made_again(cloud: Cloud) -> None:
    found = made(cloud, 3)
    del cloud.things["function", "fn-s1"]
    done = found.round()
    assert [(one.what, one.name) for one in done.findings] == [("gone", "fn-s1")]
    assert ("observe", "function", "fn-s1") in cloud.calls
    assert found.woken == [key_of("s1")]
    assert [action.verb for action in found.apply("s1").done] == [Verb.CREATE]


def test_one_listing_that_lacks_something_is_not_believed(cloud: Cloud) -> None:
    found = made(cloud, 2)
    adapter = found.applier._adapters["function"]
    adapter.survey = lambda names: ()  # type: ignore[method-assign,assignment]
    assert found.round().findings == []
    assert found.woken == []


def test_a_kind_that_cant_be_listed_leaves_the_others_looked_at(cloud: Cloud) -> None:
    found = made(cloud)

    def denied(operation: str, kind: str, _name: str, _done: bool) -> None:
        if (operation, kind) == ("survey", "role"):
            raise AccessDenied("no", action="iam:ListRoles", target="*")

    cloud.fault = denied
    cloud.things["object", "object-s0"].properties["Body"] = "else"
    done = found.round()
    assert set(done.faults) == {"role"}
    assert found.woken == [key_of("s0")]


def test_an_external_resource_that_appears_goes_or_changes_wakes_who_needs_it(
    cloud: Cloud,
) -> None:
    found = made(cloud)
    owner = Owner("c", "DataSource", "team", "s0", "uid-s0")
    secret = Resource("object", "secret", "theirs", external=True)
    found.inventory.own(key_of("s0"), [secret.key])
    assert found.applier.apply(owner, [secret], owner.tags).problems
    cloud.things["object", "theirs"] = Thing({"Body": "1"}, {}, 0)
    found.round()
    assert found.woken == [key_of("s0")]
    assert found.lanes == [Lane.DEPENDENT], "it has failed often: that is forgotten now"
    assert found.applier.apply(owner, [secret], owner.tags).converged
    found.round()
    assert found.woken == []
    del cloud.things["object", "theirs"]
    found.round()
    assert found.woken == [key_of("s0")]


def test_what_has_no_owner_any_more_is_forgotten(cloud: Cloud) -> None:
    found = made(cloud, 2)
    found.inventory.own(key_of("s1"), ())
    found.inventory.ttl = 10
    found.round()
    found.round()
    cloud.calls.clear()
    found.round()
    assert not [call for call in cloud.calls if "s1" in call[2]]


def test_deep_looks_go_round_under_their_budget_the_oldest_first(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LEAST_DEEP", 6)
    found = made(cloud, 12)
    found.restart()
    found.apply_all()
    seen: list[str] = []
    for _ in range(8):
        cloud.calls.clear()
        found.round()
        names = [name for verb, _, names in cloud.calls if verb == "observe"
                 for name in names.split(",")]  # fmt: skip
        assert len(names) <= 6
        seen += names
    assert len(seen) == 48 and len(set(seen)) == 48


@pytest.mark.parametrize(("hazy", "budget"), [(0, 100), (90, 100), (5_000, 100), (45_000, 900)])
def test_a_small_installation_is_seen_wholly_each_round_and_a_large_one_in_parts(
    hazy: int, budget: int
) -> None:
    assert deep_budget(hazy) == budget


def test_what_was_quiet_for_long_is_looked_at_less_often(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LEAST_DEEP", 4)
    found = made(cloud, 2)
    for _ in range(20):
        found.round()
    cloud.things["schedule", "tick-s0"].properties["Rate"] = "9"
    while not found.woken:
        found.round()
    found.apply("s0")
    cloud.calls.clear()
    for _ in range(6):
        found.round()
    looks = [names for verb, _, names in cloud.calls if verb == "observe"]
    count = {name: sum(name in one for one in looks) for name in ("tick-s0", "tick-s1")}
    assert count["tick-s0"] > count["tick-s1"]


def test_a_difference_that_always_comes_back_is_named_by_rounds_too(cloud: Cloud) -> None:
    found = made(cloud)
    problems = []
    for _ in range(5):
        cloud.things["schedule", "tick-s0"].properties["Rate"] = "theirs"
        found.round()
        assert found.woken == [key_of("s0")]
        problems = found.apply("s0").problems
    assert isinstance(problems[0].error, NotConverging) and "Rate" in str(problems[0].error)


def test_what_aws_normalises_is_looked_at_again_each_round_until_the_field_is_named(
    cloud: Cloud,
) -> None:
    found = Installation(cloud)
    adapter = found.applier._adapters["schedule"]
    honest = adapter._seen

    def folded(name: str) -> Any:
        seen = honest(name)
        return replace(seen, properties={**seen.properties, "Target": "T"})

    adapter._seen = folded  # type: ignore[method-assign]
    assert found.apply("s0").entries[-1].mark == ""
    problems: list[Any] = []
    for _ in range(5):
        found.round()
        assert found.woken == [key_of("s0")]
        problems = found.apply("s0").problems
    assert isinstance(problems[0].error, NotConverging) and "Target" in str(problems[0].error)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_crash_in_a_change_that_is_taken_back_leaves_nothing_of_it(done: bool) -> None:
    for number in range(4):
        cloud = Cloud(blind=BLIND)
        found = made(cloud)
        found.rate["s0"] = "2"
        cloud.fault = NthCall(number, Crash(), done)
        try:
            found.apply("s0")
        except Crash:
            found.restart()
        cloud.fault = None
        found.rate["s0"] = "1"
        found.apply("s0")
        assert cloud.things["schedule", "tick-s0"].properties["Rate"] == "1", number


def test_a_failed_write_is_followed_by_a_deep_look(cloud: Cloud) -> None:
    found = made(cloud)
    found.rate["s0"] = "2"

    def lost(operation: str, _kind: str, _name: str, done: bool) -> None:
        if operation == "update" and done:
            raise AccessDenied("lost", action="x:Y", target="*")

    cloud.fault = lost
    assert found.apply("s0").problems
    cloud.fault = None
    found.rate["s0"] = "1"
    assert [action.verb for action in found.apply("s0").done] == [Verb.UPDATE]
    assert cloud.things["schedule", "tick-s0"].properties["Rate"] == "1"


class Named:
    """Worlds of which only the intervals matter."""

    def __init__(self, **intervals: float) -> None:
        self.intervals = intervals
        self.worlds: dict[str, Any] = {name: object() for name in intervals}

    def known(self) -> dict[str, Any]:
        return dict(self.worlds)

    def interval(self, platform: str) -> float:
        return self.intervals[platform]

    def cycled(self, platform: str, seconds: float) -> None:
        self.cycles = {platform: seconds}


def test_a_round_is_due_an_interval_after_the_world_was_made_and_never_twice_at_once() -> None:
    now = [0.0]
    worlds: Any = Named(a=100.0)
    rounds = DriftRounds(worlds, lambda *_: None, lambda: now[0])
    assert rounds.due() == {}
    now[0] = 89.0
    assert rounds.due() == {}
    now[0] = 101.0
    assert list(rounds.due()) == ["a"]
    now[0] = 300.0
    assert rounds.due() == {}, "the round before has not ended"


def test_the_first_round_comes_an_interval_after_the_last_of_the_first_looks() -> None:
    now, left = [0.0], [3]
    worlds: Any = Named(a=100.0)
    rounds = DriftRounds(worlds, lambda *_: None, lambda: now[0], opening=lambda: left[0] > 0)
    for moment in (0.0, 101.0, 250.0):
        now[0] = moment
        assert rounds.due() == {}
    left[0] = 0
    now[0] = 339.0
    assert rounds.due() == {}
    now[0] = 351.0
    assert list(rounds.due()) == ["a"]


def test_rounds_that_take_longer_than_the_interval_leave_half_of_the_time_to_edits() -> None:
    now = [0.0]
    worlds: Any = Named(a=10.0)
    rounds = DriftRounds(worlds, lambda *_: None, lambda: now[0])
    rounds.due()
    now[0] = 10.0
    assert list(rounds.due()) == ["a"]
    now[0] = 16.0
    rounds.rest("a", began=10.0)
    assert worlds.cycles == {"a": 12.0}
    now[0] = 21.0
    assert rounds.due() == {}
    now[0] = 22.5
    assert list(rounds.due()) == ["a"]


def test_where_rounds_take_longer_than_the_interval_observations_count_for_longer() -> None:
    with ThreadPoolExecutor(1) as pool:
        worlds = Worlds(pool, time.monotonic, 600.0, slack=2.5)
        world = worlds.of(platform_of("p", "10s"))
        assert world.inventory.ttl == 25.0
        worlds.cycled("p", 8.0)
        assert worlds.of(platform_of("p", "10s")).inventory.ttl == 25.0
        worlds.cycled("p", 30.0)
        assert world.inventory.ttl == worlds.of(platform_of("p", "10s")).inventory.ttl == 75.0


def test_a_shorter_interval_counts_for_readers_once_a_round_has_looked_at_everything() -> None:
    with ThreadPoolExecutor(1) as pool:
        worlds = Worlds(pool, time.monotonic, 600.0, slack=2.5)
        assert worlds.of(platform_of("p", "60s")).inventory.ttl == 150.0
        assert worlds.of(platform_of("p", "10s")).inventory.ttl == 150.0
        assert worlds.interval("p") == 10.0
        worlds.cycled("p", 8.0)
        assert worlds.of(platform_of("p", "10s")).inventory.ttl == 25.0
        assert worlds.of(platform_of("p", "60s")).inventory.ttl == 150.0


def platform_of(name: str, interval: str) -> Platform:
    spec = {"region": "eu-central-1", "accountId": "111122223333", "driftInterval": interval}
    return Platform.model_validate({"metadata": {"name": name}, "spec": spec})


def test_a_shorter_interval_counts_at_once_and_a_new_world_begins_anew() -> None:
    now = [0.0]
    worlds: Any = Named(a=1000.0)
    rounds = DriftRounds(worlds, lambda *_: None, lambda: now[0])
    rounds.due()
    worlds.intervals["a"] = 10.0
    now[0] = 1.0
    assert rounds.due() == {}
    now[0] = 12.0
    assert list(rounds.due()) == ["a"]
    worlds.worlds["a"] = object()
    now[0] = 13.0
    assert rounds.due() == {}


def test_traits_of_the_fake_are_those_that_listings_speak_of() -> None:
    assert set(BLIND) <= set(TRAITS)
