"""``python -m weir`` as a process: from start to end, against a real API server and local AWS."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from replica import START_SECONDS, Process, objects, ready, wait

from builds import empty_build
from weir.kube.client import Kube
from weir.kube.keys import Key
from weir_local.aws.server import LocalAws
from weir_local.cluster import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

STOP_SECONDS = 30
"""Much less than one call to a silent endpoint takes: 4 tries of 30 s. The limit itself is 5 s."""
METRICS = (
    "weir_reconcile_total",
    "weir_reconcile_seconds_bucket",
    "weir_aws_calls_total",
    "weir_aws_call_seconds_bucket",
    "weir_resources",
    "weir_queue_depth",
)


@pytest.fixture
def operator(
    cluster: ControlPlane, process_aws: tuple[LocalAws, dict], tmp_path: Path
) -> Iterator[Process]:
    empty_build(tmp_path)
    made = Process(cluster.kubeconfig, tmp_path, process_aws[1]["operator"])
    yield made
    made.kill()


def test_the_process_serves_from_its_start_to_its_end(
    operator: Process,
    process_aws: tuple[LocalAws, dict],
    kube: Kube,
    kube_namespace: str,
    tmp_path: Path,
) -> None:
    aws, found = process_aws
    platform, wanted = objects(kube_namespace, aws.endpoint, "rows")
    for obj in (platform, wanted):
        kube.create(obj)
    assert wait(lambda: operator.page("/readyz")[0] == 200), operator.log.read_text()
    assert operator.page("/healthz")[0] == 200
    key = Key.of(wanted)
    assert wait(lambda: ready(kube, key).get("status") == "True"), kube.get(key)
    whole = "everything is as the spec says"
    assert wait(lambda: ready(kube, Key.of(platform)).get("message") == whole)
    text = operator.page("/metrics")[1]
    assert [name for name in METRICS if not re.search(rf"^{name}\b", text, re.M)] == []
    assert operator.page("/nothing")[0] == 404
    log = operator.log.read_text()
    assert found["operator"]["AWS_SECRET_ACCESS_KEY"] not in log
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|Bearer [A-Za-z0-9]", log)
    assert all(json.loads(line)["event"] for line in log.splitlines() if line.startswith("{"))
    assert operator.stop() < STOP_SECONDS
    assert operator.process.returncode == 0
    assert re.search(r'"event": "(stopped|cut off)"', operator.log.read_text())


def test_a_restart_looks_again_and_a_converged_object_is_not_written(
    operator: Process, process_aws: tuple[LocalAws, dict], kube: Kube, kube_namespace: str
) -> None:
    key = Key("DataSource", kube_namespace, "rows")
    before = kube.get(key)
    assert before is not None
    assert wait(lambda: operator.page("/readyz")[0] == 200), operator.log.read_text()
    looked = f'"object": "{key.id}'
    assert wait(lambda: looked in operator.log.read_text()), operator.log.read_text()
    time.sleep(1)
    after = kube.get(key)
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_it_ends_in_time_where_aws_does_not_answer(
    operator: Process, kube: Kube, kube_namespace: str
) -> None:
    """A listening port that never answers: calls hang until their own time limits."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        platform, _ = objects(
            kube_namespace, f"http://127.0.0.1:{silent.getsockname()[1]}", "unused"
        )
        platform["metadata"]["name"] = "silent"
        kube.create(platform)
        assert wait(lambda: operator.page("/metrics")[0] == 200)
        silent.settimeout(START_SECONDS)
        connection, _ = silent.accept()
        with connection:
            assert operator.stop() < STOP_SECONDS
    assert operator.process.returncode == 0
