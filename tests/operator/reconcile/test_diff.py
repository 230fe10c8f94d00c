from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from weir.reconcile.diff import changes, tag_changes, wanted_tags, write_only_hash
from weir.resource import TAG_HASH, UNKNOWN, Change, Observed, Resource, Traits

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
properties = st.dictionaries(st.sampled_from(["A", "B", "C"]), trees, max_size=3)


def want(props: dict, **more) -> Resource:
    return Resource("k", "id", "name", props, **more)


def have(props: dict, tags: dict | None = None) -> Observed:
    return Observed("name", props, tags=tags or {})


@given(properties)
def test_what_is_as_wanted_has_no_changes(props):
    assert changes(want(props), have(copy.deepcopy(props)), Traits()) == ()


@given(properties, properties)
def test_there_are_changes_exactly_where_something_managed_differs(wanted, seen):
    found = {one.path.split(".")[0] for one in changes(want(wanted), have(seen), Traits())}
    for name in found:
        assert wanted[name] != seen.get(name) or repr(wanted[name]) != repr(seen.get(name))
    assert found <= set(wanted)


@given(properties, properties)
def test_after_a_change_is_applied_nothing_differs(wanted, seen):
    after = dict(seen)
    for one in changes(want(wanted), have(seen), Traits()):
        name = one.path.split(".")[0]
        after[name] = wanted[name]
    assert changes(want(wanted), have(after), Traits()) == ()


@given(st.lists(trees, max_size=5), st.randoms())
def test_an_unordered_list_is_equal_in_every_order(items, random):
    other = copy.deepcopy(items)
    random.shuffle(other)
    assert changes(want({"A": items}), have({"A": other}), Traits(unordered=frozenset({"A"}))) == ()


def test_order_counts_where_nobody_says_otherwise():
    assert changes(want({"A": [1, 2]}), have({"A": [2, 1]}), Traits()) == (
        Change("A", [2, 1], [1, 2]),
    )


def test_a_nested_list_is_unordered_by_its_path():
    traits = Traits(unordered=frozenset({"Vpc.Subnets"}))
    wanted = {"Vpc": {"Subnets": ["a", "b"], "Order": [1, 2]}}
    seen = {"Vpc": {"Subnets": ["b", "a"], "Order": [2, 1]}}
    assert [one.path for one in changes(want(wanted), have(seen), traits)] == ["Vpc.Order"]


def test_a_property_that_the_resource_does_not_name_is_not_managed():
    assert changes(want({"A": 1}), have({"A": 1, "B": 2}), Traits()) == ()


def test_a_key_that_someone_adds_inside_a_document_shows():
    found = changes(want({"A": {"x": 1}}), have({"A": {"x": 1, "y": 2}}), Traits())
    assert found == (Change("A.y", 2, None),)


def test_true_is_not_one():
    assert changes(want({"A": True}), have({"A": 1}), Traits()) != ()


def test_unknown_differs_from_everything():
    assert changes(want({"A": {"x": UNKNOWN}}), have({"A": {"x": "arn"}}), Traits()) == (
        Change("A.x", "arn", UNKNOWN),
    )


def test_a_write_only_property_is_compared_by_its_hash_and_never_shown():
    traits = Traits(write_only=frozenset({"Code"}))
    old, new = want({"Code": "one"}), want({"Code": "two"})
    tags = wanted_tags(old, traits, {"t": "v"})
    assert tags == {"t": "v", TAG_HASH: write_only_hash(old, traits)}
    assert changes(old, have({}, tags), traits) == ()
    (change,) = changes(new, have({}, tags), traits)
    assert change.path == "Code"
    assert "two" not in repr(change)


def test_tags_of_others_are_theirs():
    found = tag_changes({"a": "1"}, have({}, {"a": "0", "cost": "x"}))
    assert found == (Change("Tags.a", "0", "1"),)
