"""The worker dies at random places, 20 rounds: every record is in the committed manifests once.

In every other round no answer is held in memory: each is read from a file, piece by piece.
"""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest

from mortal import Killed, Mortal
from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_prefix
from weir_contract.rest import Incremental, Paginator, RequestLimits, RestApi
from weir_lambdas.api_ingestion import client as client_module
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing import pieces as pieces_module
from weir_lambdas.landing.land import Lander


def committed(aws: Any, config: Any) -> list[int]:
    """The ids of every record in the raw zone's committed manifests."""
    s3, found = aws("s3"), []
    listing = s3.list_objects_v2(Bucket=config.raw_bucket, Prefix=manifest_prefix(config.id))
    for item in listing.get("Contents", []):
        body = s3.get_object(Bucket=config.raw_bucket, Key=item["Key"])["Body"].read()
        for part in loads(Manifest, body).parts:
            packed = s3.get_object(Bucket=config.raw_bucket, Key=part.key)["Body"].read()
            lines = gzip.decompress(packed).splitlines()
            assert len(lines) == part.rows
            found += [json.loads(line)["id"] for line in lines]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_every_record_is_committed_once_wherever_the_worker_dies(
    seed: int, api: Any, aws: Any, source: Any, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    if seed % 2:
        monkeypatch.setattr(client_module, "MEMORY_BYTES", 1)
        monkeypatch.setattr(pieces_module, "WINDOW_BYTES", 50)
    rows = [{"id": n, "at": f"2026-01-01T00:{n:02}:00Z"} for n in range(30)]

    def answer(call: Any, http: Any) -> Any:
        if chance.random() < 0.05:
            return chance.choice([(403, {}, b""), (503, {"Retry-After": "0"}, b"")])
        start = (int(call.query["page"]) - 1) * 4
        since = call.query.get("since", "")
        known = [row for row in rows if str(row["at"]) >= since]
        body = {"data": known[start : start + 4], "pages": -(-len(known) // 4)}
        return 200, {}, json.dumps(body).encode()

    api.answer = answer
    config = source(
        RestApi(
            api.url,
            paginator=Paginator("pageNumber", total_path="pages"),
            incremental=Incremental("at", "since"),
            limits=RequestLimits(concurrency=chance.choice([1, 6])),
        )
    )
    clock = SystemClock()

    def call(run: str, calls: int, seconds: int) -> bool:
        """One call of the function; whether its run is complete."""
        life, after = {"left": calls}, chance.random() < 0.5
        left = iter([600.0] * seconds + [5.0] * 10_000)
        lander = Lander(
            config,
            RestSource(config, Secrets(aws("secretsmanager"), {}, clock), clock),
            Table(Mortal(aws("dynamodb"), life, after), table.name),
            Storage(Mortal(aws("s3"), life, after)),
            clock,
            lambda: next(left),
            part_bytes=chance.choice([1, 10_000]),
        )
        try:
            return lander.land(run, None, None).complete
        except Killed:
            return False
        except Exception:  # noqa: BLE001  (the state machine would try again, whatever it was)
            return False

    for run in ("run-1", "run-2"):
        for _ in range(60):
            if call(run, chance.randint(1, 25), chance.randint(30, 90)):
                break
        else:
            assert call(run, 10_000, 10_000)
        if chance.random() < 0.5:
            assert call(run, 10_000, 10_000)
        if run == "run-1":
            rows += [{"id": n, "at": f"2026-01-01T00:{n:02}:00Z"} for n in range(30, 41)]
            rows.append({"id": 41, "at": "2026-01-01T00:29:00Z"})
    assert sorted(committed(aws, config)) == list(range(42))
