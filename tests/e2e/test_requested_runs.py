"""Runs on request, and objects that are suspended, paused, or deleted while they run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from e2e import declared
from e2e.running import (
    RUN_SECONDS,
    Object,
    Running,
    condition,
    is_finished,
    is_ready,
    is_true,
    last_run,
    until,
)
from e2e.source_server import Answer, SourceServer

pytestmark = pytest.mark.e2e


@pytest.fixture
def quiet(running: Running, server: SourceServer) -> Iterator[Object]:
    """A suspended source, converged; gone at the end."""
    endpoint = server.rows("/quiet", [{"id": 1, "name": "a"}])
    running.apply(declared.source("quiet", endpoint, suspend=True))
    yield running.wait("dsrc", "quiet", is_ready)
    running.kubectl("delete", "dsrc", "quiet", "--timeout=180s")


def test_a_request_that_comes_back_does_not_run_again(
    running: Running, server: SourceServer, orders: Object
) -> None:
    request = declared.requested("once", "orders", now={})
    running.apply(request)
    done = running.wait("prun", "once", is_finished, RUN_SECONDS)
    assert is_true(done, "Ready")
    asked = server.asked["/orders"]
    before = last_run(running.get("pipe", "orders"))["run"]
    running.kubectl("delete", "prun", "once")
    running.apply(request)
    again = running.wait("prun", "once", lambda obj: is_true(obj, "Ready"))
    assert condition(again, "Ready")["reason"] == "AlreadyRan"
    assert server.asked["/orders"] == asked
    assert last_run(running.get("pipe", "orders"))["run"] == before


def test_query_prints_a_list_of_objects(running: Running, orders: Object) -> None:
    done = running.weir("query", "select 1 as one, 'x' as letter", "--output", "json")
    assert json.loads(done.stdout) == [{"one": 1, "letter": "x"}]


def test_a_suspended_source_is_not_asked(
    running: Running, server: SourceServer, quiet: Object
) -> None:
    assert is_true(quiet, "Suspended")
    assert condition(quiet, "Flowing")["reason"] == "Suspended"
    name = running.resource("dsrc", "quiet", "schedule")["name"]
    assert running.aws("scheduler").get_schedule(Name=name)["State"] == "DISABLED"
    assert "/quiet" not in server.asked
    running.patch("dsrc", "quiet", {"spec": {"suspend": False}})
    running.wait_run("dsrc", "quiet")
    assert server.asked["/quiet"] == 1
    assert running.aws("scheduler").get_schedule(Name=name)["State"] == "ENABLED"


def test_a_paused_source_is_left_alone_until_it_is_not(running: Running, quiet: Object) -> None:
    alarm = running.resource("dsrc", "quiet", "alarm-failed")["name"]
    alarms = running.aws("cloudwatch")

    def there() -> bool:
        return bool(alarms.describe_alarms(AlarmNames=[alarm])["MetricAlarms"])

    running.kubectl("annotate", "dsrc", "quiet", "weir.dev/paused=true")
    running.wait(
        "dsrc", "quiet", lambda obj: "paused" in condition(obj, "Suspended").get("message", "")
    )
    alarms.delete_alarms(AlarmNames=[alarm])
    running.look_again("dsrc", "quiet")
    assert not there()
    running.kubectl("annotate", "dsrc", "quiet", "weir.dev/paused-")
    running.look_again("dsrc", "quiet")
    until(there, "the alarm is not put back once the pause is over")


def test_a_deletion_waits_for_the_run_that_is_under_way(
    running: Running, server: SourceServer
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(query: object, headers: object) -> Answer:
        asked.set()
        go_on.wait(60)
        return Answer.rows([{"id": 1, "name": "a"}])

    running.apply(declared.source("draining", server.serve("/draining", slow)))
    try:
        assert asked.wait(60), "the source was never asked"
        machine = running.resource("dsrc", "draining", "machine")["arn"]
        running.kubectl("delete", "dsrc", "draining", "--wait=false")
        obj = running.wait(
            "dsrc", "draining", lambda one: condition(one, "Ready").get("reason") == "Draining"
        )
        assert "1 running execution" in condition(obj, "Ready")["message"]
        steps = running.aws("stepfunctions")
        assert steps.describe_state_machine(stateMachineArn=machine)["status"] == "ACTIVE"
    finally:
        go_on.set()
    running.wait_gone("dsrc", "draining")
    assert running.keys("raw", "default/draining/_manifests/"), "what was landed is lost"
