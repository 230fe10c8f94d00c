"""``weir plan``: what applying files would do on AWS, by the operator's own engine.

What is planned are the objects that are asked for, the Pipelines that their sources manage, and
whatever refers to them; and the Platform, which holds databases and schemas for those who use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AwsError
from weir.cli.effects import disturbance
from weir.cli.installation import installation
from weir.cli.stored import KINDS, Cluster, Forbidden, Refused
from weir.cli.validate import defaulted
from weir.kube.client import KubeError, Object
from weir.kube.keys import MOVED_FROM, Key, is_paused, moved_from
from weir.kube.store import Store
from weir.reconcile import wanted as blueprints
from weir.reconcile.datasource import is_child
from weir.reconcile.graph import GraphError
from weir.reconcile.look import Halt
from weir.reconcile.plan import Action, Plan, Verb
from weir.reconcile.planner import Planning, planning
from weir.reconcile.steps import owner_of
from weir.reconcile.view import Unreadable, parse

NOT_THERE = "is not in the cluster: nothing goes with it"
CHILD_GOES = "its source does not want it any more"


@dataclass(frozen=True)
class Planned:
    """What became of planning one object.

    Parameters
    ----------
    asked
        Whether it stands in the files.
    goes
        Whether the object is deleted; else it is applied.
    plan
        None where it can't be planned: ``reason`` (CamelCase) and ``message`` say why.
    notes
        What one should know beside the plan.
    running
        Executions of the object that run now; None where nothing disturbs them, or where they can't
        be listed.
    """

    key: Key
    asked: bool
    plan: Plan | None = None
    reason: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    goes: bool = False
    running: int | None = None

    @property
    def shown(self) -> bool:
        """Whether people want to see it: it was asked for, or something happens to it."""
        return self.asked or self.plan is None or self.plan.has_changes


@dataclass(frozen=True)
class Wish:
    """What is to be planned.

    Parameters
    ----------
    applied
        Manifests that are applied.
    removed
        Manifests that are deleted, of what is in the cluster.
    moved
        New key -> former key, of objects that are the same but for their name.
    namespaces
        Namespaces that are applied with them, each with its labels.
    """

    applied: Sequence[Object] = ()
    removed: Sequence[Object] = ()
    moved: Mapping[Key, Key] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Planner:
    """Plans all objects that a wish touches.

    Parameters
    ----------
    cluster
        What stores them.
    cluster_id, artifacts
        As :func:`weir.cli.installation.installation` takes them.
    """

    def __init__(self, cluster: Cluster, cluster_id: str | None, artifacts: Path | None) -> None:
        self._cluster = cluster
        self._cluster_id = cluster_id
        self._artifacts = artifacts
        self._objects: dict[Key, Object] = {}
        self._there: frozenset[Key] = frozenset()
        self._removed: dict[Key, Object] = {}
        self._results: dict[Key, Planned] = {}
        self._asked: set[Key] = set()
        self._moved: Mapping[Key, Key] = {}

    def plan(self, wish: Wish) -> list[Planned]:
        """One result for each object that is touched, Platforms first.

        Raises
        ------
        KubeError
            The API server can't be asked.
        """
        self._cluster.foresee(wish.namespaces)
        named = (*wish.applied, *wish.removed)
        namespaces = {one["metadata"].get("namespace", "") for one in named} - {""}
        self._objects = self._cluster.objects(namespaces)
        self._there = frozenset(self._objects)
        self._asked = {Key.of(one) for one in named}
        self._moved = wish.moved
        for one in wish.removed:
            with self._failing(Key.of(one)):
                self._remove(Key.of(one))
        for one in wish.applied:
            self._store(one)
        for key in sorted(key for key in self._asked if key.kind == "DataSource"):
            if key in self._objects and key not in self._results:
                with self._failing(key):
                    self._child(key)
        by_platform: dict[str, list[Key]] = {}
        for key in self._touched():
            by_platform.setdefault(self._platform_of(self._objects[key]), []).append(key)
        for gone in self._removed.values():
            if gone["kind"] != "DataSchema":
                by_platform.setdefault(self._platform_of(gone), [])
        for name, keys in sorted(by_platform.items()):
            self._platform(name, keys)
        self._explain_conflicts()
        return sorted(self._results.values(), key=lambda one: (KINDS.index(one.key.kind), one.key))

    def _remove(self, key: Key) -> None:
        """Take an object, and the Pipeline that it manages, out of what there is."""
        there = self._objects.pop(key, None)
        if there is None:
            nothing = Plan(owner_of("", {"kind": key.kind, "metadata": _meta(key)}), ())
            self._results[key] = Planned(key, True, nothing, notes=(NOT_THERE,), goes=True)
            return
        self._removed[key] = there
        if key.kind == "DataSource":
            child = Key("Pipeline", key.namespace, key.name)
            managed = self._objects.get(child)
            if managed is not None and is_child(managed, parse(DataSource, there)):
                self._removed[child] = self._objects.pop(child)

    def _store(self, manifest: Object) -> None:
        key = Key.of(manifest)
        with self._failing(key):
            self._objects[key] = self._cluster.applied(manifest)

    def _child(self, key: Key) -> None:
        """The Pipeline that a source manages, as the operator would write it."""
        source = parse(DataSource, self._objects[key])
        child = Key("Pipeline", key.namespace, key.name)
        there = self._objects.get(child)
        mine = there is not None and is_child(there, source)
        manifest = blueprints.child_of(source)
        if manifest is None:
            if there is not None and mine:
                self._removed[child] = self._objects.pop(child)
            return
        with self._failing(child):
            if there is not None and not mine:
                raise Halt(
                    "Conflict",
                    f"{child} exists and is not managed by {key}: delete or rename it, or set "
                    "pipeline.managed to false",
                )
            try:
                self._objects[child] = (
                    self._cluster.applied(manifest)
                    if there is None
                    else self._cluster.replaced(there, manifest["spec"])
                )
            except Forbidden:
                # The operator writes it, and not who plans.
                self._objects[child] = defaulted({**(there or manifest), "spec": manifest["spec"]})

    def _touched(self) -> list[Key]:
        """What is asked for and what refers to it, as far as it can be planned."""
        store = Store()
        for one in self._objects.values():
            store.put(one)
        found: set[Key] = set()
        open_keys = [key for key in self._asked if key not in self._results]
        while open_keys:
            key = open_keys.pop()
            if key not in found:
                found.add(key)
                open_keys += [one for one in store.dependents(key) if one in self._objects]
        return sorted(
            (
                key
                for key in found
                if key.kind != "DataSchema" and key in self._objects and key not in self._results
            ),
            key=lambda key: (KINDS.index(key.kind), key),
        )

    @staticmethod
    def _platform_of(obj: Object) -> str:
        if obj["kind"] == "Platform":
            return str(obj["metadata"]["name"])
        return str((obj.get("spec") or {}).get("platform") or "default")

    def _platform(self, name: str, keys: Sequence[Key]) -> None:
        """Everything that is touched on one Platform."""
        key = Key("Platform", "", name)
        obj = self._objects.get(key) or self._removed.get(key)
        users = [one for one in keys if one != key]
        gone = [
            one
            for one in self._removed.values()
            if one["kind"] != "DataSchema" and self._platform_of(one) == name
        ]
        everybody = {*keys, *map(Key.of, gone)} - set(self._results)
        if obj is None:
            missing = f"there is no Platform {name}, neither in the cluster nor in the files"
            self._unplanned(everybody, "PlatformNotFound", missing)
            return
        with contextlib.ExitStack() as stack:
            try:
                run = stack.enter_context(planning(parse(Platform, obj)))
                options = stack.enter_context(
                    installation(obj, run.world.session, self._cluster_id, self._artifacts)
                )
            except (Halt, AwsError, Unreadable) as error:
                self._unplanned(everybody, _reason(error), str(error))
                return
            run.begin(
                self._objects.values(),
                self._cluster.kube,
                options,
                [self._objects[one] for one in {key, *users} & self._objects.keys()],
                gone,
                {one for one in self._objects if one not in self._there},
            )
            if key in self._objects:
                self._plan_platform(run, key)
            for one in users:
                with self._failing(one):
                    self._results[one] = self._planned(run, one, run.applied(self._objects[one]))
            for former in sorted(gone, key=lambda one: -KINDS.index(one["kind"])):
                with self._failing(Key.of(former)):
                    plan = run.deleted(former)
                    self._results[Key.of(former)] = self._planned(run, Key.of(former), plan)

    def _plan_platform(self, run: Planning, key: Key) -> None:
        if key in self._results:
            return
        if not self._cluster.complete:
            if key in self._asked:
                message = (
                    "a Platform holds databases and schemas for all namespaces, and you may not "
                    "list DataSources, DataSchemas and Pipelines in all of them"
                )
                self._unplanned([key], "Forbidden", message)
            return
        with self._failing(key):
            plan = run.applied(self._objects[key])
            self._results[key] = self._planned(run, key, plan)

    def _planned(self, run: Planning, key: Key, plan: Plan) -> Planned:
        goes = key in self._removed
        obj = self._removed[key] if goes else self._objects[key]
        running = None
        if any((found := disturbance(one)) and found.stops for one in plan.actions):
            # Who may not list executions still gets the plan.
            with contextlib.suppress(AwsError):
                running = run.running(obj)
        return Planned(
            key,
            key in self._asked,
            plan,
            notes=tuple(self._notes(key, obj, running)),
            goes=goes,
            running=running,
        )

    def _notes(self, key: Key, obj: Object, running: int | None) -> Iterator[str]:
        if is_paused(obj) and key not in self._removed:
            yield "paused: the operator does nothing of this until weir.dev/paused goes"
        if key in self._removed and running:
            yield "executions under way are waited for first, for a while"
        if key in self._removed and key not in self._asked:
            source = Key("DataSource", key.namespace, key.name)
            yield "its source goes" if source in self._removed else CHILD_GOES
        former = self._moved.get(key)
        if former is not None and moved_from(obj) != former:
            yield (
                f"moved from {former}: names on AWS hold namespace and name, so all is made anew and "
                f'the cursor begins anew; annotate it with {MOVED_FROM}: "{former.id}" to go on where '
                "the former one stood"
            )
        elif former is not None:
            yield f"continues {former}, and waits until that is gone"
        later = next((new for new, old in self._moved.items() if old == key), None)
        if later is not None:
            yield f"moved to {later}"

    def _explain_conflicts(self) -> None:
        """Where what is in the way goes by the same change, say so."""
        going = {
            (action.kind, action.name): one.key
            for one in self._results.values()
            for action in (one.plan.actions if one.goes and one.plan else ())
        }
        for key, one in self._results.items():
            if one.plan is None or one.goes:
                continue
            actions = tuple(_explained(action, going) for action in one.plan.actions)
            self._results[key] = replace(one, plan=replace(one.plan, actions=actions))

    def _unplanned(self, keys: Iterable[Key], reason: str, message: str) -> None:
        for key in keys:
            self._results[key] = Planned(
                key, key in self._asked, reason=reason, message=message, goes=key in self._removed
            )

    @contextlib.contextmanager
    def _failing(self, key: Key) -> Iterator[None]:
        """What can't be planned is said of the object, and the others are planned all the same."""
        try:
            yield
        except (Halt, AwsError, GraphError, Unreadable, Refused, KubeError) as error:
            self._unplanned([key], _reason(error), str(error))


def _explained(action: Action, going: Mapping[tuple[str, str], Key]) -> Action:
    holder = going.get((action.kind, action.name))
    if action.verb is not Verb.CONFLICT or holder is None:
        return action
    return replace(action, reason=f"{action.reason}; {holder} goes by the same change")


def _meta(key: Key) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name}


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, (Halt, KubeError)) else type(error).__name__
