"""From what Lambda delivers of a stream to committed manifests."""

from __future__ import annotations

import json
from typing import Any

from lambdas.streams.rig import Rig, kinesis


def objects(first: int, last: int) -> list[tuple[int, bytes]]:
    """Records ``{"id": n}`` numbered from first to last."""
    return [(n, json.dumps({"id": n}).encode()) for n in range(first, last + 1)]


def ids(rig: Rig) -> list[int]:
    return [row["id"] for row in rig.records()]


def seal(rig: Rig, run: str, **more: Any) -> Any:
    rig.clock.sleep(1)
    return rig.seal(run, **more)


def test_received_records_are_sealed_into_one_manifest_in_their_order(stream: Rig) -> None:
    assert stream.receive(kinesis(objects(1, 5))) == {"batchItemFailures": []}
    assert stream.receive(kinesis(objects(6, 7))) == {"batchItemFailures": []}
    assert stream.manifests() == []
    landing = seal(stream, "r1")
    assert (landing.rows, landing.sequence, landing.complete) == (7, 1, True)
    assert ids(stream) == list(range(1, 8))
    (manifest,) = stream.manifests()
    assert manifest.inferred == {"id": "integer"} and len(manifest.parts) == 1
    assert seal(stream, "r2").rows == 0 and len(stream.manifests()) == 1


def test_what_comes_again_in_other_batches_is_dropped(stream: Rig) -> None:
    for first, last in ((1, 4), (1, 4), (2, 6), (5, 9), (1, 9)):
        assert stream.receive(kinesis(objects(first, last))) == {"batchItemFailures": []}
    seal(stream, "r1")
    assert ids(stream) == list(range(1, 10))


def test_shards_have_positions_of_their_own(stream: Rig) -> None:
    stream.receive(kinesis(objects(5, 6)))
    stream.receive(kinesis(objects(1, 2), shard="shardId-000000000001"))
    seal(stream, "r1")
    assert sorted(ids(stream)) == [1, 2, 5, 6]
