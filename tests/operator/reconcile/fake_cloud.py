"""A cloud in memory that behaves like one: names are taken, reads may fail, replies get lost."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weir.aws.errors import Conflict, Throttled
from weir.reconcile.inventory import Inventory, PhysicalKey
from weir.resource import Change, Observed, Resource, Traits


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Thing:
    properties: dict[str, Any]
    tags: dict[str, str]
    birth: int


@dataclass
class Cloud:
    """All things of one account. ``fault(operation, kind, name, done)`` may raise at each call.

    ``blind`` says what a listing of a kind can't tell.
    """

    things: dict[tuple[str, str], Thing] = field(default_factory=dict)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    fault: Callable[[str, str, str, bool], None] | None = None
    births: int = 0
    blind: Mapping[str, frozenset[str]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        return [call for call in self.calls if call[0] not in ("observe", "survey")]

    def world(self) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, str]]]:
        return {key: (thing.properties, thing.tags) for key, thing in self.things.items()}

    def before(self, operation: str, kind: str, name: str) -> None:
        self.calls.append((operation, kind, name))
        if self.fault:
            self.fault(operation, kind, name, False)

    def after(self, operation: str, kind: str, name: str) -> None:
        if self.fault:
            self.fault(operation, kind, name, True)


class FakeAdapter:
    """One kind in the cloud."""

    def __init__(self, cloud: Cloud, kind: str, traits: Traits) -> None:
        self.cloud = cloud
        self.kind = kind
        self.traits = traits

    def _seen(self, name: str) -> Observed:
        thing = self.cloud.things[self.kind, name]
        shown = {k: v for k, v in thing.properties.items() if k not in self.traits.write_only}
        attributes = {"arn": f"arn:{self.kind}:{name}", "id": f"{name}#{thing.birth}"}
        return Observed(name, copy.deepcopy(shown), attributes, dict(thing.tags))

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        with self.cloud.lock:
            self.cloud.before("observe", self.kind, ",".join(sorted(names)))
            return {
                name: self._seen(name) for name in names if (self.kind, name) in self.cloud.things
            }

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        blind = self.cloud.blind.get(self.kind, frozenset())
        with self.cloud.lock:
            self.cloud.before("survey", self.kind, ",".join(sorted(names)))
            found = {
                name: self._seen(name) for name in names if (self.kind, name) in self.cloud.things
            }
        for seen in found.values():
            yield without(seen, blind)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        with self.cloud.lock:
            self.cloud.before("create", self.kind, resource.name)
            if resource.key in self.cloud.things:
                raise Conflict(f"{resource.name} exists")
            self.cloud.births += 1
            properties = copy.deepcopy(dict(resource.properties))
            self.cloud.things[resource.key] = Thing(properties, dict(tags), self.cloud.births)
            self.cloud.after("create", self.kind, resource.name)
            return self._seen(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        with self.cloud.lock:
            self.cloud.before("update", self.kind, resource.name)
            thing = self.cloud.things[resource.key]
            assert not {one.path.split(".")[0] for one in changes} & self.traits.immutable
            for change in changes:
                name = change.path.split(".")[0]
                thing.properties[name] = copy.deepcopy(resource.properties[name])
            thing.tags = dict(tags)
            self.cloud.after("update", self.kind, resource.name)
            return self._seen(resource.name)

    def delete(self, observed: Observed) -> None:
        with self.cloud.lock:
            self.cloud.before("delete", self.kind, observed.name)
            self.cloud.things.pop((self.kind, observed.name), None)
            self.cloud.after("delete", self.kind, observed.name)


def without(seen: Observed, blind: frozenset[str]) -> Observed:
    """What is left of a look that can't tell some properties."""
    shown = {name: value for name, value in seen.properties.items() if name not in blind}
    tags = {} if "Tags" in blind else seen.tags
    return replace(seen, properties=shown, tags=tags, unseen=blind)


TRAITS = {
    "role": Traits(unordered=frozenset({"Policies"}), eventually_consistent=True),
    "function": Traits(immutable=frozenset({"Package"}), write_only=frozenset({"Code"})),
    "bucket": Traits(immutable=frozenset({"Region"}), holds_data=True),
    "object": Traits(),
    "schedule": Traits(),
}


BLIND = {
    "role": frozenset({"Description"}),
    "function": frozenset({"Env", "Tags"}),
    "schedule": frozenset({"Target", "Rate"}),
    "object": frozenset({"Body"}),
}
"""What the listings of this cloud can't tell, where a test wants that."""


def adapters(cloud: Cloud) -> dict[str, FakeAdapter]:
    return {kind: FakeAdapter(cloud, kind, traits) for kind, traits in TRAITS.items()}


def confirm(inventory: Inventory, key: PhysicalKey, mark: str) -> None:
    """Say of a resource that it is as wanted, as it was seen last."""
    seen = inventory.peek(key)
    if seen is not None:
        inventory.confirm({key: (seen, mark)})


class NthCall:
    """Raises at the n-th call: before it is done, or after, when the reply is lost."""

    def __init__(self, number: int, error: BaseException, done: bool) -> None:
        self.left = number
        self.error = error
        self.done = done
        self.struck = False

    def __call__(self, operation: str, kind: str, name: str, done: bool) -> None:
        if done != self.done or self.struck:
            return
        self.left -= 1
        if self.left < 0:
            self.struck = True
            raise self.error


def throttled() -> Throttled:
    return Throttled("slow down")
