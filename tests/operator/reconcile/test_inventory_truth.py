"""The rules that keep the inventory true, whatever happens in whatever order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fake_cloud import BLIND, Cloud, Thing, adapters, confirm, without
from hypothesis import given, settings
from hypothesis import strategies as st

from patience import PATIENCE_SECONDS
from weir.aws.errors import Throttled
from weir.kube.keys import Key
from weir.reconcile.diff import changes
from weir.reconcile.inventory import CONSISTENCY_GRACE, THEIRS, Finding, Inventory
from weir.resource import EVERYTHING, Observed, Resource

NAMES = ("a", "b", "c")
OWNER = Key("DataSource", "team", "s")


class Lagging:
    """An account whose listings may be old: each shows the things of some moment before."""

    def __init__(self, kind: str) -> None:
        self.cloud = Cloud(blind=BLIND)
        self.kind = kind
        self.now = 0.0
        self.inventory = Inventory(adapters(self.cloud), 50, lambda: self.now)
        self.written: dict[str, int] = {}

    def write(self, name: str, value: int) -> None:
        thing = Thing({"V": value}, {}, value)
        self.cloud.things[self.kind, name] = thing
        self.inventory.wrote(self.kind, name, Observed(name, {"V": value}))
        self.written[name] = value

    def delete(self, name: str) -> None:
        self.cloud.things.pop((self.kind, name), None)
        self.inventory.wrote(self.kind, name, None)
        self.written.pop(name, None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "look", "survey", "slow survey", "rotate", "confirm"]),
        st.sampled_from(NAMES),
        st.floats(0, 70),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["object", "role"]), steps)
def test_what_we_wrote_is_what_is_known_however_late_a_listing_comes(
    kind: str, todo: list[tuple[str, str, float]]
) -> None:
    world = Lagging(kind)
    world.inventory.expect((kind, name) for name in NAMES)
    adapter = world.inventory._adapters[kind]
    honest = adapter.survey
    for count, (what, name, seconds) in enumerate(todo, 1):
        world.now += seconds
        if what == "write":
            world.write(name, count)
        elif what == "delete":
            world.delete(name)
        elif what == "look":
            world.inventory.see([(kind, name)])
        elif what == "survey":
            world.inventory.survey(kind)
        elif what == "slow survey":
            # The listing is taken, then somebody writes, then the listing arrives.
            def late(names: Sequence[str], name: str = name, count: int = count):
                seen = list(honest(names))
                world.now += 1
                world.write(name, count)
                world.now += 1
                return seen

            adapter.survey = late  # type: ignore[method-assign]
            world.inventory.survey(kind)
            adapter.survey = honest  # type: ignore[method-assign]
        elif what == "rotate":
            world.inventory.rotate(2)
        elif what == "confirm":
            confirm(world.inventory, (kind, name), "m")
        found = world.inventory.get([(kind, one) for one in NAMES])
        assert {one: seen.properties["V"] for (_, one), seen in found.items()} == world.written


def test_a_listing_that_began_before_a_write_never_beats_it() -> None:
    world = Lagging("object")
    world.write("a", 1)
    confirm(world.inventory, ("object", "a"), "m")
    adapter = world.inventory._adapters["object"]
    honest = adapter.survey

    def late(names: Sequence[str]) -> list[Observed]:
        seen = list(honest(names))
        world.now += 5
        world.write("a", 2)
        return seen

    world.now = 100
    adapter.survey = late  # type: ignore[method-assign]
    assert world.inventory.survey("object") == []
    assert world.inventory.get([("object", "a")])["object", "a"].properties == {"V": 2}


@pytest.mark.parametrize("after", [CONSISTENCY_GRACE - 1, CONSISTENCY_GRACE + 1])
def test_a_kind_whose_reads_lag_is_not_believed_until_the_grace_is_over(after: float) -> None:
    world = Lagging("role")
    world.now = 100
    world.write("a", 1)
    world.cloud.things["role", "a"].properties["V"] = 0  # What a lagging read still shows.
    world.now += after
    world.inventory.survey("role")
    found = world.inventory.get([("role", "a")])["role", "a"].properties["V"]
    assert found == (1 if after < CONSISTENCY_GRACE else 0)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.integers(0, 3)),
    st.frozensets(st.sampled_from("ABCDE")),
)
def test_an_unseen_property_never_counts_as_absent(
    properties: dict[str, int], blind: frozenset[str]
) -> None:
    wanted = Resource("object", "o", "o", properties, tagged=False)
    seen = without(Observed("o", properties), blind)
    traits = adapters(Cloud())["object"].traits
    assert changes(wanted, seen, traits) == ()
    cloud = Cloud(blind={"object": blind})
    cloud.things["object", "o"] = Thing(dict(properties), {}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    inventory.own(OWNER, [wanted.key])
    assert inventory.get([wanted.key])[wanted.key].properties == properties
    confirm(inventory, wanted.key, "m")
    assert inventory.survey("object") == []
    assert inventory.get([wanted.key])[wanted.key].properties == properties


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("ABCD"), st.integers(0, 2), min_size=1),
    st.dictionaries(st.sampled_from("ABCD"), st.integers(0, 2), min_size=1),
    st.frozensets(st.sampled_from("ABCD")),
)
def test_a_listing_finds_a_change_just_where_it_shows_one(
    before: dict[str, int], after: dict[str, int], blind: frozenset[str]
) -> None:
    cloud = Cloud(blind={"object": blind})
    cloud.things["object", "o"] = Thing(dict(before), {}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    inventory.own(OWNER, [("object", "o")])
    inventory.get([("object", "o")])
    confirm(inventory, ("object", "o"), "m")
    cloud.things["object", "o"].properties = dict(after)
    shows = {k: v for k, v in before.items() if k not in blind} != {
        k: v for k, v in after.items() if k not in blind
    }
    found = [finding.name for finding in inventory.survey("object")]
    assert found == (["o"] if shows else [])
    if not shows and before != after:
        assert [one.name for one in inventory.rotate(10)[0]] == ["o"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=12))
def test_absence_counts_only_when_a_second_look_says_so(shows: list[bool]) -> None:
    """Each look at the account sees the thing or not, as a flickering listing does."""
    cloud, now = Cloud(), [0.0]
    kinds = adapters(cloud)
    inventory = Inventory(kinds, 10, lambda: now[0])
    inventory.own(OWNER, [("object", "o")])
    inventory.wrote("object", "o", Observed("o", {"V": 1}))
    confirm(inventory, ("object", "o"), "m")
    answers = iter([*shows, True, True])

    def look(_names: Sequence[str]) -> dict[str, Observed]:
        return {"o": Observed("o", {"V": 1})} if next(answers) else {}

    kinds["object"].survey = lambda names: look(names).values()  # type: ignore[method-assign,assignment]
    kinds["object"].observe = look  # type: ignore[method-assign]
    used = 0
    while used < len(shows) - 1:
        now[0] += 20
        gone = [one.what for one in inventory.survey("object")] == ["gone"]
        first, second = shows[used], shows[used + 1]
        used += 1 if first else 2
        assert gone == (not first and not second)
        if gone:
            break


def test_a_confirmed_entry_keeps_no_properties_but_knows_when_they_change() -> None:
    cloud = Cloud()
    cloud.things["object", "o"] = Thing({"Body": "x" * 10_000}, {"t": "1"}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    inventory.get([("object", "o")])
    confirm(inventory, ("object", "o"), "m")
    sight = inventory.see([("object", "o")])[0]["object", "o"]
    assert sight.mark == "m"
    assert sight.observed.unseen is EVERYTHING and not sight.observed.properties
    assert sight.observed.attributes["arn"]
    inventory.own(OWNER, [("object", "o")])
    cloud.things["object", "o"].tags = {"t": "2"}
    assert [one.what for one in inventory.survey("object")] == ["changed"]


def test_what_is_not_ours_keeps_its_properties_for_those_who_read_them() -> None:
    cloud = Cloud()
    cloud.things["object", "o"] = Thing({"Body": "theirs"}, {}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    inventory.get([("object", "o")])
    confirm(inventory, ("object", "o"), THEIRS)
    cloud.calls.clear()
    assert inventory.get([("object", "o")])["object", "o"].properties == {"Body": "theirs"}
    assert cloud.calls == []


def test_what_was_written_shrinks_once_looks_may_cover_the_write_though_nobody_looks() -> None:
    now = [0.0]
    inventory = Inventory(adapters(Cloud()), 60, lambda: now[0])
    first, second = ("role", "first"), ("role", "second")
    for key in (first, second):
        inventory.wrote(*key, Observed(key[1], {"V": 1}))
        confirm(inventory, key, "m")
    now[0] = CONSISTENCY_GRACE / 2
    inventory.wrote(*second, Observed("second", {"V": 2}))
    confirm(inventory, second, "m")
    assert inventory.peek(first).properties == {"V": 1}  # type: ignore[union-attr]
    now[0] = CONSISTENCY_GRACE
    inventory.wrote("object", "o", Observed("o", {}))
    assert inventory.peek(first).unseen is EVERYTHING  # type: ignore[union-attr]
    assert inventory.peek(second).properties == {"V": 2}  # type: ignore[union-attr]
    now[0] = 2 * CONSISTENCY_GRACE
    inventory.wrote("object", "o", Observed("o", {}))
    assert inventory.peek(second).unseen is EVERYTHING  # type: ignore[union-attr]


def test_what_a_listing_showed_before_it_failed_is_told_by_the_next_one() -> None:
    cloud, now = Cloud(blind=BLIND), [0.0]
    for name in NAMES:
        cloud.things["object", name] = Thing({"Body": "1"}, {}, 1)
    kinds = adapters(cloud)
    whole = kinds["object"].survey
    inventory = Inventory(kinds, 60, lambda: now[0])
    keys = [("object", name) for name in NAMES]
    inventory.own(OWNER, keys)
    inventory.deepen(keys)
    for key in keys:
        confirm(inventory, key, "m")
    now[0] += 100
    assert inventory.survey("object") == []

    def torn(names: Sequence[str]) -> Iterator[Observed]:
        seen = whole(names)
        yield replace(next(iter(seen)), attributes={"arn": "another"})
        raise Throttled("too many calls")

    kinds["object"].survey = torn  # type: ignore[method-assign]
    now[0] += 100
    with pytest.raises(Throttled):
        inventory.survey("object")
    kinds["object"].survey = whole  # type: ignore[method-assign]
    now[0] += 100
    assert {one.name for one in inventory.survey("object")} == {NAMES[0]}


def test_a_version_that_stays_the_same_spares_the_deep_look_and_a_new_one_asks_for_it() -> None:
    cloud, now = Cloud(blind=BLIND), [0.0]
    cloud.things["object", "o"] = Thing({"Body": "1"}, {}, 1)
    kinds = adapters(cloud)
    version = ["v1"]
    real = kinds["object"].survey

    def survey(names: Sequence[str]) -> Iterator[Observed]:
        return (replace(one, version=version[0]) for one in real(names))

    kinds["object"].survey = survey  # type: ignore[method-assign]
    inventory = Inventory(kinds, 60, lambda: now[0])
    inventory.own(OWNER, [("object", "o")])
    inventory.see([("object", "o")])
    assert inventory.hazy() == 1
    now[0] += 100
    inventory.deepen([("object", "o")])
    confirm(inventory, ("object", "o"), "m")
    now[0] += 100
    assert inventory.survey("object") == [] and inventory.hazy() == 0
    version[0] = "v2"
    now[0] += 100
    assert [one.what for one in inventory.survey("object")] == ["changed"]
    assert inventory.see([("object", "o")])[0]["object", "o"].doubt


def test_those_who_wait_for_deep_looks_at_a_kind_are_taken_along_by_the_next() -> None:
    cloud = Cloud(blind=BLIND)
    for number in range(9):
        cloud.things["object", f"o{number}"] = Thing({"Body": "1"}, {}, 1)
    kinds = adapters(cloud)
    entered, go_on = threading.Event(), threading.Event()
    real, asked = kinds["object"].observe, list[int]()

    def observe(names: Sequence[str]) -> dict[str, Observed]:
        asked.append(len(names))
        entered.set()
        go_on.wait(PATIENCE_SECONDS)
        return real(names)

    kinds["object"].observe = observe  # type: ignore[method-assign]
    inventory = Inventory(kinds, 60, time.monotonic)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(inventory.deepen, [("object", "o0")])
        assert entered.wait(PATIENCE_SECONDS)
        others = [pool.submit(inventory.deepen, [("object", f"o{n}")]) for n in range(1, 9)]
        while len(inventory._waiting["object"]) < 8:
            threading.Event().wait(0.01)
        go_on.set()
        for number, one in enumerate([first, *others]):
            assert ("object", f"o{number}") in one.result()[0]
    assert asked == [1, 8]


def test_an_object_that_gives_a_resource_up_is_woken_for_it_no_more() -> None:
    inventory = Inventory(adapters(Cloud()), 60, lambda: 0.0)
    other = Key("DataSource", "team", "t")
    inventory.own(OWNER, [("object", "a"), ("object", "shared")])
    inventory.own(other, [("object", "shared")])
    assert inventory.owners(("object", "shared")) == (OWNER, other)
    inventory.own(OWNER, [("object", "a")])
    assert inventory.owners(("object", "shared")) == (other,)
    inventory.own(OWNER, ())
    assert inventory.owners(("object", "a")) == ()


def test_what_has_changed_since_it_was_judged_is_not_taken_for_as_wanted() -> None:
    cloud = Cloud()
    key = ("object", "o")
    cloud.things[key] = Thing({"A": 1}, {}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    inventory.own(OWNER, [key])
    judged = inventory.get([key])[key]
    cloud.things[key].properties = {"A": 2}
    assert [finding.what for finding in inventory.survey("object")] == ["changed"]
    inventory.confirm({key: (judged, "m")})
    sights, _ = inventory.see([key])
    assert sights[key].mark == ""
    assert [finding.what for finding in inventory.survey("object")] == ["unconfirmed"]


def test_readers_of_several_kinds_look_at_them_side_by_side() -> None:
    cloud = Cloud()
    kinds = ("object", "role")
    for kind in kinds:
        cloud.things[kind, "x"] = Thing({"A": 1}, {}, 1)
    both = threading.Barrier(2)

    class Meeting(Inventory):
        def _survey(self, kind: str, names: Sequence[str]) -> list[Finding]:
            both.wait(PATIENCE_SECONDS)
            return super()._survey(kind, names)

    inventory = Meeting(adapters(cloud), 60, lambda: 0.0)
    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(inventory.see, [(kind, "x") for kind in kinds]) for _ in range(2)]
        assert [sorted(look.result()[0]) for look in looks] == [
            [("object", "x"), ("role", "x")]
        ] * 2
