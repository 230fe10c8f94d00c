"""Quarantined records land again, each once: whoever asks, however often, whatever dies."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from lambdas.test_windows_killed import committed
from mortal import Killed, Mortal
from weir_contract.rest import RestApi
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.calls import Asked, asked
from weir_lambdas.landing.land import Lander, Landing
from weir_lambdas.landing.replay import quarantined

LANE = "orders/replay-pass-1"


def line(number: int, age: int, source: str = "shop/orders", **more: Any) -> bytes:
    row = {
        "run": "pass-1",
        "stage": "cast",
        "source": source,
        "sequence": age,
        "reason": "amount: does not fit integer",
        "record": json.dumps({"id": number}),
        "replayable": True,
    } | more
    return json.dumps(row).encode() + b"\n"


@pytest.fixture
def rig(aws: Any, source: Any, table: Any, new_bucket: Any) -> Callable[..., Landing]:
    """Lands the quarantine of ``pass-1``; ``rig.put`` writes an object of it."""
    config = source(RestApi("https://api.example.com"), quarantine_bucket=new_bucket())

    class Rig:
        def put(self, name: str, *lines: bytes, attempt: int = 2, run: str = "pass-1") -> None:
            key = f"shop/orders/run={run}/attempt={attempt}/stage=cast/{name}.json.gz"
            body = gzip.compress(b"".join(lines))
            aws("s3").put_object(Bucket=config.quarantine_bucket, Key=key, Body=body)

        def land(
            self, run: str, calls: int = 10_000, seconds: int = 10_000, after: bool = True
        ) -> Landing:
            life, left = {"left": calls}, iter([600.0] * seconds + [5.0] * 10_000)
            s3 = Mortal(aws("s3"), life, after)
            storage, call = Storage(s3), Asked(run, lane=LANE, replay="pass-1")
            found = quarantined(config, call, s3, storage)
            assert found is not None
            table_ = Table(Mortal(aws("dynamodb"), life, after), table.name)
            lander = Lander(
                config, found, table_, storage, SystemClock(), lambda: next(left), lane=LANE
            )
            return lander.land(run, None, None)

        def landed(self) -> list[tuple[int, int]]:
            return sorted(committed(aws, config, LANE))

    return Rig()  # type: ignore[return-value]


def test_records_land_as_old_as_they_are_and_a_second_replay_finds_none(rig: Any) -> None:
    rig.put("part-0", line(1, 7), line(2, 3), line(3, 7))
    rig.put("part-1", line(4, 3), line(5, 7, source="shop/countries"))
    rig.put("old", line(1, 7), line(9, 7), attempt=1)
    rig.put("other", line(8, 7), run="pass-10")
    first = rig.land("replay-a")
    assert (first.rows, first.complete) == (4, True)
    assert rig.landed() == [(1, 7), (2, 3), (3, 7), (4, 3)]
    second = rig.land("replay-b")
    assert (second.rows, second.sequence, second.complete) == (0, 1, True)
    assert len(rig.landed()) == 4


def test_what_a_stage_made_anew_stays_in_quarantine_and_is_counted(
    rig: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.put("part-0", line(1, 7), line(2, 7, replayable=False), line(3, 7, sequence=None))
    assert rig.land("replay-a").rows == 1
    assert rig.landed() == [(1, 7)]
    said = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["rows"] for one in said if one.get("message") == "can't be replayed"] == [2]


def test_a_run_without_quarantine_lands_nothing(rig: Any) -> None:
    assert rig.land("replay-a").rows == 0
    assert rig.landed() == []


@pytest.mark.parametrize("seed", range(6))
def test_each_record_lands_once_wherever_workers_die_and_whoever_asks(rig: Any, seed: int) -> None:
    chance = random.Random(seed)
    numbers = iter(range(1000))
    expected = []
    for name in range(6):
        rows = [(next(numbers), chance.choice([3, 4, 9])) for _ in range(7)]
        expected += rows
        rig.put(f"part-{name}", *(line(*row) for row in rows))
    turn = 0
    for _ in range(60):
        try:
            landing = rig.land(
                f"request-{turn}",
                chance.randint(1, 25),
                chance.randint(4, 12),
                chance.random() < 0.5,
            )
        except Killed:
            continue
        except Exception:  # noqa: BLE001  (the state machine would try again, whatever it was)
            turn += chance.random() < 0.3
            continue
        if landing.complete:
            turn += 1
    for again in (f"request-{turn}", "request-last"):
        while not rig.land(again).complete:
            continue
    assert rig.landed() == sorted(expected)


@pytest.mark.parametrize(
    "given",
    [
        {"lane": "orders/replay-x", "replay": "../other/run"},
        {"lane": "../x", "replay": "x"},
        {"lane": "orders/a/b", "window": {"from": "2026-01-01T00:00:00Z"}},
        {"replay": "x"},
        {"lane": "orders/a", "window": {"from": "2026-01-01T00:00:00Z"}},
        {
            "lane": "orders/a",
            "window": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        },
        {"lane": "orders/a", "window": {"from": "x", "to": "2026-01-01T00:00:00Z"}},
    ],
)
def test_a_lane_a_window_and_a_run_are_what_they_must_be(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid):
        asked({"run": "r", "input": given}, "test")
