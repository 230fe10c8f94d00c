"""A window of the past, and quarantined rows: from ``kubectl apply`` to rows in the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from e2e.declared import requested
from e2e.first import Started
from e2e.running import (
    RUN_SECONDS,
    Object,
    Running,
    condition,
    is_finished,
    is_ready,
    is_true,
    last_run,
)

pytestmark = pytest.mark.e2e


def ended(running: Running, name: str) -> Object:
    found: Object = running.wait("prun", name, is_finished, RUN_SECONDS)
    return found


@pytest.fixture
def history(running: Running, started: Started) -> Iterator[list[Mapping[str, str]]]:
    """A source that is asked from February on, and its Pipeline; what it was asked for."""
    running.wait_run("pipe", "history")
    yield started.history
    running.kubectl("delete", "dsrc", "history", "--timeout=180s")


@pytest.fixture
def mended(running: Running, started: Started) -> Iterator[Object]:
    """The Pipeline of a source two of whose rows broke its rule."""
    yield running.wait_run("pipe", "mended")
    running.kubectl("delete", "dsrc", "mended", "--timeout=180s")


def test_a_backfill_brings_a_window_by_days_of_its_zone_and_moves_nothing_of_the_sources_own(
    running: Running, history: list[Mapping[str, str]]
) -> None:
    sql = "select id, name from public_data.history order by id"
    assert running.query(sql) == [{"id": 4, "name": "new"}]
    live = last_run(running.get("dsrc", "history"))["run"]
    before = len(history)
    window = {"from": "2026-01-01", "to": "2026-01-04", "timezone": "Europe/Berlin"}
    running.apply(requested("january", "history", backfill={**window, "concurrency": 2}))
    done = ended(running, "january")
    assert is_true(done, "Ready"), condition(done, "Ready")
    progress = done["status"]["progress"]
    assert (progress["parts"], progress["landed"], progress["rows"]) == (3, 3, 4)
    assert not progress["failed"] and not progress["underWay"]
    # Old never overwrites new, and what comes at the window's end belongs to what follows.
    assert running.query(sql) == [
        {"id": 1, "name": "a"},
        {"id": 2, "name": "b"},
        {"id": 3, "name": "c"},
        {"id": 4, "name": "new"},
    ]
    assert sorted(query["since"] for query in history[before:]) == [
        "2025-12-31T23:00:00Z",
        "2026-01-01T23:00:00Z",
        "2026-01-02T23:00:00Z",
    ]
    obj = running.get("dsrc", "history")
    assert last_run(obj)["run"] == live and is_true(obj, "Flowing")
    running.run("history")
    assert history[-1]["since"] == "2026-02-02T12:00:00Z"


def test_a_replay_takes_quarantined_rows_through_the_present_contract_each_once(
    running: Running, mended: Object
) -> None:
    first = last_run(mended)
    assert (first["rows"], first["quarantined"]) == (1, 2)
    running.patch("dsrc", "mended", {"spec": {"schema": {"rules": ['ColumnValues "id" < 100']}}})
    running.wait("dsrc", "mended", is_ready)
    running.look_again("pipe", "mended")
    running.wait("pipe", "mended", is_ready)
    running.apply(requested("mend", "mended", replay={"runs": [first["run"]]}))
    done = ended(running, "mend")
    assert is_true(done, "Ready"), condition(done, "Ready")
    assert done["status"]["progress"]["rows"] == 2
    assert (last_run(done)["rows"], last_run(done)["quarantined"]) == (1, 1)
    sql = "select id, name from public_data.mended order by id"
    assert running.query(sql) == [{"id": 1, "name": "a"}, {"id": 20, "name": "b"}]
    running.apply(requested("mend-again", "mended", replay={"runs": [first["run"]]}))
    again = ended(running, "mend-again")
    assert is_true(again, "Ready")
    assert again["status"]["progress"]["rows"] == 0
    # What broke the contract again is the later run's to replay.
    running.patch("dsrc", "mended", {"spec": {"schema": {"rules": None}}})
    running.wait("dsrc", "mended", is_ready)
    running.look_again("pipe", "mended")
    running.wait("pipe", "mended", is_ready)
    running.apply(requested("mend-rest", "mended", replay={"runs": [last_run(done)["run"]]}))
    assert is_true(ended(running, "mend-rest"), "Ready")
    assert running.query("select count(*) as n from public_data.mended") == [{"n": 3}]
