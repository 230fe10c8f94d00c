"""Workers die at random places while Lambda repeats, cuts and gives up: every record once, 20 rounds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lambdas.streams.rig import BASE, Rig, kafka, kinesis
from weir_contract.state import CHECKPOINT, source_pk
from weir_lambdas.common.state import Table, Update


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """An AWS client that dies before or after its n-th call, and is dead from there on."""

    def __init__(self, client: Any, life: list[int], after: bool) -> None:
        self._client, self._life, self._after = client, life, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def tried(**options: Any) -> Any:
            self._life[0] -= 1
            if self._life[0] < 0 or (self._life[0] == 0 and not self._after):
                raise Killed
            answer = call(**options)
            if self._life[0] == 0:
                raise Killed
            return answer

        return tried


@dataclass
class Poller:
    """What Lambda does with one shard or partition (Lambda Developer Guide, *Kinesis: error handling*).

    Records are delivered in order. A failed batch is cut in two or comes again, with other borders
    after a restart; after some failures it goes to the quarantine bucket whole, and the next follows.
    """

    rig: Rig
    kind: str
    shard: str
    size: int
    chance: random.Random
    place: int = 0
    failed: int = 0
    upto: int | None = None
    given_up: int = field(default=0)

    def event(self, first: int, last: int) -> Any:
        records = [
            (n, b"broken" if n % 17 == 0 else json.dumps({"id": f"{self.shard}/{n}"}).encode())
            for n in range(first, last)
        ]
        if self.kind == "kafka":
            return kafka(records, partition=int(self.shard[-1]))
        return kinesis(records, self.shard)

    def numbered(self, failure: Any) -> int:
        told = failure["itemIdentifier"]
        return int(told["offset"]) if isinstance(told, dict) else int(told) - BASE

    def step(self, healthy: bool = False) -> None:
        chance = self.chance
        if chance.random() < 0.1:
            # Another poller takes the shard over, from an older checkpoint.
            self.place, self.upto = max(0, self.place - chance.randint(0, 6)), None
        last = self.upto or min(self.size, self.place + chance.randint(1, 9))
        if self.place >= last:
            return
        event, answer = self.event(self.place, last), None
        life = [10_000 if healthy else chance.randint(1, 8)]
        after = chance.random() < 0.5
        s3 = Mortal(self.rig.s3, life, after)
        db = Mortal(self.rig.table._db, life, after)
        try:
            answer = self.rig.receive(event, s3, Table(db, self.rig.table.name))
        except Killed:
            answer = None
        lost = not healthy and chance.random() < 0.15
        if answer is not None and not lost:
            failures = [self.numbered(one) for one in answer["batchItemFailures"]]
            if not failures:
                self.place, self.failed, self.upto = last, 0, None
                return
            self.place = min(failures)
        self.failed += 1
        if self.failed >= 3:
            name = f"{self.shard}-{self.given_up}"
            self.given_up += 1
            self.rig.give_up(self.event(self.place, last), name)
            if chance.random() < 0.8:
                self.place, self.failed, self.upto = last, 0, None
            return
        if last - self.place > 1 and chance.random() < 0.7:
            self.upto = self.place + (last - self.place) // 2
        else:
            self.upto = last if chance.random() < 0.5 else None


@pytest.mark.parametrize("seed", range(20))
def test_every_record_is_committed_once_wherever_workers_die(
    seed: int, stream_rig: Callable[..., Rig]
) -> None:
    chance = random.Random(seed)
    kind = "kafka" if seed % 2 else "kinesis"
    stream = stream_rig(kind)
    stream.object_bytes = chance.choice([150, 10_000_000])
    parent = Poller(stream, kind, "shardId-000000000000", 24, chance)
    pollers = [parent]
    runs = 0

    def seal(calls: int) -> None:
        nonlocal runs
        life, after = [calls], chance.random() < 0.5
        s3 = Mortal(stream.s3, life, after)
        table = Table(Mortal(stream.table._db, life, after), stream.table.name)
        try:
            if chance.random() < 0.7:
                stream.look(s3, table)
            if stream.seal(f"run-{runs}", s3, table, part_bytes=chance.choice([1, 300])).complete:
                runs += 1
        except Killed:
            stream.table.update(
                source_pk(stream.config.id),
                CHECKPOINT,
                Update("SET lease_until = :zero", {"zero": 0}, "attribute_exists(pk)"),
            )

    for _ in range(11):
        stream.clock.pass_time(0.7)
        for poller in list(pollers):
            poller.step()
        if chance.random() < 0.4:
            seal(chance.randint(1, 40))
        if parent.place >= parent.size and len(pollers) == 1:
            # The shard was split (the topic got partitions): the new ones begin once it is read.
            pollers += [Poller(stream, kind, f"shardId-00000000000{n}", 8, chance) for n in (1, 2)]
    while any(poller.place < poller.size for poller in pollers):
        for poller in pollers:
            poller.step(healthy=True)
    assert stream.look().error is None
    stream.clock.pass_time(1)
    while not stream.seal("last").complete:
        stream.clock.pass_time(1)
    expected = {f"{poller.shard}/{n}" for poller in pollers for n in range(poller.size) if n % 17}
    landed = [row["id"] for row in stream.records()]
    assert len(landed) == len(set(landed)) and set(landed) == expected
    rejected = sum(n % 17 == 0 for poller in pollers for n in range(poller.size))
    assert sum(one.quarantined for one in stream.manifests()) == rejected
    assert list(stream.positions.waiting("9999")) == []
