"""Each REST example, from ``kubectl apply`` to rows: all of them at once, each asking its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from e2e.running import RUN_SECONDS, Object, Running, last_run, until
from http_api import serving
from rest_examples import SECRETS, WANTED, Server, answering, at, documents

pytestmark = pytest.mark.e2e


def as_applied(url: str, name: str) -> Object:
    """An example whose hosts are a server, and which lands its rows and no more."""
    found = at(url, name)
    found["metadata"]["namespace"] = "default"
    if "redshift" in found["spec"]:
        found["spec"]["pipeline"] = {"managed": False}
    return found


@pytest.fixture(scope="module")
def landed(running: Running) -> Iterator[dict[str, Object]]:
    """Every example after its first run."""
    for name, value in SECRETS.items():
        running.secret(name, value())
    with ExitStack() as servers:
        sources = []
        for name in documents():
            api = servers.enter_context(serving())
            api.answer = answering(Server(api.url), name.replace("-", "_"))
            sources.append(as_applied(api.url, name))
        running.apply(*sources)
        found: dict[str, Object] = {}

        def ended() -> bool:
            for one in running.all("dsrc"):
                if one["metadata"]["name"] in documents() and last_run(one).get("state") in {
                    "Succeeded",
                    "Failed",
                }:
                    found[one["metadata"]["name"]] = one
            return found.keys() == documents().keys()

        until(ended, "not every example has ended a run", 2 * RUN_SECONDS)
        yield found
        running.kubectl("delete", "dsrc", *documents(), "--wait=false")


def test_every_rest_example_lands_its_rows(running: Running, landed: dict[str, Object]) -> None:
    for name, obj in landed.items():
        run = last_run(obj)
        assert run["state"] == "Succeeded", (name, run)
        if name in WANTED:
            assert running.landed(name) == WANTED[name], name
            assert run["rows"] == len(WANTED[name]), name


def test_the_example_with_windows_lands_two_pages_of_each_week(
    running: Running, landed: dict[str, Object]
) -> None:
    starts = [row["occurredAt"] for row in running.landed("events")]
    assert starts[0] == "2025-01-01T00:00:00Z"
    assert len(starts) == 2 * len(set(starts)) > 100


def test_a_rotated_refresh_token_is_in_the_secret(
    running: Running, landed: dict[str, Object]
) -> None:
    answer = running.aws("secretsmanager").get_secret_value(SecretId="weir/default/books")
    assert json.loads(answer["SecretString"])["refresh_token"] == "refresh-1"
