"""A source that answers 500 is tried again for a while; then the object says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e import declared
from e2e.running import Object, Running, condition
from e2e.source_server import Answer, SourceServer

pytestmark = pytest.mark.e2e


def test_an_endpoint_that_keeps_failing_is_tried_again_and_told(
    running: Running, server: SourceServer, unavailable: str
) -> None:
    obj = running.wait_run("dsrc", unavailable, state="Failed")
    flowing = condition(obj, "Flowing")
    assert (flowing["status"], flowing["reason"]) == ("False", "RunFailed")
    assert "SourceUnavailable" in flowing["message"] and "500" in flowing["message"]
    assert server.asked[f"/{unavailable}"] > 1, "it was not tried again"
    assert running.keys("raw", f"default/{unavailable}/_manifests/") == []


def test_what_is_tried_again_is_told_meanwhile_and_over_once_the_source_answers(
    running: Running, server: SourceServer
) -> None:
    endpoint = server.serve("/recovers", Answer(500, b"{}"))
    running.apply(declared.source("recovers", endpoint, rest={"limits": {"maxAttempts": 1}}))

    def has(reason: str) -> Callable[[Object | None], bool]:
        return lambda obj: obj is not None and condition(obj, "Flowing").get("reason") == reason

    try:
        told = condition(running.wait("dsrc", "recovers", has("Retrying")), "Flowing")
        assert told["status"] == "False"
        assert "SourceUnavailable" in told["message"] and "500" in told["message"]
        server.serve("/recovers", Answer.rows([{"id": 1}]))
        running.wait("dsrc", "recovers", has("RunSucceeded"))
    finally:
        running.kubectl("delete", "dsrc", "recovers", "--wait=false")
        running.wait_gone("dsrc", "recovers")
