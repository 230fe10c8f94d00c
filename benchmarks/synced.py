"""Which objects are Synced, as a watch tells it, and when each became so."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from kubernetes import client
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from weir.kube.client import Kube, KubeError, Object, collection

WATCH_SECONDS = 1800


class Watched:
    """Follows all DataSources in a thread of its own.

    Parameters
    ----------
    configuration
        How to reach the API server.
    """

    def __init__(self, configuration: client.Configuration) -> None:
        self._kube = Kube(configuration)
        self._configuration = configuration
        self._changed = threading.Condition()
        self._synced: dict[str, int] = {}
        self._resources: dict[str, int] = {}
        self._at: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._follow, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()

    def synced(self) -> int:
        """How many objects are Synced with the newest spec that was seen of them."""
        with self._changed:
            return len(self._synced)

    def resources(self) -> int:
        """AWS resources that these objects own."""
        with self._changed:
            return sum(self._resources.values())

    def wait(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Return once something holds.

        Raises
        ------
        TimeoutError
            It does not in time.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not holds():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"not in {seconds:.0f} s: {what}; {len(self._synced)} Synced"
                    )
                self._changed.wait(min(left, 1.0))

    def when(self, name: str, generation: int, seconds: float) -> float:
        """When (monotonic clock) an object was first seen Synced with this generation."""
        key = (name, generation)
        self.wait(lambda: key in self._at, seconds, f"{name} at generation {generation}")
        return self._at[key]

    def _follow(self) -> None:
        while not self._stop.is_set():
            # A busy API server that does not answer once is asked again.
            with contextlib.suppress(KubeError, HTTPError, OSError, ValueError):
                self._watch(self._list())
            self._stop.wait(0.2)

    def _list(self) -> str:
        for obj in self._kube.all_of("DataSource"):
            self._see("ADDED", obj)
        _, at = self._kube.metadata_of("DataSource")
        return str(at)

    def _watch(self, version: str) -> None:
        host = self._configuration.host
        pool = PoolManager(
            ca_certs=self._configuration.ssl_ca_cert,
            cert_file=self._configuration.cert_file,
            key_file=self._configuration.key_file,
        )
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        answer = pool.request(
            "GET",
            f"{host}{collection('DataSource')}?{query}",
            preload_content=False,
            timeout=Timeout(connect=5, read=WATCH_SECONDS + 60),
        )
        rest = b""
        for chunk in answer.stream(1 << 16, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self._see(event["type"], event["object"])
            if self._stop.is_set():
                return

    def _see(self, kind: str, obj: Object) -> None:
        now = time.monotonic()
        meta, status = obj["metadata"], obj.get("status") or {}
        name = f"{meta['namespace']}/{meta['name']}"
        with self._changed:
            if kind == "DELETED" or not _is_synced(meta, status):
                self._synced.pop(name, None)
            else:
                self._synced[name] = meta["generation"]
                self._at.setdefault((name, meta["generation"]), now)
                self._resources[name] = sum(
                    line.get("state") != "External" for line in status.get("resources") or []
                )
            if kind == "DELETED":
                self._resources.pop(name, None)
            self._changed.notify_all()


def _is_synced(meta: dict[str, Any], status: dict[str, Any]) -> bool:
    return any(
        one["type"] == "Synced"
        and one["status"] == "True"
        and one.get("observedGeneration") == meta["generation"]
        for one in status.get("conditions") or []
    )
