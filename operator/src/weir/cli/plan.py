"""``weir plan``: what applying files would do on AWS, by the operator's own engine.

What is planned are the objects of the files, the Pipelines that their sources manage, and whatever
refers to them; and the Platform, which holds databases and schemas for those who use it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from weir.api.v1alpha1.common import API_VERSION
from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.platform import Platform
from weir.aws.errors import AwsError
from weir.aws.session import AwsSession
from weir.blueprint.platform import bucket_names
from weir.cli.documents import Document
from weir.cli.installation import installation
from weir.cli.stored import KINDS, Cluster, Forbidden, Refused
from weir.cli.validate import defaulted
from weir.kube.client import KubeError, Object
from weir.kube.keys import CLUSTER_SCOPED, Key, is_paused
from weir.kube.store import Store
from weir.reconcile import wanted as blueprints
from weir.reconcile.apply import EXTERNAL, READY, Entry
from weir.reconcile.claims import lost_claims
from weir.reconcile.graph import GraphError
from weir.reconcile.look import Halt
from weir.reconcile.plan import Action, Plan, Verb
from weir.reconcile.planner import plan_for
from weir.reconcile.services import Options
from weir.reconcile.steps import owner_of, platform_entries
from weir.reconcile.view import Unreadable, View, parse
from weir.reconcile.world import Worlds, target_of
from weir.resource import UNKNOWN

PRESENT = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.ADOPT, Verb.NONE})
"""What a Platform has after its plan was applied."""


@dataclass(frozen=True)
class Planned:
    """What became of planning one object.

    Parameters
    ----------
    asked
        Whether it stands in the files.
    plan
        None where it can't be planned: ``reason`` (CamelCase) and ``message`` say why.
    note
        What one should know beside the plan.
    """

    key: Key
    asked: bool
    plan: Plan | None = None
    reason: str = ""
    message: str = ""
    note: str = ""

    @property
    def shown(self) -> bool:
        """Whether people want to see it: it was asked for, or something happens to it."""
        return self.asked or self.plan is None or self.plan.has_changes


class Mismatch(RuntimeError):
    """A document names another namespace than the command line."""


def wishes(documents: Iterable[Document], namespace: str | None, default: str) -> list[Object]:
    """The objects of files that have something on AWS, each with its namespace.

    Parameters
    ----------
    namespace
        That of the command line, which no document may contradict.
    default
        For documents without one.

    Raises
    ------
    Mismatch
        A document contradicts.
    """
    found = []
    for document in documents:
        body = document.body
        if not isinstance(body, dict) or body.get("apiVersion") != API_VERSION:
            continue
        if body.get("kind") not in KINDS:
            continue
        metadata = dict(body.get("metadata") or {})
        if body["kind"] in CLUSTER_SCOPED:
            metadata.pop("namespace", None)
        else:
            stated = metadata.setdefault("namespace", namespace or default)
            if namespace and stated != namespace:
                raise Mismatch(
                    f"{document.file}:{document.line(('metadata', 'namespace'))}: the object is in "
                    f"namespace {stated}, but --namespace says {namespace}"
                )
        found.append({**body, "metadata": metadata})
    return sorted(found, key=lambda one: KINDS.index(one["kind"]))


class Planner:
    """Plans all objects that a set of manifests touches.

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
        self._removed: list[Object] = []
        self._results: dict[Key, Planned] = {}
        self._asked: set[Key] = set()

    def plan(self, wanted: Sequence[Object]) -> list[Planned]:
        """One result for each object that is touched, Platforms first.

        Raises
        ------
        KubeError
            The API server can't be asked.
        """
        namespaces = {one["metadata"].get("namespace", "") for one in wanted} - {""}
        self._objects = self._cluster.objects(namespaces)
        self._asked = {Key.of(one) for one in wanted}
        for wish in wanted:
            self._store(wish)
        for key in sorted(key for key in self._asked if key.kind == "DataSource"):
            if key not in self._results:
                self._child(key)
        touched = self._touched()
        by_platform: dict[str, list[Key]] = {}
        for key in touched:
            name = key.name if key.kind == "Platform" else self._platform_name(self._objects[key])
            by_platform.setdefault(name, []).append(key)
        for gone in self._removed:
            by_platform.setdefault(self._platform_name(gone), [])
        for name, keys in sorted(by_platform.items()):
            self._platform(name, keys)
        return sorted(self._results.values(), key=lambda one: (KINDS.index(one.key.kind), one.key))

    def _store(self, wish: Object) -> None:
        key = Key.of(wish)
        with self._failing(key):
            self._objects[key] = self._cluster.applied(wish)

    def _child(self, key: Key) -> None:
        """The Pipeline that a source manages, as the operator would write it."""
        source = parse(DataSource, self._objects[key])
        child = Key("Pipeline", key.namespace, key.name)
        there = self._objects.get(child)
        mine = there is not None and any(
            one.get("uid", "") == source.uid
            for one in there["metadata"].get("ownerReferences") or []
        )
        manifest = blueprints.child_of(source)
        if manifest is None:
            if there is not None and mine:
                self._removed.append(self._objects.pop(child))
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
        """What stands in the files and what refers to it, as far as it can be planned."""
        store = Store()
        for one in self._objects.values():
            store.put(one)
        found: set[Key] = set()
        open_keys = [
            key for key in self._asked if key in self._objects and key not in self._results
        ]
        while open_keys:
            key = open_keys.pop()
            if key not in found:
                found.add(key)
                open_keys += [one for one in store.dependents(key) if one in self._objects]
        return sorted(
            (key for key in found if key.kind != "DataSchema" and key not in self._results),
            key=lambda key: (KINDS.index(key.kind), key),
        )

    @staticmethod
    def _platform_name(obj: Object) -> str:
        return str((obj.get("spec") or {}).get("platform") or "default")

    def _platform(self, name: str, keys: Sequence[Key]) -> None:
        """Everything that is touched on one Platform."""
        key = Key("Platform", "", name)
        obj = self._objects.get(key)
        users = [one for one in keys if one != key]
        gone = [one for one in self._removed if self._platform_name(one) == name]
        if obj is None:
            missing = f"there is no Platform {name}, neither in the cluster nor in the files"
            for one in (*users, *map(Key.of, gone)):
                self._results[one] = self._unplanned(one, "PlatformNotFound", missing)
            return
        with contextlib.ExitStack() as stack:
            try:
                platform = parse(Platform, obj)
                session = AwsSession(target_of(platform), dry_run=True)
                session.verify_account()
                options = stack.enter_context(
                    installation(obj, session, self._cluster_id, self._artifacts)
                )
            except (Halt, AwsError, Unreadable) as error:
                for one in (*keys, *map(Key.of, gone)):
                    self._results[one] = self._unplanned(one, _reason(error), str(error))
                return
            self._plan_platform(key, options)
            for one in users:
                self._plan_user(one, options)
            for former in gone:
                with self._failing(Key.of(former)):
                    result = removal(former, platform, self._objects, options)
                    note = "its source does not want it any more"
                    self._results[Key.of(former)] = Planned(
                        Key.of(former), False, result, note=note
                    )

    def _plan_platform(self, key: Key, options: Options) -> None:
        if key in self._results:
            return
        if not self._cluster.complete:
            if key in self._asked:
                message = (
                    "a Platform holds databases and schemas for all namespaces, and you may not "
                    "list DataSources, DataSchemas and Pipelines in all of them"
                )
                self._results[key] = self._unplanned(key, "Forbidden", message)
            return
        with self._failing(key):
            obj = self._objects[key]
            plan = plan_for(obj, self._objects.values(), self._cluster.kube, options)
            self._results[key] = Planned(key, key in self._asked, plan, note=_note(obj))
            self._objects[key] = as_planned(obj, plan)

    def _plan_user(self, key: Key, options: Options) -> None:
        with self._failing(key):
            obj = self._objects[key]
            if key.kind == "Pipeline":
                self._refuse(obj, options)
            plan = plan_for(obj, self._objects.values(), self._cluster.kube, options)
            self._results[key] = Planned(key, key in self._asked, plan, note=_note(obj))

    def _refuse(self, obj: Object, options: Options) -> None:
        """What the reconcile of a Pipeline refuses before it looks at AWS."""
        pipeline = parse(Pipeline, obj)
        view = View(self._objects.get, self._of_kind)
        sources = {Key.of(one): one for one in self._of_kind("DataSource")}
        platform = view.platform(pipeline.spec.platform)
        assert platform is not None  # its users are planned after it
        buckets = bucket_names(platform[0], options.cluster)
        lost = lost_claims(obj, view.users(pipeline.spec.platform), sources, buckets)
        if lost:
            claim, holder = lost[0]
            raise Halt("Conflict", f"{claim.what} {claim.place} belongs to {holder}")
        owners = {one.get("uid") for one in obj["metadata"].get("ownerReferences") or []}
        found = view.sources(pipeline.namespace, blueprints.source_names(pipeline))
        for name in blueprints.primaries_of(pipeline):
            source = found.get(name)
            managed = source is not None and blueprints.child_of(source) is not None
            if source is not None and managed and source.uid not in owners:
                raise Halt(
                    "Conflict",
                    f"DataSource {name} has a managed Pipeline of its own: to hand over, set "
                    "pipeline: {managed: false} on it",
                )

    def _of_kind(self, kind: str) -> list[Object]:
        return [one for key, one in self._objects.items() if key.kind == kind]

    def _unplanned(self, key: Key, reason: str, message: str) -> Planned:
        return Planned(key, key in self._asked, reason=reason, message=message)

    @contextlib.contextmanager
    def _failing(self, key: Key) -> Iterator[None]:
        """What can't be planned is said of the object, and the others are planned all the same."""
        try:
            yield
        except (Halt, AwsError, GraphError, Unreadable, Refused) as error:
            self._results[key] = self._unplanned(key, _reason(error), str(error))


