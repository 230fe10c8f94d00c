"""What applying or deleting objects would do: the engine's own plan, with every write refused."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.platform import Platform
from weir.aws import redshift
from weir.kube.client import Kube, Object
from weir.kube.keys import Key, may_adopt
from weir.kube.store import Store
from weir.reconcile import moves, network
from weir.reconcile import pipeline as pipelines
from weir.reconcile import platform as platforms
from weir.reconcile import wanted as blueprints
from weir.reconcile.apply import EXTERNAL, NOT_OURS, READY, Entry
from weir.reconcile.guards import check_account, data_halt, gone_data, withheld
from weir.reconcile.look import Look
from weir.reconcile.metrics import Metrics
from weir.reconcile.plan import Action, Plan, Verb
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.steps import MACHINE, TRIGGERS, Wanted, need_platform, owner_of, view_of
from weir.reconcile.unknowns import PLACEHOLDERS, has_unknown, united
from weir.reconcile.view import View, parse
from weir.reconcile.world import World, Worlds
from weir.resource import TAG_UID, UNKNOWN

THREADS = 8
"""Kinds of AWS resources that are looked at side by side."""
PRESENT = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.ADOPT, Verb.NONE})
"""What a Platform has after its plan was applied."""
DEEP = 400
"""AWS resources that are each looked at as a whole. Of more, what a listing can't tell is judged by
the marks of the operator's last apply."""
TIMELESS = 86_400.0
"""Seconds for which one look counts: a plan is of one moment."""


