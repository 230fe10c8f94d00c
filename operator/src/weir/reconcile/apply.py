"""Make AWS as wanted: wave by wave, each wave in parallel, and say what became of everything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from weir.aws.errors import AwsError, Conflict, Invalid, NotYet
from weir.reconcile.graph import dependencies, waves
from weir.reconcile.inventory import Inventory
from weir.reconcile.plan import (
    Action,
    Orphan,
    PhysicalKey,
    Plan,
    Verb,
    attributes_of,
    decide,
    decide_orphan,
    make_plan,
    shown,
    unresolved,
)
from weir.resource import Adapter, Deletion, Observed, Owner, Resource, Traits, resolve

READY = "Ready"
SETTLING = "Settling"
CREATING = "Creating"
"""Written down before the creation: whoever restarts looks whether it happened."""
WAITING = "Waiting"
FAILED = "Failed"
CONFLICTING = "Conflict"
EXTERNAL = "External"
MISSING = "Missing"
UNSEEN = "Unseen"
"""Nobody could look whether it is there."""
RETAINED = "Retained"
DELETING = "Deleting"

NOT_OURS = frozenset({EXTERNAL, MISSING, CONFLICTING, UNSEEN})
"""States of resources that nobody deletes."""

ECHO_SECONDS = 10.0
"""Seconds after our own write for which a difference is taken for AWS's delay, not for a change by
others: it is put right all the same, and not told."""

PATIENCE = 3
"""Equal updates in a row after which an update is known to change nothing."""


class NotConverging(Invalid):
    """The same difference comes back after each update: AWS or somebody else undoes it."""


@dataclass(frozen=True)
class Entry:
    """One line of ``status.resources``."""

    kind: str
    id: str
    name: str
    arn: str = ""
    state: str = READY

    @property
    def key(self) -> PhysicalKey:
        """``(kind, name)``."""
        return self.kind, self.name

    def to_status(self) -> dict[str, str]:
        """As it stands on the object."""
        line = {"kind": self.kind, "id": self.id, "name": self.name, "state": self.state}
        return {**line, "arn": self.arn} if self.arn else line

    @classmethod
    def from_status(cls, line: Mapping[str, str]) -> Entry:
        """From the object."""
        return cls(
            line["kind"],
            line["id"],
            line["name"],
            line.get("arn") or "",
            line.get("state") or READY,
        )


@dataclass(frozen=True)
class Problem:
    """What went wrong with one resource."""

    kind: str
    logical_id: str
    name: str
    error: AwsError


@dataclass
class Applied:
    """What became of everything.

    ``attributes`` are what references resolve to: ``(logical id, attribute)``. ``echoes`` were
    written by us shortly before: what differs in them may be an old sight.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    echoes: frozenset[PhysicalKey] = frozenset()

    @property
    def converged(self) -> bool:
        """Whether AWS is as wanted and at rest."""
        return not self.problems and not self.waiting


