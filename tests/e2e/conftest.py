"""One stack and one HTTP server for the whole room.

``WEIR_E2E_STATE`` names a state directory whose stack is used, started where it is not up, and left
running: for who works on these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import declared
from e2e.first import FIRST, Started
from e2e.running import Object, Running, is_ready
from e2e.source_server import Answer, SourceServer, serving
from weir_local.cluster import Cluster, ControlPlane
from weir_local.stack import Stack


class OwnStack(Stack):
    """A stack in a cluster of its own, whatever else the machine has: tests kill its operator."""

    @property
    def cluster(self) -> Cluster:
        return ControlPlane(self.state / "cluster", pods=(self.image,), environ=os.environ)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Cluster, local AWS, operator and Platform."""
    given = os.environ.get("WEIR_E2E_STATE")
    stack = OwnStack(Path(given) if given else tmp_path_factory.mktemp("stack"))
    try:
        stack.up()
        yield Running(stack)
    finally:
        if not given:
            stack.down()


@pytest.fixture(scope="package")
def server() -> Iterator[SourceServer]:
    """The HTTP server that all sources ask."""
    with serving() as source:
        yield source


def first_run(running: Running, pipeline: str) -> Object:
    """A Pipeline that has run and is Ready."""
    running.wait_run("pipe", pipeline)
    found: Object = running.wait("pipe", pipeline, is_ready)
    return found


@pytest.fixture(scope="package", autouse=True)
def unavailable(running: Running, server: SourceServer) -> str:
    """The name of a source that answers 500: applied first, since it is tried again for minutes."""
    endpoint = server.serve("/unavailable", Answer(500, b"{}"))
    running.apply(declared.source("unavailable", endpoint, rest={"limits": {"maxAttempts": 1}}))
    return "unavailable"


@pytest.fixture(scope="package", autouse=True)
def started(
    request: pytest.FixtureRequest, running: Running, server: SourceServer, unavailable: str
) -> Started:
    """The sources whose first runs the selected tests wait for, all under way."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    found = Started()
    for name, make in FIRST.items():
        if name in asked:
            running.apply(*make(running, server, found))
    return found


@pytest.fixture(scope="package")
def orders(running: Running, started: Started) -> Object:
    """The Pipeline of a source that merges by key and time, after its first run."""
    return first_run(running, "orders")


@pytest.fixture(scope="package")
def customers(running: Running, started: Started) -> Object:
    """The managed Pipeline of the converted example after its first run."""
    return first_run(running, "customer-data-api")


@pytest.fixture(scope="package")
def private(running: Running, started: Started) -> Object:
    """The Pipeline in the VPC of the Platform ``private``, after its first run."""
    return first_run(running, "sales/stock")
