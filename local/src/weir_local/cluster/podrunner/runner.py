"""Binds pods to the node, and gives each a life of its own."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weir_local.cluster.api import Api, ApiError
from weir_local.cluster.images import Image
from weir_local.cluster.podrunner import node
from weir_local.cluster.podrunner.container import SANDBOX
from weir_local.cluster.podrunner.pod import Pod, end_leftovers
from weir_local.cluster.podrunner.volumes import remove

Object = dict[str, Any]
RELIST_SECONDS = 1.0


def namespaces_allowed() -> bool:
    """Whether this machine lets a process of ours have mounts of its own."""
    command = [sys.executable, "-I", "-S", str(SANDBOX), "[]"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Runner:
    """Runs the pods of one API server.

    Parameters
    ----------
    api
        The API server.
    available
        What stands in for container images.
    directory
        Where each pod has a directory, named by its uid.
    """

    def __init__(self, api: Api, available: Sequence[Image], directory: Path) -> None:
        self._api = api
        self._available = available
        self._directory = directory
        self._pods: dict[str, Pod] = {}
        self._addresses = itertools.count(2)
        self._namespaces = namespaces_allowed()
        self._stop = threading.Event()

    def run(self) -> None:
        """Follow the pods until :meth:`stop`."""
        for leftover in self._directory.glob("*"):
            end_leftovers(leftover)
            remove(leftover)
        while not self._stop.is_set():
            try:
                self._follow()
            except ApiError as error:
                if error.status != 410:
                    print(f"pods cannot be watched: {error}", flush=True)
                self._stop.wait(RELIST_SECONDS)

    def stop(self) -> None:
        """End all processes; the pods' objects stay."""
        self._stop.set()
        pods = list(self._pods.values())
        for pod in pods:
            pod.leave()
        for pod in pods:
            pod.join()

    def log(
        self, namespace: str, name: str, container: str, previous: bool
    ) -> tuple[Path, Callable[[], bool]] | None:
        """The log of a container, and whether more may come; None where there is none."""
        for pod in list(self._pods.values()):
            if (pod.namespace, pod.name) == (namespace, name):
                return pod.log(container, previous)
        return None

    def _follow(self) -> None:
        listing = self._api.call("GET", "/api/v1/pods")
        present = {pod["metadata"]["uid"] for pod in listing["items"]}
        for uid in [uid for uid in self._pods if uid not in present]:
            self._pods.pop(uid).gone()
        for pod in listing["items"]:
            self._take(pod)
        for event in self._api.watch("/api/v1/pods", listing["metadata"]["resourceVersion"]):
            if self._stop.is_set():
                return
            if event["type"] == "DELETED":
                known = self._pods.pop(event["object"]["metadata"]["uid"], None)
                if known:
                    known.gone()
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._take(event["object"])

    def _take(self, pod: Object) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        known = self._pods.get(metadata["uid"])
        if known:
            known.update(pod)
            return
        phase = pod.get("status", {}).get("phase")
        if not spec.get("nodeName"):
            if not (spec.get("schedulingGates") or metadata.get("deletionTimestamp")):
                self._bind(pod)
        elif spec["nodeName"] == node.NAME and (
            phase not in ("Succeeded", "Failed") or metadata.get("deletionTimestamp")
        ):
            number = next(self._addresses)
            self._pods[metadata["uid"]] = Pod(
                self._api,
                pod,
                self._available,
                self._directory / metadata["uid"],
                f"10.244.{number // 250 % 250}.{number % 250 + 2}",
                self._namespaces,
            )

    def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node.NAME},
        }
        try:
            self._api.call("POST", path, binding)
        except ApiError as error:
            if error.status not in (404, 409):
                print(f"{path}: {error}", flush=True)


def wait_for_api(api: Api, stop: threading.Event) -> str:
    """The API server's version, as soon as it answers; empty when ``stop`` came first."""
    while not stop.is_set():
        try:
            return str(api.call("GET", "/version")["gitVersion"])
        except ApiError:
            time.sleep(0.1)
    return ""
