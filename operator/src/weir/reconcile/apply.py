"""Make AWS as wanted: wave by wave, each wave in parallel, and say what became of everything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from weir.aws.errors import AwsError, Conflict, Invalid, NotYet, Throttled
from weir.reconcile.diff import changes, hides, mark_of, tag_changes, wanted_tags
from weir.reconcile.graph import dependencies, waves
from weir.reconcile.inventory import THEIRS, Inventory, Sight
from weir.reconcile.plan import (
    EMPTIED,
    Action,
    Adopt,
    Orphan,
    PhysicalKey,
    Plan,
    Verb,
    attributes_of,
    decide,
    decide_orphan,
    make_plan,
    may_take,
    shown,
    unresolved,
)
from weir.resource import TAGS, Adapter, Deletion, Observed, Owner, Resource, Traits, titled

READY = "Ready"
SETTLING = "Settling"
CREATING = "Creating"
"""Written down before the creation: whoever restarts looks whether it happened."""
WAITING = "Waiting"
FAILED = "Failed"
THROTTLED = "Throttled"
"""AWS had too many calls: it is as it was, and is changed as soon as AWS lets us."""
CONFLICTING = "Conflict"
EXTERNAL = "External"
MISSING = "Missing"
UNSEEN = "Unseen"
"""Nobody could look whether it is there."""
RETAINED = "Retained"
DELETING = "Deleting"

NOT_OURS = frozenset({EXTERNAL, MISSING, CONFLICTING, UNSEEN})
"""States of resources that nobody deletes."""

CHANGING = frozenset({Verb.UPDATE, Verb.REPLACE, Verb.ADOPT})
"""What changes something that is there."""
QUIET = frozenset({Verb.NONE, Verb.CONFLICT, Verb.MISSING})
"""What writes nothing."""

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
    mark: str = ""
    """Stands for the wanted state that was last applied and found on AWS."""

    @property
    def key(self) -> PhysicalKey:
        """``(kind, name)``."""
        return self.kind, self.name

    def to_status(self) -> dict[str, str]:
        """As it stands on the object."""
        line = {"kind": self.kind, "id": self.id, "name": self.name, "state": self.state}
        if self.arn:
            line["arn"] = self.arn
        if self.mark:
            line["mark"] = self.mark
        return line

    @classmethod
    def from_status(cls, line: Mapping[str, str]) -> Entry:
        """From the object."""
        return cls(
            line["kind"],
            line["id"],
            line["name"],
            line.get("arn") or "",
            line.get("state") or READY,
            line.get("mark") or "",
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
    written by us shortly before: what differs in them may be an old sight. ``drifted`` were as
    wanted once and were put right now, though nothing else was wanted: others had changed them.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    echoes: frozenset[PhysicalKey] = frozenset()
    drifted: set[PhysicalKey] = field(default_factory=set)

    @property
    def converged(self) -> bool:
        """Whether AWS is as wanted and at rest."""
        return not self.problems and not self.waiting


@dataclass(frozen=True)
class _Step:
    """What is to be done about one resource.

    ``mark`` stands for what is wanted now, ``prior`` for what was last found. ``hazy`` says that a
    deep look has to come first, ``error`` that it could not.
    """

    action: Action
    mark: str
    prior: str = ""
    hazy: bool = False
    error: AwsError | None = None

    @property
    def key(self) -> PhysicalKey:
        return self.action.kind, self.action.name


@dataclass(frozen=True)
class _Done:
    """What came of it. ``confirmed`` says that what is there is what is wanted."""

    seen: Observed | None
    error: AwsError | None = None
    confirmed: bool = False


@dataclass
class _Draft:
    """``status.resources`` as it stands before the first write. ``news``: it lacks some of it."""

    entries: list[Entry] = field(default_factory=list)
    news: bool = False

    def unmark(self, keys: Sequence[PhysicalKey]) -> bool:
        """Take the marks of these away. Returns whether there were any."""
        marked = {entry.key for entry in self.entries if entry.mark}.intersection(keys)
        if marked:
            self.entries = [
                replace(entry, mark="") if entry.key in marked else entry for entry in self.entries
            ]
        return bool(marked)


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
                f"{titled(action.kind, action.name)}: {fields} came back the same after "
                f"{self._patience} updates; somebody else sets it, or AWS does not keep it. "
                "Find out who, or take it out of the spec.",
                resource=action.name,
            )

    def refused(self, key: PhysicalKey) -> None:
        """AWS did not take the update: it changed nothing, and does not count."""
        with self._lock:
            mark, count = self._seen.get(key, ("", 0))
            if count:
                self._seen[key] = (mark, count - 1)

    def settle(self, key: PhysicalKey) -> None:
        """The resource is as wanted."""
        if key not in self._seen:
            return
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
        adopt: Adopt = False,
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
        adopt: Adopt = False,
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
        adopt
            Says of a resource whether it may be taken over where nobody's tags are on it.
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
        sights, faults = self._inventory.see(wanted)
        known = {entry.key: entry for entry in previous}
        self._ask_whose(resources, known, sights, faults)
        draft = self._draft(owner, ordered, sights, faults, previous)
        if write_ahead is not None and draft.news:
            write_ahead(draft.entries)
        result = Applied(
            echoes=frozenset(
                key for key in wanted if self._inventory.written_since(key, ECHO_SECONDS)
            )
        )
        states: dict[str, Entry] = {}
        as_wanted: dict[PhysicalKey, tuple[Observed, str]] = {}
        for wave in ordered:
            runnable = [
                one
                for one in wave
                if not self._unseen(one, faults, previous, states, result)
                and not self._blocked(one, states, result)
            ]
            steps = self._steps(owner, runnable, sights, known, tags, adopt, result.attributes)
            updated = [step.key for step in steps if step.action.verb in CHANGING]
            if write_ahead is not None and draft.unmark(updated):
                # Whoever restarts in the middle of a change must not trust the mark.
                write_ahead(draft.entries)
            calls = {
                step.key: self._pool.submit(self._perform, step)
                for step in steps
                if step.action.verb not in QUIET and step.error is None
            }
            for resource, step in zip(runnable, steps, strict=True):
                call = calls.get(step.key)
                done = call.result() if call is not None else self._leave(step)
                states[resource.logical_id] = self._entry(resource, step, done)
                if done.confirmed and done.seen is not None:
                    as_wanted[step.key] = done.seen, step.mark
                if done.error is not None:
                    result.problems.append(
                        Problem(resource.kind, resource.logical_id, resource.name, done.error)
                    )
                    continue
                if step.action.verb is not Verb.NONE:
                    result.done.append(step.action)
                    if step.mark and step.mark == step.prior:
                        result.drifted.add(step.key)
                seen = done.seen
                if seen is not None:
                    result.attributes |= attributes_of(resource, seen)
                    if not seen.settled:
                        detail = f": {seen.detail}" if seen.detail else ""
                        result.waiting.append(f"{titled(*resource.key)} settles{detail}")
        self._inventory.confirm(as_wanted)
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

    def _ask_whose(
        self,
        resources: Sequence[Resource],
        known: Mapping[PhysicalKey, Entry],
        sights: dict[PhysicalKey, Sight],
        faults: dict[str, AwsError],
    ) -> None:
        """Look deeply at what is there, is not known to be ours, and did not show its tags."""
        strange = [
            one.key
            for one in resources
            if one.tagged
            and not one.external
            and (sight := sights.get(one.key)) is not None
            and not sight.mark
            and TAGS in sight.observed.unseen
            and ((entry := known.get(one.key)) is None or entry.state in NOT_OURS)
        ]
        deeper, unseen = self._inventory.deepen(strange)
        faults.update(unseen)
        for key in strange:
            if key[0] not in unseen:
                sights.pop(key)
        sights.update({key: Sight(observed) for key, observed in deeper.items()})

    def _draft(
        self,
        owner: Owner,
        ordered: Sequence[Sequence[Resource]],
        sights: Mapping[PhysicalKey, Sight],
        unseen: Mapping[str, AwsError],
        previous: Sequence[Entry],
    ) -> _Draft:
        """The list as it has to stand on the object before anything is created."""
        known = {entry.key: entry for entry in previous}
        draft = _Draft()
        for resource in (one for wave in ordered for one in wave):
            before = known.get(resource.key)
            sight = sights.get(resource.key)
            if before is not None and (resource.external or before.state not in NOT_OURS):
                # Who reads the list meanwhile refers to what it says.
                draft.entries.append(replace(before, id=resource.logical_id))
            elif resource.external or resource.kind in unseen:
                draft.entries.append(self._line(resource, UNSEEN))
            elif sight is not None:
                ours = not resource.tagged or owner.owns(sight.observed.tags)
                draft.entries.append(self._line(resource, CREATING if ours else CONFLICTING))
                draft.news = draft.news or ours
            else:
                draft.entries.append(self._line(resource, CREATING))
                draft.news = True
        wanted = {entry.key for entry in draft.entries}
        draft.entries += [entry for entry in previous if self._is_orphan(entry, wanted)]
        return draft

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

    def _steps(
        self,
        owner: Owner,
        resources: Sequence[Resource],
        sights: dict[PhysicalKey, Sight],
        known: Mapping[PhysicalKey, Entry],
        tags: Mapping[str, str],
        adopt: Adopt,
        attributes: Mapping[tuple[str, str], str],
    ) -> list[_Step]:
        """What to do about each of a wave, after a deep look at those that need one."""

        def judged(one: Resource, sight: Sight | None) -> _Step:
            resolved = one.resolved(attributes)
            entry = known.get(one.key)
            mark = entry.mark if entry is not None else ""
            return self._judge(owner, resolved, sight, mark, tags, adopt)

        steps = {one.key: judged(one, sights.get(one.key)) for one in resources}
        # A replacement is decided by what is there now, not by what was there.
        unsure = [key for key, one in steps.items() if one.hazy or one.action.verb is Verb.REPLACE]
        if unsure:
            deeper, faults = self._inventory.deepen(unsure)
            for one in resources:
                if one.key not in unsure:
                    continue
                if one.kind in faults:
                    steps[one.key] = replace(steps[one.key], error=faults[one.kind])
                    continue
                observed = deeper.get(one.key)
                step = judged(one, Sight(observed) if observed is not None else None)
                if step.hazy:
                    step = replace(step, error=NotYet(f"{titled(*one.key)} can't be read yet"))
                steps[one.key] = step
        return [steps[one.key] for one in resources]

    def _judge(
        self,
        owner: Owner,
        resource: Resource,
        sight: Sight | None,
        prior: str,
        tags: Mapping[str, str],
        adopt: Adopt,
    ) -> _Step:
        """What to do about one resource, and whether a deep look has to come before."""
        traits = self._adapters[resource.kind].traits
        labels = wanted_tags(resource, traits, tags)
        mark = THEIRS if resource.external else mark_of(resource, traits, labels)
        if sight is not None and sight.mark == mark and not sight.doubt:
            action = Action(
                Verb.NONE,
                resource.kind,
                resource.logical_id,
                resource.name,
                resource=resource,
                observed=sight.observed,
                tags=labels,
            )
            return _Step(action, mark, prior)
        observed = sight.observed if sight is not None else None
        action = decide(owner, resource, observed, traits, tags, may_take(adopt, resource))
        hazy = False
        if sight is not None and sight.observed.unseen:
            # Nothing is changed by a look that may have missed half of it.
            trusted = not sight.doubt and not sight.mark and prior == mark
            unsure = not trusted and hides(resource, sight.observed, traits)
            hazy = unsure or action.verb in CHANGING
        return _Step(action, mark, prior, hazy)

    def _leave(self, step: _Step) -> _Done:
        """Nothing is written: it is as wanted, or nobody can help it."""
        action = step.action
        if step.error is None and action.verb is Verb.NONE:
            self._guard.settle(step.key)
            return _Done(action.observed, confirmed=True)
        error = step.error
        if action.verb is Verb.CONFLICT:
            error = error or Conflict(action.reason, resource=action.name)
        if action.verb is Verb.MISSING:
            error = error or NotYet(action.reason, resource=action.name)
        self._inventory.drop(*step.key)
        return _Done(action.observed, error=error)

    def _perform(self, step: _Step) -> _Done:
        """Write, and enter what came of it. Never raises an AwsError."""
        action = step.action
        resource, observed, adapter = action.resource, action.observed, self._adapters[action.kind]
        assert resource is not None and action.tags is not None
        try:
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
        except AwsError as error:
            self._inventory.drop(*step.key)
            if not isinstance(error, NotConverging):
                self._guard.refused(step.key)
            return _Done(observed, error=error)
        self._inventory.wrote(*step.key, seen)
        traits = adapter.traits
        labels = action.tags if resource.tagged else {}
        confirmed = not changes(resource, seen, traits) and not tag_changes(labels, seen)
        return _Done(seen, confirmed=confirmed)

    def _replace(self, adapter: Adapter, action: Action, resource: Resource) -> Observed:
        """Delete and create, where the name is fixed: never what holds data."""
        if action.loses_data:
            raise Conflict(
                f"{action.reason}, and replacing {titled(action.kind, action.name)} would lose its data: "
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

    def _entry(self, resource: Resource, step: _Step, done: _Done) -> Entry:
        seen, verb = done.seen, step.action.verb
        arn = seen.attributes.get("arn", "") if seen else ""
        if verb is Verb.MISSING:
            return self._line(resource, MISSING)
        if verb is Verb.CONFLICT:
            return self._line(resource, CONFLICTING)
        if resource.external:
            return self._line(resource, EXTERNAL, arn)
        if done.error is not None:
            # What may have been created in spite of the error is on the list, and so is deleted.
            failed = THROTTLED if isinstance(done.error, Throttled) else FAILED
            return self._line(resource, failed if seen else CREATING, arn)
        mark = step.mark if done.confirmed else ""
        return self._line(resource, READY if seen and seen.settled else SETTLING, arn, mark)

    @staticmethod
    def _line(resource: Resource, state: str, arn: str = "", mark: str = "") -> Entry:
        return Entry(resource.kind, resource.logical_id, resource.name, arn, state, mark)

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

    def plan_delete(
        self,
        owner: Owner,
        entries: Sequence[Entry],
        resources: Sequence[Resource] = (),
        keep_data: bool = True,
    ) -> tuple[Action, ...]:
        """What :meth:`delete` would do, in its order. Reads only."""
        wanted = {resource.key: resource for resource in resources}
        ours = [
            entry
            for entry in reversed(entries)
            if entry.state not in NOT_OURS and entry.kind in self._adapters
        ]
        seen = self._inventory.get(entry.key for entry in ours)
        return tuple(
            self._removal(owner, entry, seen[entry.key], wanted.get(entry.key), keep_data)[0]
            for entry in ours
            if entry.key in seen
        )

    def _removal(
        self,
        owner: Owner,
        entry: Entry,
        seen: Observed,
        resource: Resource | None,
        keep_data: bool,
    ) -> tuple[Action, Deletion]:
        """What is to become of one resource that goes, and by which policy."""
        traits = self._adapters[entry.kind].traits
        holds_data = traits.has_data(seen.properties)
        policy = resource.deletion if resource is not None else None
        if policy is None and traits.contains:
            policy = Deletion.EMPTY_ONLY
        if policy is None:
            policy = Deletion.RETAIN if holds_data and keep_data else Deletion.DELETE
        keep = policy is Deletion.RETAIN
        orphan = Orphan(entry.kind, entry.id, entry.name, seen, keep)
        # The policy decides, not the kind.
        traits = replace(traits, holds_data=False, data_in=lambda _: False)
        action = decide_orphan(owner, orphan, traits)
        if action.verb is Verb.DELETE and policy is Deletion.EMPTY_ONLY:
            action = replace(action, reason=EMPTIED)
        elif action.verb is Verb.DELETE:
            action = replace(action, loses_data=holds_data)
        return action, policy

    def _delete_one(
        self, owner: Owner, entry: Entry, resource: Resource | None, keep_data: bool
    ) -> Action | None:
        adapter = self._adapters[entry.kind]
        seen = self._inventory.fresh(*entry.key)
        if seen is None:
            return None
        action, policy = self._removal(owner, entry, seen, resource, keep_data)
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
