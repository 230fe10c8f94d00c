"""An operator that is killed while it creates leaves exactly what is wanted, and nothing behind."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter

import pytest

from e2e import declared, listing
from e2e.running import Object, Running, is_ready, until
from e2e.source_server import SourceServer

pytestmark = pytest.mark.e2e

NAMES = ("killed-a", "killed-b")
KILLS = 3
CREATION_SECONDS = 1.5
"""About how long the operator takes to create what two sources and their Pipelines want."""
RESTART_SECONDS = 60


def restart_count(running: Running) -> int:
    (container,) = running.pod()["status"]["containerStatuses"]
    return int(container["restartCount"])


def complete(obj: Object | None) -> bool:
    return is_ready(obj) and all(
        line.get("state") == "Ready" for line in obj["status"]["resources"]
    )


@pytest.fixture(scope="module")
def killed(running: Running, server: SourceServer) -> int:
    """Sources during whose creation the operator was killed; how often that was before the end."""
    endpoint = server.rows("/killed", [{"id": 1, "name": "a"}])
    seed = secrets.randbits(32)
    print(f"the moments come from random.Random({seed})")
    chance = random.Random(seed)
    running.apply(*(declared.loaded(name, endpoint, suspend=True) for name in NAMES))
    unfinished = 0
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, CREATION_SECONDS))
        unfinished += not all(complete(running.get("pipe", name)) for name in NAMES)
        dead = running.kill_operator()
        until(
            lambda dead=dead: (
                running.operator_pid() not in (None, dead) and running.is_operator_ready()
            ),
            "the operator does not come back",
            RESTART_SECONDS,
        )
    for name in NAMES:
        running.wait("dsrc", name, complete)
        running.wait("pipe", name, complete)
    return unfinished


def test_the_operator_was_killed_before_it_was_done(running: Running, killed: int) -> None:
    assert killed > 0
    assert restart_count(running) >= KILLS


def test_there_is_exactly_what_is_wanted_and_nothing_twice(running: Running, killed: int) -> None:
    there, said = listing.found(running, NAMES), listing.said(running, NAMES)
    assert set(there) == said
    assert {one: n for one, n in there.items() if n > 1} == {}
    kinds = {
        name: sorted(
            (line["kind"], line["id"])
            for kind in ("dsrc", "pipe")
            for line in running.get(kind, name)["status"]["resources"]
        )
        for name in NAMES
    }
    renamed = [(kind, one.replace(NAMES[1], NAMES[0])) for kind, one in kinds[NAMES[1]]]
    assert kinds[NAMES[0]] == sorted(renamed)


def test_nothing_is_left_after_deletion(running: Running, killed: int) -> None:
    running.kubectl("delete", "dsrc", *NAMES, "--timeout=180s")
    for name in NAMES:
        running.wait_gone("pipe", name)
    assert listing.found(running, NAMES) == Counter()
