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
from e2e.running import Object, Running
from e2e.source_server import Answer, Paged, SourceServer, serving
from weir_local.cluster import Cluster, ControlPlane
from weir_local.stack import Stack


class OwnStack(Stack):
    """A stack in a cluster of its own, whatever else the machine has: tests kill its operator."""

    @property
    def cluster(self) -> Cluster:
        return ControlPlane(self.state / "cluster", pods=(self.image,), environ=os.environ)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def server() -> Iterator[SourceServer]:
    """The HTTP server that all sources ask."""
    with serving() as source:
        yield source


@pytest.fixture(scope="session")
def orders(running: Running, server: SourceServer) -> Object:
    """The Pipeline of a source that merges by key and time, after its first run."""
    running.secret("orders_key", declared.ORDERS_KEY)
    endpoint = server.serve("/orders", Paged(declared.FIRST_ORDERS, declared.ORDERS_KEY))
    running.apply(declared.orders(endpoint))
    return running.wait_run("pipe", "orders")


@pytest.fixture(scope="session", autouse=True)
def unavailable(running: Running, server: SourceServer) -> str:
    """The name of a source that answers 500: applied first, since it is tried again for minutes."""
    endpoint = server.serve("/unavailable", Answer(500, b"{}"))
    running.apply(declared.source("unavailable", endpoint, rest={"limits": {"maxAttempts": 1}}))
    return "unavailable"
