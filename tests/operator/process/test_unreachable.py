"""A Platform whose endpoint does not answer holds nobody else up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from replica import Process, objects, wait

from builds import empty_build
from weir.kube.client import Kube
from weir.kube.keys import RECONCILE_AT, Key
from weir_local.aws.server import LocalAws
from weir_local.cluster import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

SOURCES = 12
"""More than there are workers."""
READY_SECONDS = 60.0
"""Much less than one call to a silent endpoint takes: 4 tries of 30 s."""


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in kept:
            connection.close()


def put(kube: Kube, obj: dict[str, Any], status: dict[str, Any] | None = None) -> Key:
    there = kube.create(obj)
    if status is not None:
        kube.put_status(there, status)
    return Key.of(there)


def test_others_are_looked_at_while_a_platform_is_silent_from_the_start(
    cluster: ControlPlane,
    process_aws: tuple[LocalAws, dict],
    kube: Kube,
    kube_namespace: str,
    silent: str,
    tmp_path: Path,
) -> None:
    far, source = objects(kube_namespace, silent, "far")
    far["metadata"]["name"] = "a-silent"
    known = {"kind": "iam.Role", "id": "glue", "name": "weir-local-a-silent", "state": "Ready"}
    put(kube, far, {"resources": [known]})
    for number in range(SOURCES):
        source["metadata"]["name"] = f"far-{number}"
        source["spec"]["platform"] = "a-silent"
        mine = {**known, "id": "ingest", "name": f"weir-local-far-{number}"}
        put(kube, source, {"resources": [mine]})
    near, source = objects(kube_namespace, process_aws[0].endpoint, "near")
    near["metadata"]["name"] = "near"
    platform = put(kube, near)
    empty_build(tmp_path)
    operator = Process(cluster.kubeconfig, tmp_path, process_aws[1]["operator"])
    try:
        began = time.monotonic()
        assert wait(lambda: operator.page("/readyz")[0] == 200, READY_SECONDS), operator.page(
            "/readyz"
        )[1]
        print(f"ready after {time.monotonic() - began:.1f} s")
        for mark in ("1", "2"):
            obj = kube.get(platform)
            assert obj is not None
            obj["metadata"].setdefault("annotations", {})[RECONCILE_AT] = mark
            kube.replace(obj)
            began = time.monotonic()

            def echoed(wanted: str = mark) -> bool:
                status = (kube.get(platform) or {}).get("status") or {}
                return bool(status.get("reconcileAt") == wanted)

            assert wait(echoed, READY_SECONDS), operator.log.read_text()[-3000:]
            print(f"looked at after {time.monotonic() - began:.1f} s")
        assert operator.page("/healthz")[0] == 200
    finally:
        operator.kill()


def test_a_reconcile_that_hangs_fails_healthz_after_the_limit(
    cluster: ControlPlane,
    process_aws: tuple[LocalAws, dict],
    kube: Kube,
    kube_namespace: str,
    silent: str,
    tmp_path: Path,
) -> None:
    far, _ = objects(kube_namespace, silent, "unused")
    far["metadata"]["name"] = "hangs"
    put(kube, far)
    empty_build(tmp_path)
    limit = {"WEIR_STUCK_AFTER": "4s"}
    operator = Process(cluster.kubeconfig, tmp_path, {**process_aws[1]["operator"], **limit})
    try:
        assert wait(lambda: operator.page("/healthz")[0] == 200)
        assert wait(lambda: operator.page("/healthz")[0] == 503)
        assert "workers: a reconcile hangs for" in operator.page("/healthz")[1]
        assert "role=holder" in operator.page("/healthz")[1]
    finally:
        operator.kill()