def as_planned(obj: Object, plan: Plan) -> Object:
    """A Platform as it is once its plan was applied: what only AWS can tell stays unknown."""
    entries = platform_entries(obj)
    lines = []
    for action in plan.actions:
        if action.verb not in PRESENT:
            continue
        before = entries.get(action.logical_id)
        arn = action.observed.attributes.get("arn", "") if action.observed else ""
        arn = arn or (before.arn if before else "") or repr(UNKNOWN)
        state = EXTERNAL if action.resource and action.resource.external else READY
        lines.append(Entry(action.kind, action.logical_id, action.name, arn, state).to_status())
    return {**obj, "status": {**(obj.get("status") or {}), "resources": lines}}


def removal(obj: Object, platform: Platform, objects: dict[Key, Object], options: Options) -> Plan:
    """What the deletion of a managed Pipeline does. Reads only."""
    entries = [Entry.from_status(line) for line in (obj.get("status") or {}).get("resources") or []]
    source = objects.get(Key("DataSource", obj["metadata"]["namespace"], obj["metadata"]["name"]))
    policy = ((source or obj).get("spec") or {}).get("deletionPolicy")
    with ThreadPoolExecutor(4) as pool:
        worlds = Worlds(pool, time.monotonic, options.drift_interval, dry_run=True)
        plan = worlds.of(platform).applier.plan(owner_of(options.cluster, obj), (), {}, entries)
    if policy != "Delete":
        return plan
    return replace(plan, actions=tuple(map(_with_data, plan.actions)))


def _with_data(action: Action) -> Action:
    """The deletion policy is Delete: what holds data goes too."""
    if action.verb is not Verb.RETAIN:
        return action
    return replace(action, verb=Verb.DELETE, loses_data=True, reason="no longer wanted")


def _note(obj: Object) -> str:
    if is_paused(obj):
        return "paused: the operator does nothing of this until weir.dev/paused goes"
    return ""


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, (Halt, KubeError)) else type(error).__name__
