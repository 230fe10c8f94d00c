"""What objects cost when there are many: calls, work that grows with their number, memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_kube import InProcess

from weir.kube.keys import Key
from weir.reconcile.drift import drift_round
from weir.reconcile.forecast import Forecast
from weir.reconcile.queue import Lane

COUNT = 60


@pytest.fixture(scope="module")
def created(
    artifacts: Path,
) -> Iterator[tuple[InProcess, list[Key], Counter[str], int]]:
    """Sources that were applied together, with what their creation asked of AWS."""
    with pytest.MonkeyPatch.context() as patch:
        # No credentials, and nobody waits for a machine's that is none of AWS's.
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield _created(artifacts)


def _created(artifacts: Path) -> tuple[InProcess, list[Key], Counter[str], int]:
    found = InProcess(artifacts)
    platform = found.platform()
    keys = [found.source(number) for number in range(COUNT)]
    found.look(platform)
    before = len(found.things)
    found.calls.clear()
    for key in keys:
        assert found.look(key).outcome == "suspended", found.condition(key)
    calls = Counter(call.split()[0] for call in found.calls)
    return found, keys, calls, len(found.things) - before


@pytest.fixture
def restarted(
    created: tuple[InProcess, list[Key], Counter[str], int],
) -> Iterator[tuple[InProcess, list[Key]]]:
    """A new process over what the one before left."""
    found, keys, _, _ = created
    found.start()
    found.calls.clear()
    found.kube.writes = 0
    yield found, keys


def test_objects_that_are_applied_together_share_the_listing_that_tells_their_names_are_free(
    created: tuple[InProcess, list[Key], Counter[str], int],
) -> None:
    found, _, calls, made = created
    kinds = {kind for kind, name in found.things if "source-" in name}
    assert made >= 8 * COUNT
    assert calls["create"] == made
    assert calls["survey"] <= len(kinds) + 1 and calls["observe"] == 0


def test_a_restart_lists_each_kind_once_writes_nothing_and_tells_nothing(
    restarted: tuple[InProcess, list[Key]],
) -> None:
    found, keys = restarted
    for key in keys:
        assert found.look(key).outcome == "suspended"
    assert {call.split()[0] for call in found.calls} == {"survey"}
    assert len(found.calls) <= 12
    assert found.kube.writes == 0
    assert found.events.said == []


def test_a_round_wakes_only_whom_something_was_done_to(
    restarted: tuple[InProcess, list[Key]],
) -> None:
    found, keys = restarted
    for key in keys:
        found.look(key)
    world = found.worlds.known()["default"]
    woken: list[tuple[Key, Lane]] = []
    for _ in range(9):  # Everything that listings leave out is seen once after a restart.
        found.now[0] += 600
        woken.clear()
        drift_round("default", world, lambda key, lane: woken.append((key, lane)))
        for key in {key for key, _ in woken}:
            found.look(key)
    assert woken == []
    victim = next(key for key in found.things if key[0] == "iam.Role" and "source-00007" in key[1])
    kept = found.things.pop(victim)
    found.now[0] += 600
    drift_round("default", world, lambda key, lane: woken.append((key, lane)))
    assert [key.name for key, _ in woken] == ["source-00007"]
    found.look(woken[0][0])
    assert found.things[victim] == kept
    assert [reason for reason, _ in found.events.said] == ["DriftCorrected"]


def test_one_resource_in_memory_costs_less_than_three_kilobytes(
    restarted: tuple[InProcess, list[Key]],
) -> None:
    found, keys = restarted
    found.look(keys[0])
    found.worlds.forget("default")
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for key in keys:
        found.look(key)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    known = found.worlds.known()["default"].inventory.size()
    assert (after - before) / known < 3_000


def test_the_list_of_a_platforms_users_is_worked_out_once_while_no_spec_changes(
    restarted: tuple[InProcess, list[Key]],
) -> None:
    found, keys = restarted
    asked = Counter[str]()
    real = found.store.of_kind

    def counted(kind: str) -> list[object]:
        asked[kind] += 1
        return real(kind)

    found.store.of_kind = counted  # type: ignore[method-assign,assignment]
    for key in keys:
        found.look(key)
    assert asked["DataSource"] <= 2


def test_a_memo_lives_until_a_spec_changes_and_not_by_a_status(
    restarted: tuple[InProcess, list[Key]],
) -> None:
    found, keys = restarted
    computed: list[int] = []

    def ask() -> int:
        return found.store.memo("test", lambda: computed.append(1) or len(computed))

    assert [ask(), ask()] == [1, 1]
    obj = found.kube.get(keys[0])
    found.store.put(found.kube.put_status(obj, obj["status"]))
    assert ask() == 1
    found.store.put(found.kube.replace(found.kube.get(keys[0])))
    assert ask() == 2
    found.store.remove(found.kube.get(keys[0]))
    assert ask() == 3


def test_who_was_brought_along_while_it_waited_draws_nothing(
    created: tuple[InProcess, list[Key], Counter[str], int],
) -> None:
    found, *_ = created
    first, *others = [found.source(COUNT + number) for number in range(5)]
    told: list[list[tuple[str, str]]] = []
    forecast = Forecast()
    for key in (first, *others):
        asking = found.store.get(key)
        assert asking is not None
        forecast(found.services, "default", asking, lambda names: told.append(list(names)))
    [names] = told
    for key in others:
        assert any(key.name in name for _kind, name in names)