class ConvergenceGuard:
    """Counts updates that are equal to the one before, resource by resource."""

    def __init__(self, patience: int = PATIENCE) -> None:
        self._patience = patience
        self._seen: dict[PhysicalKey, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def check(self, action: Action) -> None:
        """Count an update that is about to happen.

        Raises
        ------
        NotConverging
            The same differences were put right ``patience`` times already.
        """
        differing = (*action.changes, *action.tag_changes)
        mark = shown([(one.path, one.before, one.after) for one in differing], 1 << 20)
        key = (action.kind, action.name)
        with self._lock:
            before, count = self._seen.get(key, ("", 0))
            count = count + 1 if before == mark else 1
            self._seen[key] = (mark, count)
        if count > self._patience:
            fields = ", ".join(one.path for one in differing)
            raise NotConverging(
                f"{action.kind} {action.name}: {fields} came back the same after "
                f"{self._patience} updates; somebody else sets it, or AWS does not keep it. "
                "Find out who, or take it out of the spec.",
                resource=action.name,
            )

    def settle(self, key: PhysicalKey) -> None:
        """The resource is as wanted."""
        with self._lock:
            self._seen.pop(key, None)


class Applier:
    """Plans and applies for one account and region.

    Parameters
    ----------
    adapters
        By kind.
    inventory
        What is known of the account.
    pool
        Runs the calls of one wave side by side; must not be the pool that reconciles run on.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        inventory: Inventory,
        pool: Executor,
        guard: ConvergenceGuard | None = None,
    ) -> None:
        self._adapters = adapters
        self._inventory = inventory
        self._pool = pool
        self._guard = guard or ConvergenceGuard()

    @property
    def traits(self) -> dict[str, Traits]:
        """Kind -> what the engine must know of it."""
        return {kind: adapter.traits for kind, adapter in self._adapters.items()}

    def plan(
        self,
        owner: Owner,
        resources: Sequence[Resource],
        tags: Mapping[str, str],
        previous: Sequence[Entry] = (),
        adopt: bool = False,
    ) -> Plan:
        """What :meth:`apply` would do. Reads only."""
        wanted = {resource.key for resource in resources}
        observed = self._inventory.get(wanted)
        gone = [entry for entry in previous if self._is_orphan(entry, wanted)]
        still = self._inventory.get(entry.key for entry in gone)
        orphans = [
            Orphan(entry.kind, entry.id, entry.name, still[entry.key])
            for entry in reversed(gone)
            if entry.key in still
        ]
        return make_plan(owner, resources, observed, self.traits, tags, orphans, adopt)

    def apply(
        self,
        owner: Owner,
        resources: Sequence[Resource],
        tags: Mapping[str, str],
        previous: Sequence[Entry] = (),
        adopt: bool = False,
        write_ahead: Callable[[list[Entry]], None] | None = None,
    ) -> Applied:
        """Bring AWS to what is wanted, as far as it goes now.

        Parameters
        ----------
        resources
            Everything that is wanted for the owner.
        tags
            The owner's and the Platform's.
        previous
            ``status.resources``: what is there and not wanted any more is deleted at the end.
        write_ahead
            Called with all entries before the first creation of a name that ``previous`` lacks.
            When it returns they are on the object, so that a crash leaves no orphan.

        Raises
        ------
        GraphError
            The resources can't be put in an order.
        """
        ordered = waves(resources)
        wanted = {resource.key for resource in resources}
        observed, unseen = self._inventory.look(wanted)
        if write_ahead is not None:
            self._write_ahead(owner, ordered, observed, unseen, previous, write_ahead)
        result = Applied(
            echoes=frozenset(
                key for key in wanted if self._inventory.written_since(key, ECHO_SECONDS)
            )
        )
        states: dict[str, Entry] = {}
        for wave in ordered:
            runnable = [
                one
                for one in wave
                if not self._unseen(one, unseen, previous, states, result)
                and not self._blocked(one, states, result)
            ]
            calls = [
                self._pool.submit(
                    self._converge,
                    owner,
                    one,
                    observed.get(one.key),
                    tags,
                    adopt,
                    result.attributes,
                )
                for one in runnable
            ]
            for resource, call in zip(runnable, calls, strict=True):
                action, seen, problem = call.result()
                states[resource.logical_id] = self._entry(resource, action, seen, problem)
                if problem is not None:
                    result.problems.append(problem)
                    continue
                if action.verb is not Verb.NONE:
                    result.done.append(action)
                if seen is not None:
                    result.attributes |= attributes_of(resource, seen)
                    if not seen.settled:
                        detail = f": {seen.detail}" if seen.detail else ""
                        result.waiting.append(f"{resource.kind} {resource.name} settles{detail}")
        result.entries = [states[one.logical_id] for wave in ordered for one in wave]
        blocked = bool(result.problems)
        self._clear_orphans(owner, wanted, previous, blocked, result)
        return result

    def delete(
        self,
        owner: Owner,
        entries: Sequence[Entry],
        resources: Sequence[Resource] = (),
        keep_data: bool = True,
        only: Callable[[Entry], bool] | None = None,
    ) -> Applied:
        """Take down what was made for an owner, in reverse order.

        Parameters
        ----------
        entries
            ``status.resources``, in the order of creation.
        resources
            What would be wanted, where that is known still: it says what holds data.
        keep_data
            Whether resources that hold data stay (``deletionPolicy: Retain``), of which ``resources``
            says nothing.
        only
            Which of them to take down in this pass; the others stay on the list.

        Returns
        -------
        Applied
            ``entries`` is what is left to delete; with no problems and no entries all is done.
        """
        wanted = {resource.key: resource for resource in resources}
        result = Applied()
        left: list[Entry] = []
        failed = False
        for entry in reversed(entries):
            if entry.state in NOT_OURS or entry.kind not in self._adapters:
                continue
            if failed or (only is not None and not only(entry)):
                left.append(entry)
                continue
            try:
                action = self._delete_one(owner, entry, wanted.get(entry.key), keep_data)
            except AwsError as error:
                result.problems.append(Problem(entry.kind, entry.id, entry.name, error))
                left.append(replace(entry, state=DELETING))
                failed = not isinstance(error, Conflict)
                continue
            if action is not None:
                result.done.append(action)
        result.entries = list(reversed(left))
        return result

    def _is_orphan(self, entry: Entry, wanted: set[PhysicalKey]) -> bool:
        return (
            entry.key not in wanted and entry.state not in NOT_OURS and entry.kind in self._adapters
        )

    def _write_ahead(
        self,
        owner: Owner,
        ordered: Sequence[Sequence[Resource]],
        observed: Mapping[PhysicalKey, Observed],
        unseen: Mapping[str, AwsError],
        previous: Sequence[Entry],
        write_ahead: Callable[[list[Entry]], None],
    ) -> None:
        known = {entry.key: entry for entry in previous}
        entries: list[Entry] = []
        news = False
        for resource in (one for wave in ordered for one in wave):
            before = known.get(resource.key)
            if before is not None and before.state not in NOT_OURS:
                entries.append(replace(before, id=resource.logical_id))
            elif resource.external:
                entries.append(self._line(resource, EXTERNAL))
            elif resource.kind in unseen:
                entries.append(self._line(resource, UNSEEN))
            elif resource.key in observed:
                ours = not resource.tagged or owner.owns(observed[resource.key].tags)
                entries.append(self._line(resource, CREATING if ours else CONFLICTING))
                news = news or ours
            else:
                entries.append(self._line(resource, CREATING))
                news = True
        if news:
            wanted = {entry.key for entry in entries}
            entries += [entry for entry in previous if self._is_orphan(entry, wanted)]
            write_ahead(entries)

    def _unseen(
        self,
        resource: Resource,
        unseen: Mapping[str, AwsError],
        previous: Sequence[Entry],
        states: dict[str, Entry],
        result: Applied,
    ) -> bool:
        """Whether nobody can say what is there; notes it, and what is known of it stays."""
        error = unseen.get(resource.kind)
        if error is None:
            return False
        before = next((one for one in previous if one.key == resource.key), None)
        states[resource.logical_id] = before or self._line(resource, UNSEEN)
        result.problems.append(Problem(resource.kind, resource.logical_id, resource.name, error))
        return True

    def _blocked(self, resource: Resource, states: dict[str, Entry], result: Applied) -> bool:
        """Whether something that it needs is not there; says so if it is the case."""
        needs = sorted(
            logical_id
            for logical_id in dependencies(resource)
            if states[logical_id].state not in (READY, SETTLING, EXTERNAL)
        )
        open_refs = unresolved(resource, result.attributes)
        if not needs and not open_refs:
            return False
        states[resource.logical_id] = self._line(resource, WAITING)
        result.waiting.append(f"{resource.logical_id} waits for {', '.join(needs or open_refs)}")
        return True

    def _converge(
        self,
        owner: Owner,
        resource: Resource,
        observed: Observed | None,
        tags: Mapping[str, str],
        adopt: bool,
        attributes: Mapping[tuple[str, str], str],
    ) -> tuple[Action, Observed | None, Problem | None]:
        """One resource: decide, do, enter. Never raises an AwsError."""
        adapter = self._adapters[resource.kind]
        known = replace(resource, properties=resolve(resource.properties, attributes))
        action = decide(owner, known, observed, adapter.traits, tags, adopt)
        try:
            seen = self._perform(adapter, action, known, observed)
        except AwsError as error:
            self._inventory.drop(*resource.key)
            problem = Problem(resource.kind, resource.logical_id, resource.name, error)
            return action, observed, problem
        return action, seen, None

    def _perform(
        self, adapter: Adapter, action: Action, resource: Resource, observed: Observed | None
    ) -> Observed | None:
        key = resource.key
        if action.verb is Verb.NONE:
            self._guard.settle(key)
            return observed
        if action.verb is Verb.CONFLICT:
            raise Conflict(action.reason, resource=resource.name)
        if action.verb is Verb.MISSING:
            raise NotYet(action.reason, resource=resource.name)
        assert action.tags is not None
        if action.verb is Verb.CREATE:
            seen = adapter.create(resource, action.tags)
        elif action.verb is Verb.REPLACE:
            seen = self._replace(adapter, action, resource)
        else:
            assert observed is not None
            self._guard.check(action)
            seen = adapter.update(
                resource, observed, action.changes, _with_foreign(action.tags, observed)
            )
        self._inventory.wrote(*key, seen)
        return seen

    def _replace(self, adapter: Adapter, action: Action, resource: Resource) -> Observed:
        """Delete and create, where the name is fixed: never what holds data."""
        if action.loses_data:
            raise Conflict(
                f"{action.reason}, and replacing {action.kind} {action.name} would lose its data: "
                "change the spec back, or move the data and delete it yourself",
                resource=resource.name,
            )
        assert action.tags is not None
        self._guard.check(action)
        there = self._inventory.fresh(*resource.key)
        if there is not None:
            adapter.delete(there)
            self._inventory.wrote(*resource.key, None)
        return adapter.create(resource, action.tags)

    def _entry(
        self, resource: Resource, action: Action, seen: Observed | None, problem: Problem | None
    ) -> Entry:
        arn = seen.attributes.get("arn", "") if seen else ""
        if action.verb is Verb.MISSING:
            return self._line(resource, MISSING)
        if action.verb is Verb.CONFLICT:
            return self._line(resource, CONFLICTING)
        if resource.external:
            return self._line(resource, EXTERNAL, arn)
        if problem is not None:
            # What may have been created in spite of the error is on the list, and so is deleted.
            return self._line(resource, FAILED if seen else CREATING, arn)
        return self._line(resource, READY if seen and seen.settled else SETTLING, arn)

    @staticmethod
    def _line(resource: Resource, state: str, arn: str = "") -> Entry:
        return Entry(resource.kind, resource.logical_id, resource.name, arn, state)

    def _clear_orphans(
        self,
        owner: Owner,
        wanted: set[PhysicalKey],
        previous: Sequence[Entry],
        blocked: bool,
        result: Applied,
    ) -> None:
        """Delete what is no longer wanted, once all that replaces it is there."""
        orphans = [entry for entry in previous if self._is_orphan(entry, wanted)]
        if blocked or result.waiting:
            result.entries += orphans
            return
        cleared = self.delete(owner, orphans)
        result.entries += cleared.entries
        result.problems += cleared.problems
        result.done += cleared.done

    def _delete_one(
        self, owner: Owner, entry: Entry, resource: Resource | None, keep_data: bool
    ) -> Action | None:
        adapter = self._adapters[entry.kind]
        seen = self._inventory.fresh(*entry.key)
        if seen is None:
            return None
        traits = replace(adapter.traits, holds_data=False)
        policy = resource.deletion if resource is not None else None
        if policy is None:
            data = adapter.traits.holds_data and keep_data
            policy = Deletion.RETAIN if data else Deletion.DELETE
        keep = policy is Deletion.RETAIN
        action = decide_orphan(owner, Orphan(entry.kind, entry.id, entry.name, seen, keep), traits)
        if action.verb is not Verb.DELETE:
            return action
        try:
            adapter.delete(seen)
        except Conflict as error:
            if policy is not Deletion.EMPTY_ONLY:
                raise
            return replace(action, verb=Verb.RETAIN, reason=f"is not empty ({error})")
        self._inventory.wrote(*entry.key, None)
        return action


def _with_foreign(tags: Mapping[str, str], observed: Observed) -> dict[str, str]:
    """The wanted tags, and those of others, which stay."""
    foreign = {
        name: value for name, value in observed.tags.items() if not name.startswith("weir.dev/")
    }
    return {**foreign, **tags}
