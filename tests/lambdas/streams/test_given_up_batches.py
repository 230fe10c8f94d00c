"""Batches that Lambda gave up on are taken over: each record once, whatever was committed before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.streams.rig import MAPPING, Rig, kinesis
from weir_contract.state import MAPPINGS, source_pk
from weir_lambdas.common.errors import SourceUnavailable
from weir_lambdas.stream_processor.intake import Intake
from weir_lambdas.stream_processor.positions import Range, outside


def objects(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(n, json.dumps({"id": n}).encode()) for n in range(first, last + 1)]


def ids(rig: Rig) -> list[int]:
    rig.clock.sleep(1)
    rig.seal(f"run-{rig.clock.now():%s}")
    return sorted(row["id"] for row in rig.records())


def test_a_batch_that_the_position_has_passed_is_taken_once(stream: Rig) -> None:
    stream.receive(kinesis(objects(1, 3)))
    stream.give_up(kinesis(objects(4, 6)), "a")
    stream.receive(kinesis(objects(7, 9)))
    assert stream.look().batches == 1
    assert stream.look().batches == 0
    assert ids(stream) == list(range(1, 10))


def test_only_what_was_not_committed_is_taken_of_a_partly_processed_batch(stream: Rig) -> None:
    stream.receive(kinesis(objects(1, 3)))
    stream.receive(kinesis(objects(4, 5)))
    stream.give_up(kinesis(objects(2, 8)), "a")
    stream.receive(kinesis(objects(9, 9)))
    stream.give_up(kinesis(objects(5, 9)), "b")
    stream.look()
    assert ids(stream) == list(range(1, 10))


def test_a_batch_that_comes_again_after_it_was_taken_over_is_dropped(stream: Rig) -> None:
    stream.give_up(kinesis(objects(1, 3)), "a")
    stream.look()
    assert stream.receive(kinesis(objects(1, 5))) == {"batchItemFailures": []}
    assert ids(stream) == [1, 2, 3, 4, 5]


def test_a_batch_that_was_committed_after_all_is_not_taken(stream: Rig) -> None:
    stream.give_up(kinesis(objects(1, 3)), "a")
    stream.receive(kinesis(objects(1, 5)))
    stream.look()
    assert ids(stream) == [1, 2, 3, 4, 5]


def test_batches_of_an_earlier_mapping_are_found(stream: Rig) -> None:
    stream.table.put(source_pk(stream.config.id), MAPPINGS, {"ids": "old"})
    key = stream.give_up(kinesis(objects(1, 2)), "a")
    body = stream.s3.get_object(Bucket=stream.config.quarantine_bucket, Key=key)["Body"].read()
    old = key.replace(MAPPING, "old")
    stream.s3.put_object(Bucket=stream.config.quarantine_bucket, Key=old, Body=body)
    stream.look()
    assert ids(stream) == [1, 2]
    noted = stream.table.get(source_pk(stream.config.id), MAPPINGS)
    assert noted is not None and noted["ids"] == f"old,{MAPPING}"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"payload": "{"}, "Expecting"),
        ({"payload": {"Records": [{"sqs": 1}]}}, "is none of Kinesis"),
        ({"timestamp": "2025-12-01T00:00:00.000Z"}, "more than 60 days ago"),
    ],
)
def test_what_cannot_be_taken_is_left_and_told_once(
    more: dict[str, Any], why: str, stream: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.give_up(kinesis(objects(1, 2)), "a", **more)
    assert stream.look().left == 1
    assert why in capsys.readouterr().out
    assert stream.look().left == 0
    assert ids(stream) == []


def test_a_batch_over_which_the_function_dies_is_left_after_some_attempts(
    stream: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        """Out of memory, or out of time."""

    def die(*_given: Any) -> None:
        raise Died

    stream.give_up(kinesis(objects(1, 2)), "a")
    with monkeypatch.context() as deadly:
        deadly.setattr(Intake, "take_over", die)
        for _ in range(3):
            with pytest.raises(Died):
                stream.look()
    stream.give_up(kinesis(objects(3, 4)), "b")
    assert (stream.look().left, stream.look().left) == (1, 0)
    assert ids(stream) == [3, 4]


def test_a_batch_that_waits_for_its_registry_is_not_left(
    stream: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.give_up(kinesis(objects(1, 2)), "a")
    error = SourceUnavailable("the schema registry could not be reached")
    with monkeypatch.context() as away:
        away.setattr(Intake, "take_over", lambda *_given: (1, error))
        assert [stream.look().error for _ in range(5)] == [error] * 5
    assert stream.look().batches == 1
    assert ids(stream) == [1, 2]


def test_the_payload_may_be_an_object(stream: Rig) -> None:
    stream.give_up(kinesis(objects(1, 2)), "a", payload=kinesis(objects(1, 2)))
    stream.look()
    assert ids(stream) == [1, 2]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30), unique=True, min_size=2))
def test_stretches_hold_what_is_in_no_range(places: set[int], borders: list[int]) -> None:
    ends = sorted(borders)
    ranges = list(zip(ends[::2], ends[1::2], strict=False))
    found = outside(sorted(places), [Range(*one, committed=0.0, times=None) for one in ranges])
    inside = {n for first, last in ranges for n in range(first, last + 1)}
    covered = {n for first, last in found for n in places if first <= n <= last}
    assert covered == places - inside
    spans = [set(range(first, last + 1)) for first, last in found]
    assert not any(span & inside for span in spans)
    assert sum(map(len, spans)) == len(set().union(*spans))
