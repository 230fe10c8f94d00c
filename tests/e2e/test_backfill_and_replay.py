"""A window of the past, and quarantined rows: from ``kubectl apply`` to rows in the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e import declared
from e2e.running import RUN_SECONDS, Object, Running, condition, is_ready, is_true, last_run
from e2e.source_server import Answer, SourceServer

pytestmark = pytest.mark.e2e

EVENTS: list[Object] = [
    {"id": 1, "name": "a", "changed": "2026-01-01T08:00:00Z"},
    {"id": 2, "name": "b", "changed": "2026-01-01T23:30:00Z"},
    {"id": 3, "name": "c", "changed": "2026-01-02T22:59:59Z"},
    {"id": 4, "name": "old", "changed": "2026-01-02T12:00:00Z"},
    {"id": 4, "name": "new", "changed": "2026-02-02T12:00:00Z"},
    {"id": 5, "name": "later", "changed": "2026-01-03T23:00:00Z"},
]
FIELDS = [
    {"name": "id", "type": "integer"},
    {"name": "name", "type": "string", "maxLength": 16},
    {"name": "changed", "type": "timestamptz"},
]


def request(name: str, pipeline: str, **spec: Any) -> Object:
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"pipeline": pipeline, **spec},
    }


def ended(running: Running, name: str) -> Object:
    found: Object = running.wait(
        "prun", name, lambda obj: bool((obj or {}).get("status", {}).get("finished")), RUN_SECONDS
    )
    return found


@pytest.fixture
def history(running: Running, server: SourceServer) -> Iterator[list[Mapping[str, str]]]:
    """A source that is asked from February on, and its Pipeline; what it was asked for."""
    asked: list[Mapping[str, str]] = []

    def answer(query: Mapping[str, str], headers: object) -> Answer:
        asked.append(dict(query))
        since, until = query["since"], query.get("until", "9")
        # The end is included, as with many an API.
        return Answer.rows([row for row in EVENTS if since <= str(row["changed"]) <= until])

    body = declared.loaded(
        "history",
        server.serve("/history", answer),
        rest={
            "incremental": {
                "cursorPath": "changed",
                "startParam": "since",
                "endParam": "until",
                "initialValue": "2026-02-01T00:00:00Z",
            }
        },
        schema={"type": "json", "fields": FIELDS, "keys": ["id"]},
    )
    body["spec"]["redshift"]["orderBy"] = "changed"
    running.apply(body)
    running.wait_run("pipe", "history")
    yield asked
    running.kubectl("delete", "dsrc", "history", "--timeout=180s")


def test_a_backfill_brings_a_window_by_days_of_its_zone_and_moves_nothing_of_the_sources_own(
    running: Running, history: list[Mapping[str, str]]
) -> None:
    sql = "select id, name from public_data.history order by id"
    assert running.query(sql) == [{"id": 4, "name": "new"}]
    live = last_run(running.get("dsrc", "history"))["run"]
    before = len(history)
    window = {"from": "2026-01-01", "to": "2026-01-04", "timezone": "Europe/Berlin"}
    running.apply(request("january", "history", backfill={**window, "concurrency": 2}))
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
    running: Running, server: SourceServer
) -> None:
    rows = [{"id": 1, "name": "a"}, {"id": 20, "name": "b"}, {"id": 300, "name": "c"}]
    rules = ['ColumnValues "id" < 10']
    schema = {"type": "json", "fields": FIELDS[:2], "keys": ["id"], "rules": rules}
    body = declared.loaded("mended", server.rows("/mended", rows), schema=schema)
    running.apply(body)
    first = last_run(running.wait_run("pipe", "mended"))
    assert (first["rows"], first["quarantined"]) == (1, 2)
    schema["rules"] = ['ColumnValues "id" < 100']
    running.apply(body)
    running.wait("dsrc", "mended", is_ready)
    running.look_again("pipe", "mended")
    running.wait("pipe", "mended", is_ready)
    running.apply(request("mend", "mended", replay={"runs": [first["run"]]}))
    done = ended(running, "mend")
    assert is_true(done, "Ready"), condition(done, "Ready")
    assert done["status"]["progress"]["rows"] == 2
    assert (last_run(done)["rows"], last_run(done)["quarantined"]) == (1, 1)
    sql = "select id, name from public_data.mended order by id"
    assert running.query(sql) == [{"id": 1, "name": "a"}, {"id": 20, "name": "b"}]
    running.apply(request("mend-again", "mended", replay={"runs": [first["run"]]}))
    again = ended(running, "mend-again")
    assert is_true(again, "Ready")
    assert again["status"]["progress"]["rows"] == 0
    # What broke the contract again is the later run's to replay.
    schema.pop("rules")
    running.apply(body)
    running.wait("dsrc", "mended", is_ready)
    running.look_again("pipe", "mended")
    running.wait("pipe", "mended", is_ready)
    running.apply(request("mend-rest", "mended", replay={"runs": [last_run(done)["run"]]}))
    assert is_true(ended(running, "mend-rest"), "Ready")
    assert running.query("select count(*) as n from public_data.mended") == [{"n": 3}]
    running.kubectl("delete", "dsrc", "mended", "--timeout=180s")
