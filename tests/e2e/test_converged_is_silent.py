"""A converged stack is left alone: no AWS write, no patch, no event over a drift interval."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from e2e.running import Object, Running, is_ready

pytestmark = pytest.mark.e2e

DRIFT_SECONDS = 20
SETTLING_SECONDS = 5
BUSY = "unavailable"
"""The source that is still being tried again: its failure is news."""
READS = re.compile(
    r":(Get|List|Describe|Head|Query|Scan|BatchGet|Lookup|Search|Filter|Simulate)[A-Za-z0-9]*$"
)


def versions(running: Running) -> dict[str, str]:
    return {
        f"{kind} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for kind in ("plat", "dsrc", "pipe", "prun")
        for obj in running.all(kind)
        if obj["metadata"]["name"] != BUSY
    }


def told(running: Running) -> dict[str, Any]:
    """Every event of our own kinds, with how often it was told."""
    items = json.loads(running.kubectl("get", "events", "-A", "-o", "json"))["items"]
    return {
        one["metadata"]["name"]: (one.get("count"), one.get("series"), one.get("message"))
        for one in items
        if one["involvedObject"].get("apiVersion", "").startswith("weir.dev/")
        and one["involvedObject"]["name"] != BUSY
    }


def test_a_converged_stack_is_only_read(
    running: Running, orders: Object, customers: Object, private: Object
) -> None:
    running.wait("plat", "default", is_ready)
    running.wait("pipe", "orders", is_ready)
    running.wait("dsrc", "orders", is_ready)
    for meta in (customers["metadata"], private["metadata"]):
        running.wait("pipe", f"{meta['namespace']}/{meta['name']}", is_ready)
    time.sleep(SETTLING_SECONDS)
    calls, seen, events = running.aws_calls(), versions(running), told(running)
    pid = running.operator_pid()
    time.sleep(DRIFT_SECONDS + SETTLING_SECONDS)
    assert running.operator_pid() == pid
    made = running.aws_calls() - calls
    assert made, "the drift check never looked"
    assert [name for name in made if not READS.search(name)] == []
    assert versions(running) == seen
    assert told(running) == events
