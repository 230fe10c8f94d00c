"""A topic that is deleted and made anew counts from 0 again: its records are no repeats of the old one's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from lambdas.streams.rig import Rig, kafka
from lambdas.streams.test_stream_killed import Killed, Mortal
from weir_lambdas.common.state import Table

BEFORE = datetime.fromisoformat("2026-03-01T08:00:00+00:00")
"""When the old topic's first record was written."""

AFTER = datetime.fromisoformat("2026-03-02T08:00:00+00:00")
"""The new one's."""


def written(first: int, last: int, since: datetime, name: str) -> dict[str, Any]:
    """An event with the records of a topic that was made at a moment, one a second."""
    records = [
        (n, json.dumps({"id": f"{name}{n}"}).encode() if n % 5 != 3 else None)
        for n in range(first, last + 1)
    ]
    event = kafka(records)
    for record in event["records"]["clicks-0"]:
        at = since + timedelta(seconds=record["offset"])
        record["timestamp"] = int(at.timestamp() * 1000)
    return event


def old(first: int, last: int) -> dict[str, Any]:
    return written(first, last, BEFORE, "old")


def new(first: int, last: int) -> dict[str, Any]:
    return written(first, last, AFTER, "new")


def names(name: str, first: int, last: int) -> list[str]:
    return [f"{name}{n}" for n in range(first, last + 1) if n % 5 != 3]


def take(rig: Rig, *events: Mapping[str, Any]) -> None:
    for event in events:
        assert rig.receive(event) == {"batchItemFailures": []}


def landed(rig: Rig) -> list[str]:
    rig.clock.sleep(1)
    assert rig.seal(f"run-{rig.clock.now():%s}").complete
    return [row["id"] for row in rig.records()]


@pytest.fixture
def rig(stream_rig: Callable[..., Rig]) -> Rig:
    return stream_rig("kafka")


def later(rig: Rig) -> None:
    """The new topic is there."""
    rig.clock.sleep((AFTER - rig.clock.now()).total_seconds() + 60)


@pytest.mark.parametrize("begins", [0, 4, 17])
def test_the_records_of_a_topic_that_was_made_anew_are_landed_once(
    begins: int, rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    take(rig, old(0, 9), old(10, 30))
    later(rig)
    take(rig, new(begins, begins + 2), new(begins, begins + 4), new(begins + 3, 40))
    take(rig, new(begins, 40), new(35, 45))
    assert landed(rig) == names("old", 0, 30) + names("new", begins, 45)
    assert capsys.readouterr().out.count("the topic was made anew") == 1


def test_a_topic_is_made_anew_again_and_again(rig: Rig) -> None:
    for number in range(4):
        take(rig, written(0, 9, BEFORE + timedelta(days=number), f"{number}:"))
        rig.clock.sleep(86_400)
    assert landed(rig) == [one for n in range(4) for one in names(f"{n}:", 0, 9)]


def test_offsets_below_the_sources_first_record_are_those_of_a_new_topic_if_they_are_newer(
    rig: Rig,
) -> None:
    take(rig, old(1_000, 1_009))
    take(rig, old(990, 1_009))
    later(rig)
    take(rig, new(0, 4), new(5, 12))
    assert landed(rig) == names("old", 1_000, 1_009) + names("new", 0, 12)


def test_a_consumer_group_that_begins_again_doubles_nothing(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    take(rig, old(0, 9), old(10, 19))
    rig.clock.sleep(40 * 86_400)
    take(rig, old(0, 4), old(5, 14), old(15, 22))
    assert landed(rig) == names("old", 0, 22)
    assert "made anew" not in capsys.readouterr().out


def test_a_log_that_lost_its_end_goes_on_where_it_lost_it(rig: Rig) -> None:
    take(rig, old(0, 9), old(10, 19))
    later(rig)
    event = old(5, 14)
    event["records"]["clicks-0"] += new(15, 22)["records"]["clicks-0"]
    take(rig, event)
    assert landed(rig) == names("old", 0, 19) + names("new", 15, 22)


def test_a_given_up_batch_of_the_new_topic_is_taken(rig: Rig) -> None:
    take(rig, old(0, 9))
    later(rig)
    rig.give_up(new(0, 4), "a", timestamp="2026-03-02T09:00:00.000Z")
    assert rig.look().batches == 1
    take(rig, new(5, 9), new(0, 9), new(10, 12))
    rig.give_up(new(10, 14), "b", timestamp="2026-03-02T09:00:00.000Z")
    take(rig, new(15, 16))
    assert rig.look().batches == 1
    assert sorted(landed(rig)) == sorted(names("old", 0, 9) + names("new", 0, 16))


def test_a_given_up_batch_of_the_old_topic_is_left_and_moves_nothing(rig: Rig) -> None:
    take(rig, old(0, 9))
    rig.give_up(old(10, 14), "a", timestamp="2026-03-01T09:00:00.000Z")
    take(rig, old(15, 19))
    later(rig)
    take(rig, new(0, 4))
    taken = rig.look()
    assert (taken.batches, taken.left, taken.error) == (0, 1, None)
    take(rig, new(5, 30))
    assert landed(rig) == names("old", 0, 9) + names("old", 15, 19) + names("new", 0, 30)


def test_a_given_up_batch_whose_records_tell_no_time_is_left_once_there_are_two_topics(
    rig: Rig,
) -> None:
    timeless = old(10, 14)
    for record in timeless["records"]["clicks-0"]:
        record["timestamp"] = -1
    take(rig, old(0, 9))
    rig.give_up(timeless, "a", timestamp="2026-03-01T09:00:00.000Z")
    later(rig)
    take(rig, new(0, 4))
    assert rig.look().left == 1
    take(rig, new(5, 12))
    assert landed(rig) == names("old", 0, 9) + names("new", 0, 12)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("calls", range(1, 10))
def test_a_death_at_any_call_doubles_and_loses_nothing(calls: int, after: bool, rig: Rig) -> None:
    take(rig, old(0, 9))
    later(rig)
    life = [calls]
    table = Table(Mortal(rig.table._db, life, after), rig.table.name)
    try:
        rig.receive(new(0, 4), Mortal(rig.s3, life, after), table)
    except Killed:
        pass
    take(rig, new(0, 2), new(1, 9))
    assert landed(rig) == names("old", 0, 9) + names("new", 0, 9)
