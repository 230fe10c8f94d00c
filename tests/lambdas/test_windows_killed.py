"""Parts of a backfill beside live landings: each record once, whatever dies; the live cursor stays."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mortal import Killed, Mortal
from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_prefix
from weir_contract.rest import Incremental, Paginator, RequestLimits, RestApi
from weir_contract.runs import RunRecord
from weir_contract.state import BODY, CHECKPOINT, run_sk, source_pk, subscriber_sk
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Window
from weir_lambdas.landing.land import Lander
from weir_lambdas.trigger.flight import Flights
from weir_lambdas.trigger.sweep import sweep

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def committed(aws: Any, config: Any, lane: str | None = None) -> list[tuple[int, int]]:
    """Id of each committed record of a lane, with the landing that it counts as old as."""
    s3, found = aws("s3"), []
    listing = s3.list_objects_v2(Bucket=config.raw_bucket, Prefix=manifest_prefix(config.id, lane))
    for item in listing.get("Contents", []):
        body = s3.get_object(Bucket=config.raw_bucket, Key=item["Key"])["Body"].read()
        manifest = loads(Manifest, body)
        assert manifest.key == item["Key"] and manifest.lane == lane
        for part in manifest.parts:
            packed = s3.get_object(Bucket=config.raw_bucket, Key=part.key)["Body"].read()
            age = manifest.sequence if part.sequence is None else part.sequence
            found += [
                (json.loads(line)["id"], age) for line in gzip.decompress(packed).splitlines()
            ]
    return found


class Rig:
    """A source whose records have a moment each minute, and its landings."""

    def __init__(self, api: Any, aws: Any, source: Any, table: Any, chance: random.Random) -> None:
        self.aws, self.table, self.chance = aws, table, chance
        self.rows = [{"id": n, "at": moment(BEGIN + n * HOUR / 10)} for n in range(60)]
        self.faulty = 0.0
        api.answer = self.answer
        self.config = source(
            RestApi(
                api.url,
                paginator=Paginator("pageNumber", total_path="pages"),
                incremental=Incremental("at", "since", "until", initial_value=moment(BEGIN + HOUR)),
                limits=RequestLimits(concurrency=chance.choice([1, 6])),
            )
        )

    def answer(self, call: Any, http: Any) -> Any:
        if self.chance.random() < self.faulty:
            return self.chance.choice([(403, {}, b""), (503, {"Retry-After": "0"}, b"")])
        start = (int(call.query["page"]) - 1) * 4
        since, until = call.query.get("since", ""), call.query.get("until", "9")
        # The end is included, as of many an API: a part must leave it to the next.
        known = [row for row in self.rows if since <= str(row["at"]) <= until]
        body = {"data": known[start : start + 4], "pages": -(-len(known) // 4)}
        return 200, {}, json.dumps(body).encode()

    def lander(self, calls: int = 10_000, seconds: int = 10_000, **more: Any) -> Lander:
        life, after = {"left": calls}, self.chance.random() < 0.5
        left, clock = iter([600.0] * seconds + [5.0] * 10_000), SystemClock()
        return Lander(
            self.config,
            RestSource(self.config, Secrets(self.aws("secretsmanager"), {}, clock), clock),
            Table(Mortal(self.aws("dynamodb"), life, after), self.table.name),
            Storage(Mortal(self.aws("s3"), life, after)),
            clock,
            lambda: next(left),
            part_bytes=self.chance.choice([1, 10_000]),
            **more,
        )

    def call(self, run: str, calls: int, seconds: int, **more: Any) -> bool:
        """One call of the function; whether its run is complete."""
        try:
            return self.lander(calls, seconds, **more).land(run, None, None).complete
        except Killed:
            return False
        except Exception:  # noqa: BLE001  (the state machine would try again, whatever it was)
            return False

    def part(self, number: int) -> dict[str, Any]:
        start = BEGIN + number * 2 * HOUR
        return {"lane": f"orders/asked-{number}", "window": Window(start, start + 2 * HOUR)}


@pytest.mark.parametrize("seed", range(8))
def test_each_record_of_a_window_lands_once_wherever_workers_die_and_the_live_cursor_stays(
    seed: int, api: Any, aws: Any, source: Any, table: Any
) -> None:
    chance = random.Random(seed)
    rig = Rig(api, aws, source, table, chance)
    rig.lander().land("live-1", None, None)
    checkpoint = table.get(source_pk(rig.config.id), CHECKPOINT)
    assert checkpoint["sequence"] == 1
    rig.faulty = 0.05
    live, turn = 0, 0
    for number in range(3):
        for _ in range(60):
            if chance.random() < 0.2:
                rig.rows.append({"id": 1000 + live, "at": moment(BEGIN + (100 + live) * HOUR)})
                live += 1
                turn += rig.call(f"live-2-{turn}", chance.randint(1, 30), 90)
            done = rig.call(
                f"part-{number}", chance.randint(1, 25), chance.randint(30, 90), **rig.part(number)
            )
            if done:
                break
        else:
            rig.faulty = 0
            assert rig.call(f"part-{number}", 10_000, 10_000, **rig.part(number))
    rig.faulty = 0
    for run in (f"live-2-{turn}", "live-3"):
        rig.lander().land(run, None, None)
    for number in range(3):
        found = committed(aws, rig.config, f"orders/asked-{number}")
        assert sorted(row for row, _ in found) == list(range(20 * number, 20 * number + 20))
        assert {age for _, age in found} <= set(range(1, 70))
    # initialValue is the first hour's end: what came before is in the window's part alone.
    own = sorted(row for row, _ in committed(aws, rig.config))
    assert own == [*range(10, 60), *range(1000, 1000 + live)]
    cursor = table.get(source_pk(rig.config.id), CHECKPOINT)["cursor"]
    assert cursor == max(str(row["at"]) for row in rig.rows)


def test_a_window_lands_beside_the_source_and_moves_nothing_of_its_own(
    api: Any, aws: Any, source: Any, table: Any
) -> None:
    rig = Rig(api, aws, source, table, random.Random(1))
    rig.lander().land("live-1", None, None)
    before = table.get(source_pk(rig.config.id), CHECKPOINT)
    landed = rig.lander(**rig.part(0)).land("part-0", None, None, ("shop/january",))
    assert (landed.sequence, landed.rows, landed.complete) == (1, 20, True)
    assert table.get(source_pk(rig.config.id), CHECKPOINT) == before
    item = table.get(source_pk(rig.config.id), run_sk("part-0"))
    record = loads(RunRecord, item[BODY])
    assert record.lane == "orders/asked-0" and record.requested_by == ("shop/january",)
    assert record.manifests == (f"{rig.config.id}@orders/asked-0#1",)
    again = rig.lander(**rig.part(0)).land("part-0", None, None)
    assert again.sequence == 1
    assert {age for _, age in committed(aws, rig.config, "orders/asked-0")} == {1}


def test_the_sweep_finds_a_lanes_manifest_for_its_pipeline_alone(
    api: Any, aws: Any, source: Any, table: Any, storage: Storage
) -> None:
    rig = Rig(api, aws, source, table, random.Random(2))
    pk = source_pk(rig.config.id)
    namespace = rig.config.namespace
    for name in ("orders", "other"):
        target = {"stateMachineArn": "arn:aws:states:us-east-1:0:stateMachine:x"}
        table.put(pk, subscriber_sk(f"{namespace}/{name}"), target)
    rig.lander(**rig.part(1)).land("part-1", None, None)
    started: list[str] = []

    class Never:
        def running(self, arn: str) -> bool | None:
            return None

        def start(self, machine_arn: str, name: str, payload: Any) -> None:
            raise AssertionError("not asked for")

    flights = Flights(table, Never(), SystemClock(), lambda: "x")

    def look() -> int:
        return sweep(
            table,
            storage,
            flights,
            rig.config.raw_bucket,
            lambda pipeline, _: started.append(pipeline),
        )

    assert look() == 1
    assert started == [f"{namespace}/orders"]
    waiting = [item["sk"] for item in table.query(f"PIPELINE#{namespace}/orders", "PENDING#")]
    assert waiting == [f"PENDING#{rig.config.id}@orders/asked-1#000000000001"]
    assert not list(table.query(f"PIPELINE#{namespace}/other", "PENDING#"))
    assert look() == 0


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("date", ["2026-01-02"]),
        ("%Y%m%d", ["20260102"]),
        ("epochSeconds", ["1767308400", "1767394799"]),
    ],
)
def test_a_format_that_is_coarser_than_the_window_loses_nothing_at_its_end(
    written: str, kept: list[str], api: Any, aws: Any, source: Any, table: Any
) -> None:
    asked: list[dict[str, str]] = []
    days = {
        "date": ["2026-01-01", "2026-01-02", "2026-01-03"],
        "%Y%m%d": ["20260101", "20260102", "20260103"],
        "epochSeconds": ["1767308399", "1767308400", "1767394799", "1767394800"],
    }[written]

    def answer(call: Any, http: Any) -> Any:
        asked.append(call.query)
        return 200, {}, json.dumps([{"id": day, "day": day} for day in days]).encode()

    api.answer = answer
    config = source(RestApi(api.url, incremental=Incremental("day", "a", "b", format=written)))
    clock = SystemClock()
    # A day of Berlin, less than which a date in UTC does not tell.
    window = Window(
        datetime.fromisoformat("2026-01-02T00:00:00+01:00"),
        datetime.fromisoformat("2026-01-03T00:00:00+01:00"),
    )
    lander = Lander(
        config,
        RestSource(config, Secrets(aws("secretsmanager"), {}, clock), clock),
        Table(aws("dynamodb"), table.name),
        Storage(aws("s3")),
        clock,
        lambda: 600.0,
        lane="orders/x-0",
        window=window,
    )
    lander.land("part", None, None)
    assert [row for row, _ in committed(aws, config, "orders/x-0")] == kept
    assert asked[0]["a"] <= kept[0] and asked[0]["b"] > kept[-1]