@contextmanager
def planning(platform: Platform) -> Iterator[Planning]:
    """Begin to plan what is on a Platform.

    Raises
    ------
    AwsError
        There are no credentials, or those of another account.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        worlds = Worlds(pool, time.monotonic, TIMELESS, dry_run=True)
        worlds.of(platform).session.verify_account()
        yield Planning(platform, worlds, pool)


class _Silent:
    """A plan tells no events."""

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """As :class:`weir.reconcile.services.Teller`."""

    say = warn


class Planning:
    """Plans the objects of one Platform against one look at AWS. Reads and changes nothing.

    Call :meth:`begin` once, then :meth:`applied` for the Platform, then the rest in any order.
    """

    def __init__(self, platform: Platform, worlds: Worlds, pool: ThreadPoolExecutor) -> None:
        self._platform = platform
        self._worlds = worlds
        self._pool = pool
        self._services: Services | None = None
        self._departing = Store()
        self._deeply = True
        self._unborn: frozenset[Key] = frozenset()

    @property
    def world(self) -> World:
        """The account and region, read-only."""
        return self._worlds.of(self._platform)

    def begin(
        self,
        objects: Iterable[Object],
        kube: Kube,
        options: Options,
        touched: Iterable[Object],
        removed: Iterable[Object] = (),
        unborn: Iterable[Key] = (),
    ) -> None:
        """Say what there is.

        Parameters
        ----------
        objects
            All objects of our kinds as they should be, with defaults; the status of one that exists
            says what exists for it.
        touched
            Those of them that will be planned: what they have is looked at in one go.
        removed
            Objects that go, as they are.
        unborn
            Those of which the cluster knows nothing yet.
        """
        store = Store()
        gone = list(removed)
        for one in objects:
            store.put(one)
            self._departing.put(one)
        for one in gone:
            self._departing.put(one)
        self._unborn = frozenset(unborn)
        self._services = Services(
            kube=kube,
            store=store,
            worlds=self._worlds,
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=_Silent(),
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=options,
            now=lambda: datetime.now(UTC),
            saved=lambda _obj: None,
        )
        known = [entry.key for one in (*touched, *gone) for entry in entries_of(one)]
        self._deeply = len(known) <= DEEP
        self._look(known)

    def applied(self, obj: Object) -> Plan:
        """What the reconcile of an object would do.

        Raises
        ------
        Halt
            It would do nothing: ``reason`` and ``message`` say why.
        AwsError
            AWS can't be read.
        """
        look = Look(self._of_services, obj)
        context, wanted = self._wish(obj)
        platform_obj = obj if obj["kind"] == "Platform" else self._platform_object()
        check_account(look, self._platform, platform_obj)
        self._check_move(look, context)
        self._look(resource.key for resource in wanted.resources)
        gone = gone_data(look, self.world, wanted.resources)
        asks, is_platform = may_adopt(obj), obj["kind"] == "Platform"
        plan = self.world.applier.plan(
            wanted.owner,
            withheld(wanted.resources, {one.key for one in gone}),
            wanted.tags,
            look.entries,
            adopt=lambda one: asks and (is_platform or context.grant.may_adopt(one.name)),
        )
        if is_platform:
            self._of_services.store.put(as_planned(obj, plan))
        lost = {one.key: data_halt([one]).message for one in gone}
        return replace(plan, actions=tuple(foreseen(one, lost) for one in plan.actions))

    def deleted(self, obj: Object) -> Plan:
        """What the deletion of an object would do, in the order in which it is done.

        Raises
        ------
        Halt
            It would wait: ``reason`` and ``message`` say for what.
        AwsError
            AWS can't be read.
        """
        services = self._of_services
        look = Look(services, obj)
        view = View(self._departing.get, self._departing.of_kind)
        platform, platform_obj = need_platform(view, self._platform.name)
        check_account(look, platform, platform_obj)
        policy: str
        if obj["kind"] == "Platform":
            users = view_of(services).users(self._platform.name)
            if users:
                raise platforms.in_use(users)
            policy = platform.spec.deletion_policy
        elif obj["kind"] == "Pipeline":
            policy = pipelines.deletion_policy(view, obj)
        else:
            policy = parse(DataSource, obj).spec.deletion_policy
        resources = blueprints.known_resources(services, view, platform, obj)
        self._look(entry.key for entry in look.entries)
        owner = owner_of(services.options.cluster, obj)
        actions = self.world.applier.plan_delete(owner, look.entries, resources, policy != "Delete")
        first = [one for one in actions if one.kind in TRIGGERS]
        rest = [one for one in actions if one.kind not in TRIGGERS]
        return Plan(owner, (*first, *rest))

    def running(self, obj: Object) -> int:
        """Executions of an object that run now.

        Raises
        ------
        AwsError
            They can't be listed.
        """
        machines = [
            one.arn
            for one in entries_of(obj)
            if one.kind == MACHINE and one.arn and one.state not in NOT_OURS
        ]
        return sum(len(self.world.ledger.running(arn)) for arn in machines)

    @property
    def _of_services(self) -> Services:
        assert self._services is not None, "begin was not called"
        return self._services

    def _check_move(self, look: Look, context: blueprints.Context) -> None:
        """What would keep an object from going on where its former one stood, once that is gone."""
        former = moves.pending(look)
        if former is None:
            return
        moves.check_grants(look.key, former, context)
        # While the former one is there, its passes go on; a Platform to come has nothing that waits.
        platform_is_there = Key("Platform", "", self._platform.name) not in self._unborn
        if platform_is_there and self._departing.get(former) is None:
            moves.check_drained(former, context, self.world)

    def _look(self, keys: Iterable[tuple[str, str]]) -> None:
        """Look at all of these at once, kind by kind side by side; faults show when it is planned."""
        by_kind: dict[str, list[tuple[str, str]]] = defaultdict(list)
        known = self.world.applier.traits
        for kind, name in dict.fromkeys(keys):
            if has_unknown(name):
                # Nothing can have a name that AWS has yet to tell.
                self.world.inventory.wrote(kind, name, None)
            elif kind in known:
                by_kind[kind].append((kind, name))
        wanted = [key for of in by_kind.values() for key in of]
        self.world.inventory.expect(wanted, deeply=self._deeply)
        looks = [self._pool.submit(self.world.inventory.see, of) for of in by_kind.values()]
        for one in looks:
            one.result()

    def _wish(self, obj: Object) -> tuple[blueprints.Context, Wanted]:
        """What an object wants; what hangs on something that only AWS can tell is unknown in it."""
        context, wanted = self._drawn(obj, PLACEHOLDERS[0])
        if obj["kind"] != "Platform" and has_unknown(self._platform_object()["status"]):
            _, other = self._drawn(obj, PLACEHOLDERS[1])
            wanted = replace(wanted, resources=united(wanted.resources, other.resources))
        if Key.of(obj) in self._unborn:
            # The server makes up a uid for a dry run.
            wanted = replace(wanted, tags={**wanted.tags, TAG_UID: UNKNOWN})  # type: ignore[dict-item]
        return context, wanted

    def _platform_object(self) -> Object:
        return need_platform(view_of(self._of_services), self._platform.name)[1]

    def _drawn(self, obj: Object, placeholder: str) -> tuple[blueprints.Context, Wanted]:
        services, view = self._of_services, view_of(self._of_services)
        namespace = obj["metadata"].get("namespace", "")
        if obj["kind"] == "Platform":
            platform = parse(Platform, obj)
            context = blueprints.context_of(services, view, platform, obj, "")
            owner = owner_of(services.options.cluster, obj)
            sight = network.sight_of(self.world, platform, context.facts, owner)
            network.need(sight)
            return context, blueprints.platform_wanted(context, obj, served=sight.served)
        platform, platform_obj = need_platform(view, self._platform.name)
        known = with_placeholder(platform_obj, placeholder)
        if obj["kind"] == "DataSource":
            source = parse(DataSource, obj)
            context = blueprints.context_of(services, view, platform, known, namespace)
            return context, blueprints.source_wanted(context, source, obj)
        model = parse(Pipeline, obj)
        named = pipelines.need_sources(view, model)
        pipelines.check_handover(obj, model, named)
        pipelines.check_claims(services, view, platform, obj)
        context = blueprints.context_of(services, view, platform, known, namespace)
        return context, blueprints.pipeline_wanted(context, model, named, obj)


def foreseen(action: Action, lost: Mapping[tuple[str, str], str]) -> Action:
    """An action as it will turn out: what the operator refuses to do is said before.

    Parameters
    ----------
    lost
        Kind and name of what held data and is gone -> what the operator says of it.
    """
    if action.verb is Verb.MISSING and (action.kind, action.name) in lost:
        return replace(action, reason=lost[action.kind, action.name])
    if action.verb is Verb.REPLACE and action.loses_data:
        return replace(action, reason=f"{action.reason}; the operator refuses, since data would go")
    refuses = REFUSALS.get(action.kind)
    refused = refuses(action) if refuses and action.verb is Verb.UPDATE else ()
    if not refused:
        return action
    why = f"can't be changed in place: {'; '.join(refused)}"
    return replace(action, verb=Verb.CONFLICT, reason=why)


def _table_refuses(action: Action) -> Sequence[str]:
    assert action.resource is not None and action.observed is not None
    return redshift.table_changes(action.resource, action.observed, action.changes)[1]


REFUSALS: Mapping[str, Callable[[Action], Sequence[str]]] = {"redshift.Table": _table_refuses}
"""Kind -> why an update would be refused; empty where it would not."""


def entries_of(obj: Object) -> list[Entry]:
    """``status.resources``."""
    return [Entry.from_status(line) for line in (obj.get("status") or {}).get("resources") or []]


def as_planned(obj: Object, plan: Plan) -> Object:
    """A Platform as it is once its plan was applied: what only AWS can tell stays unknown."""
    before = {entry.id: entry for entry in entries_of(obj)}
    lines = []
    for action in plan.actions:
        if action.verb not in PRESENT:
            continue
        known = before.get(action.logical_id)
        seen = None if action.verb is Verb.REPLACE else action.observed
        arn = (seen.attributes.get("arn", "") if seen else "") or (
            known.arn if known and known.name == action.name and seen else ""
        )
        state = EXTERNAL if action.resource and action.resource.external else READY
        lines.append(
            Entry(action.kind, action.logical_id, action.name, arn or repr(UNKNOWN), state)
        )
    resources = [line.to_status() for line in lines]
    return {**obj, "status": {**(obj.get("status") or {}), "resources": resources}}


def with_placeholder(obj: Object, placeholder: str) -> Object:
    """A Platform's object with something in place of each ARN that is unknown yet."""
    status = obj.get("status") or {}
    lines = [
        {**line, "arn": placeholder} if line.get("arn") == repr(UNKNOWN) else line
        for line in status.get("resources") or []
    ]
    return {**obj, "status": {**status, "resources": lines}}
