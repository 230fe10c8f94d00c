"""The election's rules, by electors over one store of Leases and clocks that tests move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest

from weir.kube.client import Gone, KubeError, Stale
from weir.kube.election import Elector, NotHeld, Terms
from weir.kube.leases import NO_PLATFORM, REPLICA, Lease, lease_name, replica_name

TERMS = Terms(15.0, 10.0, 2.0)


class LeaseStore:
    """What the API server does with Leases: versions, conflicts, and outages."""

    def __init__(self, cluster: str = "c") -> None:
        self.cluster = cluster
        self.leases: dict[str, Lease] = {}
        self.down: set[str] = set()
        self._version = 0

    def as_seen_by(self, who: str) -> SeenBy:
        return SeenBy(self, who)

    def put(self, lease: Lease) -> Lease:
        there = self.leases.get(lease.name)
        if lease.version and there is None:
            raise Gone(404, "NotFound", lease.name)
        if there is not None and lease.version != there.version:
            raise Stale(409, "Conflict", lease.name)
        self._version += 1
        self.leases[lease.name] = replace(lease, version=str(self._version))
        return self.leases[lease.name]


@dataclass
class SeenBy:
    store: LeaseStore
    who: str

    @property
    def cluster(self) -> str:
        return self.store.cluster

    def _need(self) -> None:
        if self.who in self.store.down:
            raise KubeError(0, "Unreachable", "the API server did not answer")

    def list(self) -> dict[str, Lease]:
        self._need()
        return dict(self.store.leases)

    def get(self, name: str) -> Lease | None:
        self._need()
        return self.store.leases.get(name)

    def put(self, lease: Lease) -> Lease:
        self._need()
        return self.store.put(lease)

    def delete(self, lease: Lease) -> None:
        self._need()
        there = self.store.leases.get(lease.name)
        if there is not None and there.version == lease.version:
            del self.store.leases[lease.name]


@dataclass
class Job:
    """The work of one replica."""

    names: list[str]
    working: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    overs: list[str] = field(default_factory=list)
    met: set[str] = field(default_factory=set)

    def platforms(self) -> list[str]:
        return self.names

    def busy(self, platform: str) -> bool:
        return platform in self.working

    def clear(self, platform: str) -> None:
        self.told.append(f"clear {platform}")

    def begin(self, platform: str) -> None:
        self.told.append(f"begin {platform}")

    def exists(self, platform: str) -> None:
        self.met.add(platform)

    def held(self, platform: str, *, held: bool, transitions: int) -> None:
        self.told.append(f"{'held' if held else 'lost'} {platform} {transitions}")

    def gone(self, platform: str) -> None:
        self.told.append(f"gone {platform}")

    def took_over(self, platform: str) -> None:
        self.overs.append(platform)


class Ended(Exception):
    pass


def end(why: str) -> None:
    raise Ended(why)


class World:
    """Replicas, one store and one clock."""

    def __init__(self, *platforms: str) -> None:
        self.now = 100.0
        self.store = LeaseStore()
        self.names = list(platforms)
        self.jobs: dict[str, Job] = {}

    def replica(self, name: str) -> Elector:
        self.jobs[name] = job = Job(self.names)
        return Elector(
            self.store.as_seen_by(name), name, TERMS, lambda: job, job, end, lambda: self.now
        )

    def round(self, *electors: Elector, seconds: float = 2.0) -> None:
        self.now += seconds
        for elector in electors:
            elector.check_deadlines()
            for part in (elector.renew, elector.share):
                with suppress(KubeError):
                    part()
            while elector.switching:
                elector.switch()

    def until(self, what: Callable[[], bool], *electors: Elector) -> float:
        began = self.now
        while not what():
            assert self.now - began < 120, self.store.leases
            self.round(*electors)
        return self.now - began

    def holder(self, platform: str) -> str:
        lease = self.store.leases.get(lease_name("c", platform))
        return lease.holder if lease else ""


def test_the_first_replica_takes_everything_at_once_and_counts_its_turn() -> None:
    world = World("p", "q")
    one = world.replica("one")
    world.round(one)
    assert one.held == ["", "p", "q"]
    assert one.serves("p")
    assert one.tenure("p") == 1
    assert world.jobs["one"].told[:3] == ["clear ", "held  1", "begin "]
    assert one.unheld() == []


def test_a_replica_that_can_not_take_a_lease_tells_of_the_platform_all_the_same() -> None:
    world = World("p")
    standby = world.replica("standby")
    world.store.down.add("standby")
    world.round(standby)
    assert standby.held == []
    assert world.jobs["standby"].met == {"", "p"}


def test_a_holder_that_dies_is_followed_after_its_lease_and_not_before() -> None:
    world = World("p")
    one, two = world.replica("one"), world.replica("two")
    world.round(one, two)
    assert one.held == ["", "p"]
    died = world.now
    while world.holder("p") == "one":
        world.round(two, seconds=0.5)
        assert world.now - died < 20
    assert world.now - died >= TERMS.duration
    assert two.tenure("p") == 2
    assert sorted(world.jobs["two"].overs) == ["", "p"]
    assert not one.serves("p")


@pytest.mark.parametrize("phase", [0.0, 0.4, 1.0, 1.6, 1.999])
def test_failover_takes_less_than_20_seconds_however_the_two_are_out_of_step(phase: float) -> None:
    world = World("p")
    one, two = world.replica("one"), world.replica("two")
    world.round(one)
    world.round(two, seconds=phase)
    died = world.now + 20
    look = world.now
    while world.holder("p") == "one":
        renewal = min(died, 102.0 + 2.0 * (1 + (world.now - 102.0) // 2.0))
        world.now = min(look, renewal) if world.now < died else look
        if world.now <= died and world.now == renewal:
            one.renew()
        if world.now >= look:
            two.share()
            look = world.now + two.pause()
    assert TERMS.duration <= world.now - died < TERMS.duration + TERMS.retry_period + 0.1


def test_nothing_is_written_after_the_deadline_and_never_again_in_that_turn() -> None:
    world = World("p")
    one = world.replica("one")
    world.round(one)
    fence = one.fence("p")
    fence()
    world.now += TERMS.last_write + 0.1
    with pytest.raises(NotHeld):
        fence()
    assert one.may_tell("p"), "status may be written up to the renew deadline"
    world.now += TERMS.renew_deadline - TERMS.last_write
    assert not one.serves("p")
    assert not one.may_tell("p")
    world.round(one)
    world.round(one)
    assert one.serves("p"), "nobody else took it: it is held again, as another turn"
    assert one.tenure("p") == 2
    with pytest.raises(NotHeld):
        fence()
    one.fence("p")()


def test_a_replica_without_the_api_server_stops_before_another_begins() -> None:
    world = World("p")
    one, two = world.replica("one"), world.replica("two")
    world.round(one, two)
    world.store.down.add("one")
    cut = world.now
    both = []
    while world.holder("p") != "two":
        world.round(one, two, seconds=0.5)
        both.append(one.serves("p") and two.serves("p"))
    assert world.now - cut >= TERMS.duration
    assert not any(both)
    assert world.jobs["one"].told[-1].startswith("lost")
    world.store.down.clear()
    world.round(one, two)
    assert world.holder("p") == "two"


def test_work_that_cannot_be_proved_to_have_ended_ends_the_process() -> None:
    world = World("p")
    one = world.replica("one")
    world.round(one)
    world.jobs["one"].working.add("p")
    world.store.down.add("one")
    world.round(one, seconds=TERMS.renew_deadline)
    assert not one.serves("p")
    with pytest.raises(Ended, match="Platform p"):
        world.round(one, seconds=TERMS.duration - TERMS.renew_deadline)


def test_a_lost_platform_is_not_taken_again_while_its_work_goes_on() -> None:
    world = World("p")
    one = world.replica("one")
    world.round(one)
    world.jobs["one"].working.add("p")
    world.store.down.add("one")
    world.round(one, seconds=TERMS.renew_deadline)
    world.store.down.clear()
    world.round(one, seconds=1.0)
    assert "p" not in one.held
    world.jobs["one"].working.clear()
    world.round(one, seconds=1.0)
    assert one.held == ["", "p"]


def test_a_replica_that_joins_gets_its_share_once_it_has_lived_and_then_nothing_moves() -> None:
    world = World("p", "q", "r")
    one, two = world.replica("one"), world.replica("two")
    world.round(one)
    began = world.now
    world.round(one, two)
    assert two.held == []
    world.until(lambda: len(two.held) == 2, one, two)
    assert world.now - began >= TERMS.duration, "one that comes and goes moves nothing"
    shares = (one.held, two.held)
    for _ in range(20):
        world.round(one, two)
    assert (one.held, two.held) == shares
    assert sorted(one.held + two.held) == ["", "p", "q", "r"]
    assert world.jobs["two"].overs == []


def test_what_is_worked_on_is_given_up_only_when_that_has_ended() -> None:
    world = World("p")
    one, two = world.replica("one"), world.replica("two")
    world.round(one)
    world.jobs["one"].working.update(["p", ""])
    world.until(lambda: not (one.serves("p") and one.serves("")), one, two)
    for _ in range(10):
        world.round(one, two)
    assert two.held == []
    leaving = "p" if not one.serves("p") else ""
    one.fence(leaving)()
    world.jobs["one"].working.discard(leaving)
    world.until(lambda: two.held == [leaving], one, two)


def test_a_clean_end_gives_everything_back_at_once() -> None:
    world = World("p", "q")
    one, two = world.replica("one"), world.replica("two")
    world.round(one, two)
    for elector in (one, two):
        elector.start()
    assert one.stop(1.0)
    assert replica_name("c", "one") not in world.store.leases
    two.stop(0.0)
    three = world.replica("three")
    world.round(three, seconds=0.1)
    assert three.held == ["", "p", "q"]
    assert world.jobs["three"].overs == []


def test_the_lease_of_a_platform_that_is_gone_is_removed() -> None:
    world = World("p", "q")
    one = world.replica("one")
    world.round(one)
    world.names.remove("q")
    world.round(one)
    assert one.held == ["", "p"]
    assert lease_name("c", "q") not in world.store.leases
    assert world.jobs["one"].told[-1] == "gone q"


def test_a_process_that_follows_in_the_same_pod_goes_on_at_once_as_another_turn() -> None:
    world = World("p")
    world.round(world.replica("one"))
    again = world.replica("one")
    world.round(again, seconds=0.1)
    assert again.held == ["", "p"]
    assert again.tenure("p") == 2
    assert world.jobs["one"].overs == []


def test_a_label_that_somebody_puts_on_a_lease_costs_nobody_the_lease() -> None:
    world = World("p")
    one = world.replica("one")
    world.round(one)
    world.store.put(world.store.leases[lease_name("c", "p")])
    world.round(one)
    assert one.serves("p")
    assert one.tenure("p") == 1


def test_a_higher_epoch_on_aws_makes_the_next_turn_higher_still() -> None:
    world = World("p")
    one = world.replica("one")
    world.round(one)
    fence = one.fence("p")
    one.surpass("p", 41)
    with pytest.raises(NotHeld):
        fence()
    world.until(lambda: one.tenure("p") == 42, one)


def test_leases_of_replicas_that_are_long_gone_are_removed() -> None:
    world = World()
    one, two = world.replica("one"), world.replica("two")
    world.round(one, two)
    for _ in range(200):
        world.round(one)
    assert [x.holder for x in world.store.leases.values() if x.role == REPLICA] == ["one"]
    assert world.holder(NO_PLATFORM) == "one"


@pytest.mark.parametrize("times", [(10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (15.0, 10.0, 0.0)])
def test_terms_that_cannot_work_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be shorter"):
        Terms(*times)


def test_names_are_valid_and_differ_however_long_the_platforms_is() -> None:
    long = ["x" * 240 + end for end in ("a" * 13, "b" * 13)]
    names = [lease_name("c", name) for name in (*long, "short", "")]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 253
