"""Windows of a Kinesis stream's past: each record once, wherever the reader dies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from lambdas.streams.past_windows import (
    LANE,
    ROUNDS,
    Dying,
    held,
    land_rounds,
    land_window,
    wanted,
)
from lambdas.streams.rig import Rig
from weir_contract.state import CHECKPOINT, source_pk
from weir_lambdas.common.errors import ConfigInvalid, NoLongerKept, SourceRateLimited
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Window
from weir_lambdas.stream_processor.past import PastSource
from weir_lambdas.stream_processor.shards import AT_ONCE, Place, Shard, ShardsGone, Walk

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Kinesis:
    """A stream with all that a reader may meet: shards that end, short answers, expired iterators.

    As *GetShardIterator* says: AT_TIMESTAMP is the first record that arrived then or later.
    """

    clock: Any
    chance: random.Random
    hours: int = 24
    created: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)
    iterators: dict[str, tuple[str, int]] = field(default_factory=dict)
    throttled: bool = False
    numbers: int = 0

    def shard(self, number: int, *parents: int) -> list[Any]:
        """A shard of that number, and what came of its parents before it."""
        names = [f"shardId-{one:012d}" for one in (number, *parents)]
        self.shards[names[0]] = {"parents": names[1:], "records": [], "open": True}
        for parent in names[1:]:
            self.shards[parent]["open"] = False
        records: list[Any] = self.shards[names[0]]["records"]
        return records

    def put(self, number: int, at: datetime, data: bytes) -> None:
        self.numbers += 1
        record = {
            "SequenceNumber": str(10**55 + self.numbers),
            "ApproximateArrivalTimestamp": at,
            "Data": data,
            "PartitionKey": "k",
        }
        self.shards[f"shardId-{number:012d}"]["records"].append(record)

    def describe_stream_summary(self, **asked: Any) -> Any:
        told = {"RetentionPeriodHours": self.hours, "StreamCreationTimestamp": self.created}
        return {"StreamDescriptionSummary": told}

    def list_shards(self, **asked: Any) -> Any:
        names = sorted(self.shards)
        if "NextToken" in asked:
            names = names[int(asked["NextToken"]) :]
        else:
            assert asked["ShardFilter"]["Type"] == "FROM_TIMESTAMP"
        listed = [
            {"ShardId": name}
            | dict(zip(("ParentShardId", "AdjacentParentShardId"), parents, strict=False))
            for name in names[:2]
            for parents in [self.shards[name]["parents"]]
        ]
        done = len(self.shards) - len(names) + 2
        return {"Shards": listed} | ({"NextToken": str(done)} if len(names) > 2 else {})

    def get_shard_iterator(self, **asked: Any) -> Any:
        records = self.shards[asked["ShardId"]]["records"]
        if asked["ShardIteratorType"] == "AT_TIMESTAMP":
            # Kinesis is told whole seconds by some versions of boto3.
            wanted = asked["Timestamp"].replace(microsecond=0)
            found = (r["ApproximateArrivalTimestamp"] >= wanted for r in records)
        else:
            wanted = int(asked["StartingSequenceNumber"])
            found = (int(r["SequenceNumber"]) > wanted for r in records)
        return {"ShardIterator": self._iterator(asked["ShardId"], found, len(records))}

    def _iterator(self, shard: str, found: Any, end: int) -> str:
        name = f"i{len(self.iterators)}"
        place = next((n for n, one in enumerate(found) if one), end)
        self.iterators[name] = (shard, place)
        return name

    def get_records(self, **asked: Any) -> Any:
        if self.throttled:
            raise error("ProvisionedThroughputExceededException")
        if self.chance.random() < 0.1:
            raise error("ExpiredIteratorException")
        shard, place = self.iterators[asked["ShardIterator"]]
        known = self.shards[shard]
        some = known["records"][place : place + self.chance.randint(0, 5)]
        place += len(some)
        behind = 0 if place >= len(known["records"]) else 1000
        answer = {"Records": some, "MillisBehindLatest": behind}
        if known["open"] or behind:
            name = f"i{len(self.iterators)}"
            self.iterators[name] = (shard, place)
            answer["NextShardIterator"] = name
        return answer


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetRecords")


def body(number: int) -> bytes:
    return b"broken" if number % 13 == 12 else json.dumps({"id": number}).encode()


@dataclass
class Reading:
    """A source whose window is landed."""

    rig: Rig
    kinesis: Kinesis

    def land(
        self, window: Window, run: str = "part", life: int = 10**9, looks: int = 10**9, **more: Any
    ) -> Any:
        rig = self.rig

        def source(storage: Storage, dying: Dying) -> PastSource:
            return PastSource(rig.config, dying(self.kinesis), storage, rig.clock, rig.loads())

        lane = more.get("lane", LANE)
        return land_window(rig, self.kinesis.chance, source, window, run, life, looks, lane)


@pytest.fixture
def reading(stream_rig: Callable[..., Rig]) -> Callable[..., Reading]:
    def make(seed: int = 0, **settings: Any) -> Reading:
        rig = stream_rig(**settings)
        rig.config = replace(
            rig.config, stream=replace(rig.config.stream, arn="arn:aws:kinesis:r:1:stream/clicks")
        )
        rig.clock.moment = BEGIN + timedelta(hours=12)
        return Reading(rig, Kinesis(rig.clock, random.Random(seed)))

    return make


def filled(kinesis: Kinesis, count: int = 120) -> list[datetime]:
    """Records, one a minute, over shards that are split and merged; their times by number."""
    times = []
    chance, open_shards = kinesis.chance, [0, 1]
    for number in open_shards:
        kinesis.shard(number)
    for number in range(count):
        if number == count // 3:
            kinesis.shard(2, 0)
            kinesis.shard(3, 0)
            open_shards = [1, 2, 3]
        if number == 2 * count // 3:
            kinesis.shard(4, 1, 2)
            open_shards = [3, 4]
        times.append(BEGIN + timedelta(minutes=number, milliseconds=chance.randint(0, 900)))
        kinesis.put(chance.choice(open_shards), times[-1], body(number))
    return times


def ids(rig: Rig, lane: str = LANE) -> list[int]:
    return [row["id"] for row in rig.records(lane)]


def test_twenty_rounds_of_death_land_each_record_of_windows_that_meet_once(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    kinesis, chance = found.kinesis, random.Random(0)
    kinesis.hours = 168
    times = [*filled(kinesis), BEGIN + timedelta(hours=3)]

    def arrives_late() -> None:
        kinesis.put(4, found.rig.clock.now(), body(10_000))

    deaths = 0
    for landed in land_rounds(found.land, found.rig, chance, times, 40, arrives_late):
        assert held(found.rig, landed) == wanted(landed)
        deaths += landed.deaths
    assert deaths > ROUNDS
    assert found.rig.table.get(source_pk(found.rig.config.id), CHECKPOINT) is None


def test_a_parents_records_come_before_its_childrens(reading: Callable[..., Reading]) -> None:
    found = reading(3)
    filled(found.kinesis)
    found.land(Window(BEGIN, BEGIN + timedelta(hours=3)))
    of = {
        json.loads(one["Data"])["id"]: shard
        for shard, known in found.kinesis.shards.items()
        for one in known["records"]
        if one["Data"] != b"broken"
    }
    order = [of[one] for one in ids(found.rig)]
    last_parent = max(n for n, shard in enumerate(order) if shard.endswith("0"))
    assert all(not shard.endswith(("2", "3")) for shard in order[:last_parent])


def test_a_late_time_of_arrival_neither_ends_the_next_window_nor_is_left_out(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    found.kinesis.shard(0)
    for number, minute in enumerate([0, 2, 1, 4, 3, 5]):
        found.kinesis.put(0, BEGIN + timedelta(minutes=minute), body(number))
    found.land(Window(BEGIN, BEGIN + timedelta(minutes=4)), "a", lane="clicks/a")
    found.land(
        Window(BEGIN + timedelta(minutes=4), BEGIN + timedelta(hours=1)), "b", lane="clicks/b"
    )
    assert (ids(found.rig, "clicks/a"), ids(found.rig, "clicks/b")) == ([0, 1, 2], [3, 4, 5])


def test_what_can_not_be_read_is_in_quarantine_with_its_place(
    reading: Callable[..., Reading],
) -> None:
    found = reading(metadata=True)
    found.kinesis.shard(0)
    for number in (11, 12):
        found.kinesis.put(0, BEGIN, body(number))
    found.land(Window(BEGIN, BEGIN + timedelta(minutes=1)))
    (row,) = found.rig.records(LANE)
    assert row["_stream"]["shard"] == "shardId-000000000000" and row["id"] == 11
    (bad,) = found.rig.quarantined()
    assert bad["reason"].startswith("shard shardId-000000000000 of the stream clicks, sequence")


def test_an_empty_window_lands_nothing_and_is_done(reading: Callable[..., Reading]) -> None:
    found = reading()
    found.kinesis.shard(0)
    landed = found.land(Window(BEGIN, BEGIN + timedelta(minutes=1)))
    assert (landed.rows, landed.complete) == (0, True)


def test_a_window_that_the_stream_has_dropped_is_refused_with_the_oldest_time(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    filled(found.kinesis)
    found.rig.clock.moment = BEGIN + timedelta(hours=30)
    with pytest.raises(NoLongerKept, match=r"oldest time .* is 2026-03-01T06:00:00"):
        found.land(Window(BEGIN, BEGIN + timedelta(hours=1)))
    found.kinesis.created = BEGIN + timedelta(hours=7)
    assert found.land(Window(BEGIN, BEGIN + timedelta(hours=20))).complete


def test_what_was_dropped_while_a_window_was_read_fails_it(
    reading: Callable[..., Reading],
) -> None:
    found = reading(1)
    filled(found.kinesis)
    window = Window(BEGIN, BEGIN + timedelta(hours=3))
    assert not found.land(window, looks=4).complete
    for shard in ("shardId-000000000000", "shardId-000000000001"):
        del found.kinesis.shards[shard]
    found.rig.clock.moment = BEGIN + timedelta(hours=25)
    with pytest.raises(NoLongerKept):
        found.land(window)


def test_a_window_in_the_future_and_a_throttled_stream_say_so(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    found.kinesis.shard(0)
    with pytest.raises(ConfigInvalid, match="future"):
        found.land(Window(BEGIN, BEGIN + timedelta(days=2)))
    found.kinesis.throttled = True
    with pytest.raises(SourceRateLimited, match="other readers"):
        found.land(Window(BEGIN, BEGIN + timedelta(hours=1)))


def test_a_real_stream_is_read_by_its_window(reading: Callable[..., Reading], aws: Any) -> None:
    found = reading()
    kinesis, name = aws("kinesis"), found.rig.config.raw_bucket
    kinesis.create_stream(StreamName=name, ShardCount=3)
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    for number in range(30):
        data = json.dumps({"id": number}).encode()
        kinesis.put_record(StreamName=name, Data=data, PartitionKey=str(number))
    now = datetime.now(UTC)
    found.rig.clock.moment = now + timedelta(minutes=1)
    found.rig.config = replace(found.rig.config, stream=replace(found.rig.config.stream, arn=arn))
    found.kinesis = kinesis
    kinesis.chance = random.Random(0)
    found.land(Window(now - timedelta(hours=1), now + timedelta(seconds=1)))
    assert sorted(ids(found.rig)) == list(range(30))


@given(
    parents=st.lists(st.lists(st.integers(0, 30), max_size=2), min_size=1, max_size=30),
    data=st.data(),
)
def test_every_shard_is_read_once_after_its_parents_and_few_places_are_kept(
    parents: list[list[int]], data: st.DataObject
) -> None:
    shards = [
        Shard(f"{number:03d}", tuple(f"{one:03d}" for one in of))
        for number, of in enumerate(parents)
    ]
    walk, done = Walk.of(shards, None), list[str]()
    while turn := walk.turn():
        assert len(turn) <= AT_ONCE and len(walk.at) <= AT_ONCE
        one = data.draw(st.sampled_from(turn))
        listed = {shard.id for shard in shards}
        assert all(p in done for p in one.parents if p in listed and p < one.id)
        walk.reach(one.id, Place("1", 0.0, done=True))
        done.append(one.id)
        if walk.left:
            later = Shard("999", (one.id,))
            walk = Walk.of([*reversed(shards), later], json.loads(json.dumps(walk.position)))
            missing = [shard for shard in shards if shard.id != walk.left[0].id]
            with pytest.raises(ShardsGone):
                Walk.of(missing, walk.position)
    assert sorted(done) == [shard.id for shard in shards]
