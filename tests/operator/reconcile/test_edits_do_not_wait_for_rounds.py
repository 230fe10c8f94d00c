"""Who looks for one resource waits for no listing of its kind, and a listing that began before does
not undo what he saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fake_cloud import confirm

from weir.kube.keys import Key
from weir.reconcile.inventory import Inventory
from weir.resource import Adapter, Change, Observed, Resource, Traits

KIND = "test.Thing"
NAME = "a"
LIMIT = 10.0


class SlowListing(Adapter):
    """A kind whose listing shows the world as it was when it began, and ends when it is told to."""

    kind = KIND
    traits = Traits()

    def __init__(self) -> None:
        self.world = {NAME: {"Size": 1}}
        self.slow = False
        self.began = threading.Event()
        self.may_end = threading.Event()

    def _seen(self, names: Sequence[str]) -> dict[str, Observed]:
        return {
            name: Observed(name, dict(self.world[name]), tags={})
            for name in names
            if name in self.world
        }

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        return self._seen(names)

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        found = self._seen(names)
        if self.slow:
            self.began.set()
            assert self.may_end.wait(LIMIT)
        yield from found.values()

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        raise NotImplementedError

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        raise NotImplementedError

    def delete(self, observed: Observed) -> None:
        raise NotImplementedError


@contextmanager
def round_under_way() -> Iterator[tuple[Inventory, SlowListing]]:
    """An inventory that knows the thing, while a round lists its kind."""
    adapter = SlowListing()
    inventory = Inventory({KIND: adapter}, 600.0, time.monotonic)
    inventory.own(Key("DataSource", "team", "x"), [(KIND, NAME)])
    assert inventory.get([(KIND, NAME)])
    confirm(inventory, (KIND, NAME), "wanted")
    adapter.slow = True
    findings: list[Any] = []
    listing = threading.Thread(target=lambda: findings.extend(inventory.survey(KIND)), daemon=True)
    listing.start()
    assert adapter.began.wait(LIMIT)
    try:
        yield inventory, adapter
        assert listing.is_alive()
    finally:
        adapter.may_end.set()
        listing.join(LIMIT)
    assert not findings


def in_time(work: Any) -> Any:
    """What the work comes to, if it waits for nobody."""
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(work()), daemon=True)
    thread.start()
    thread.join(LIMIT / 2)
    assert not thread.is_alive(), "it waits for the listing"
    return answer[0]


def test_what_is_known_is_told_meanwhile() -> None:
    with round_under_way() as (inventory, _):
        sights, faults = in_time(lambda: inventory.see([(KIND, NAME)]))
        assert sights[KIND, NAME].mark == "wanted" and not faults


def test_a_fresh_look_is_had_meanwhile_and_stays() -> None:
    with round_under_way() as (inventory, adapter):
        adapter.world[NAME] = {"Size": 2}
        assert in_time(lambda: inventory.fresh(KIND, NAME)).properties == {"Size": 2}
    known = inventory.peek((KIND, NAME))
    assert known is not None and known.properties == {"Size": 2}


def test_a_deep_look_is_had_meanwhile_and_stays() -> None:
    with round_under_way() as (inventory, adapter):
        adapter.world[NAME] = {"Size": 2}
        found, faults = in_time(lambda: inventory.deepen([(KIND, NAME)]))
        assert found[KIND, NAME].properties == {"Size": 2} and not faults
    known = inventory.peek((KIND, NAME))
    assert known is not None and known.properties == {"Size": 2}


def test_a_write_meanwhile_is_not_undone() -> None:
    with round_under_way() as (inventory, _):
        in_time(lambda: inventory.wrote(KIND, NAME, Observed(NAME, {"Size": 3}, tags={})))
    known = inventory.peek((KIND, NAME))
    assert known is not None and known.properties == {"Size": 3}
