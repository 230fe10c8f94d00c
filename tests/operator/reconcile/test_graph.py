from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.reconcile.graph import GraphError, waves
from weir.resource import Ref, Resource


def thing(name: str, *needs: str, refs: tuple[str, ...] = ()) -> Resource:
    return Resource("k", name, f"n-{name}", {"R": [Ref(one) for one in refs]}, depends_on=needs)


def ids(result: list[list[Resource]]) -> list[list[str]]:
    return [[one.logical_id for one in wave] for wave in result]


def test_what_depends_comes_later_whether_it_says_so_or_refers():
    assert ids(waves([thing("c", refs=("b",)), thing("b", "a"), thing("a")])) == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_a_circle_is_named():
    with pytest.raises(GraphError, match="a, b, a"):
        waves([thing("a", "b"), thing("b", "a")])


def test_a_dependency_that_nobody_defines_is_named():
    with pytest.raises(GraphError, match="a depends on ghost"):
        waves([thing("a", "ghost")])


def test_two_resources_of_one_name_are_refused():
    with pytest.raises(GraphError, match="two resources are k n-a"):
        waves([thing("a"), Resource("k", "b", "n-a")])


@given(st.data())
def test_every_resource_comes_once_and_after_all_it_needs(data):
    count = data.draw(st.integers(0, 12))
    resources = [
        thing(
            str(i),
            *data.draw(st.lists(st.sampled_from([str(j) for j in range(i)]), unique=True))
            if i
            else (),
        )
        for i in range(count)
    ]
    data.draw(st.randoms()).shuffle(resources)
    seen: set[str] = set()
    for wave in waves(resources):
        for one in wave:
            assert set(one.depends_on) <= seen
        seen |= {one.logical_id for one in wave}
    assert seen == {str(i) for i in range(count)}
