"""One account and region as a Platform gives it: the way there, and what is known of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from weir.api.v1alpha1.platform import Platform
from weir.aws.registry import adapters as registered_adapters
from weir.aws.session import Assume, AwsSession, Call, Observer, Target
from weir.blueprint.config import seconds
from weir.kube.keys import Key
from weir.reconcile.apply import Applier
from weir.reconcile.brake import Brake, Braked
from weir.reconcile.inventory import Inventory, InventoryObserver
from weir.reconcile.ledger import Ledger
from weir.reconcile.view import Recorded
from weir.resource import Adapter

MakeAdapters = Callable[[AwsSession], Mapping[str, Adapter]]
Fence = Callable[[], None]
"""Raises where a write may not start any more."""
TAG_PLATFORM = "weir.dev/platform"
"""The session tag that says for which Platform a role was assumed."""

SESSION_NAME = 64
"""Characters of a role session's name at most (STS API, "AssumeRole")."""

Expected = Callable[[str], Iterable[Recorded]]
"""Platform name -> every AWS resource that its objects are known to have."""


def drift_seconds(platform_interval: str | None, bound: float) -> float:
    """Seconds between two looks at what a Platform has on AWS.

    The Platform's ``spec.driftInterval`` rules; the operator's own setting is the longest that any
    Platform gets, and what counts where the Platform is not known.

    Parameters
    ----------
    platform_interval
        ``spec.driftInterval``, as ``10m``; None where there is no Platform.
    bound
        The operator's setting, seconds.
    """
    if platform_interval is None:
        return bound
    return min(bound, max(1.0, float(seconds(platform_interval))))


def target_of(platform: Platform) -> Target:
    """Where a Platform's session leads."""
    spec = platform.spec
    return Target(
        region=spec.region,
        account_id=spec.account_id,
        roles=_roles(platform),
        endpoint_url=spec.endpoint_url or "",
    )


def _roles(platform: Platform) -> tuple[Assume, ...]:
    """The chain that leads there. What is passed to its first role stays for all others."""
    role = platform.spec.assume_role
    if role is None:
        return ()
    tags = dict(role.session_tags)
    if role.platform_tag:
        tags[TAG_PLATFORM] = platform.name
    name = f"weir-{platform.name}"[:SESSION_NAME]
    first, *others = (*role.via, role)
    return (
        Assume(
            first.role_arn,
            first.external_id or "",
            name,
            tuple(sorted(tags.items())),
            role.source_identity or "",
        ),
        *(Assume(one.role_arn, one.external_id or "", name) for one in others),
    )


@dataclass(frozen=True)
class World:
    """The account and region of one Platform."""

    target: Target
    session: AwsSession
    inventory: Inventory
    applier: Applier
    ledger: Ledger


class Worlds:
    """One :class:`World` for each Platform, made anew when the Platform leads elsewhere.

    Parameters
    ----------
    pool
        Runs AWS calls side by side.
    clock
        Seconds that only grow.
    ttl
        Seconds for which an observation counts at most; a Platform's ``driftInterval`` says less.
    observer
        Told of every AWS call.
    dry_run
        Refuse every write.
    expected
        Asked when a world is made: what the first look at each kind takes along, so that a restart
        costs listings of the account and not calls for each object.
    slack
        Times the drift interval for which an observation counts: more than one where drift rounds
        (:class:`weir.reconcile.drift.DriftRounds`) renew it, so that readers wait for them.
    watched
        Told what the inventories save.
    fence_of
        Asked with the Platform's name when a world is made: called before each write of that world.
    called
        Told of every AWS call and whose it was, beside ``observer``.
    """

    def __init__(
        self,
        pool: Executor,
        clock: Callable[[], float],
        ttl: float,
        observer: Observer | None = None,
        dry_run: bool = False,
        make_adapters: MakeAdapters = registered_adapters,
        expected: Expected = lambda _platform: (),
        fence_of: Callable[[str], Fence | None] = lambda _platform: None,
        called: Callable[[str, Call], None] = lambda _platform, _call: None,
        slack: float = 1.0,
        watched: InventoryObserver | None = None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._ttl = ttl
        self._observer = observer
        self._dry_run = dry_run
        self._make_adapters = make_adapters
        self._expected = expected
        self._fence_of = fence_of
        self._called = called
        self._slack = slack
        self._watched = watched
        self._intervals: dict[str, float] = {}
        self._cycles: dict[str, float] = {}
        self._worlds: dict[str, World] = {}
        self._lock = threading.Lock()

    def of(self, platform: Platform) -> World:
        """The world of a Platform."""
        target = target_of(platform)
        with self._lock:
            world = self._worlds.get(platform.name)
            is_new = world is None or world.target != target
            if world is None or is_new:
                world = self._make(platform.name, target)
                for one in self._expected(platform.name):
                    world.inventory.expect(one.unmarked, deeply=True)
                    world.inventory.own(one.owner, one.keys)
                self._worlds[platform.name] = world
            interval = drift_seconds(platform.spec.drift_interval, self._ttl)
            self._intervals[platform.name] = interval
            # A shorter interval makes all that is known too old: the round that begins then looks at
            # it, and readers don't list for themselves what it is about to bring.
            awaited = self._slack > 1.0 and not is_new
            self._date(platform.name, world, least=world.inventory.ttl if awaited else 0.0)
            return world

    def interval(self, platform: str) -> float:
        """Seconds between two drift rounds of a Platform."""
        with self._lock:
            return self._intervals.get(platform, self._ttl)

    def cycled(self, platform: str, seconds: float) -> None:
        """A drift round of a Platform and the pause that follows it take so long: where that is more
        than the interval, observations count for longer, or every reader would list for himself
        what the round under way lists already."""
        with self._lock:
            self._cycles[platform] = seconds
            if platform in self._worlds:
                self._date(platform, self._worlds[platform])

    def _date(self, platform: str, world: World, least: float = 0.0) -> None:
        """Say how long observations count, ``least`` seconds at least; the lock is held."""
        interval = self._intervals.get(platform, self._ttl)
        seconds = self._slack * max(interval, self._cycles.get(platform, 0.0))
        world.inventory.ttl = max(least, seconds)

    def disown(self, owner: Key) -> None:
        """An object is gone: nobody is woken for what it had."""
        for world in self.known().values():
            world.inventory.own(owner, ())

    def known(self) -> dict[str, World]:
        """Platform name -> world, of those that were asked for."""
        with self._lock:
            return dict(self._worlds)

    def forget(self, platform: str) -> None:
        """The Platform is gone."""
        with self._lock:
            self._worlds.pop(platform, None)
            self._cycles.pop(platform, None)

    def _make(self, platform: str, target: Target) -> World:
        def observer(call: Call) -> None:
            if self._observer is not None:
                self._observer(call)
            self._called(platform, call)

        fence = self._fence_of(platform)
        session = AwsSession(target, observer=observer, dry_run=self._dry_run, fence=fence)
        brake = Brake(self._clock)
        kinds = {
            kind: Braked(adapter, brake) for kind, adapter in self._make_adapters(session).items()
        }
        inventory = Inventory(kinds, self._ttl, self._clock, self._watched)
        applier = Applier(kinds, inventory, self._pool)
        return World(target, session, inventory, applier, Ledger(session))
