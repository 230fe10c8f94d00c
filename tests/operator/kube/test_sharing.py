"""How replicas share Platforms, played by replicas that each decide for themselves."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from weir.kube.sharing import placed, surplus


def play(replicas: list[str], holders: dict[str, str]) -> tuple[dict[str, str], int]:
    """Rounds in which everybody gives up and takes, until nothing moves. Gives how many moved."""
    moved = 0
    for _ in range(20):
        given = {name: surplus(name, replicas, holders) for name in replicas}
        free = [platform for one in given.values() for platform in one]
        if not free:
            return holders, moved
        kept = {platform: who for platform, who in holders.items() if platform not in free}
        holders = {**kept, **placed(free, replicas, kept)}
        moved += len(free)
    raise AssertionError("it flaps")


@pytest.mark.parametrize("seed", range(40))
def test_shares_become_fair_and_then_nothing_moves(seed: int) -> None:
    chance = random.Random(seed)
    replicas = [f"replica-{number}" for number in range(chance.randint(1, 6))]
    platforms = [f"platform-{number}" for number in range(chance.randint(0, 25))]
    before = {platform: chance.choice(replicas) for platform in platforms}
    after, moved = play(replicas, before)
    assert after.keys() == before.keys()
    counts = [Counter(after.values())[name] for name in replicas]
    assert max(counts) - min(counts) <= 1
    fair = len(platforms) // len(replicas)
    too_few = sum(max(0, fair - Counter(before.values())[name]) for name in replicas)
    too_many = sum(max(0, Counter(before.values())[name] - fair - 1) for name in replicas)
    assert moved == max(too_few, too_many), "no more than must"


def test_what_a_dead_replica_held_is_spread_and_the_rest_stays() -> None:
    holders = {"a": "one", "b": "one", "c": "two", "d": "two", "e": "gone", "f": "gone"}
    left = {platform: who for platform, who in holders.items() if who != "gone"}
    taken = placed(["e", "f"], ["one", "two"], left)
    assert sorted(taken.values()) == ["one", "two"]
    assert surplus("one", ["one", "two"], {**left, **taken}) == []


def test_everybody_comes_to_the_same_result_in_whatever_order_it_looks() -> None:
    free, replicas = ["x", "y", "z"], ["one", "two", "three"]
    assert placed(free, replicas, {}) == placed(free[::-1], replicas[::-1], {})


def test_equal_replicas_are_chosen_by_preference_and_not_by_name() -> None:
    first = Counter(placed([f"p-{n}"], ["one", "two"], {})[f"p-{n}"] for n in range(200))
    assert min(first.values()) > 60


def test_where_nobody_lives_nobody_takes() -> None:
    assert placed(["a"], [], {}) == {}
