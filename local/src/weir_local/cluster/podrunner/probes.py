"""Whether a container is started, alive and ready, as its probes tell."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from weir_local.cluster.podrunner.ports import Ports
from weir_local.cluster.ports import LOOPBACK

Object = dict[str, Any]


def check(probe: Object, ports: Ports, environment: Mapping[str, str]) -> str | None:
    """Do one check.

    Parameters
    ----------
    probe
        As the pod has it: ``httpGet``, ``tcpSocket`` or ``exec``.
    ports
        Where the pod's ports are.
    environment
        The container's, for ``exec``.

    Returns
    -------
    str | None
        Why it failed; None when it succeeded.
    """
    seconds = float(probe.get("timeoutSeconds", 1))
    try:
        if "httpGet" in probe:
            return _http(probe["httpGet"], ports, seconds)
        if "tcpSocket" in probe:
            port = ports.reach(probe["tcpSocket"]["port"])
            socket.create_connection((LOOPBACK, port), timeout=seconds).close()
            return None
        if "exec" in probe:
            command = probe["exec"]["command"]
            done = subprocess.run(
                command, capture_output=True, timeout=seconds, env=dict(environment), check=False
            )
            return None if done.returncode == 0 else f"exit code {done.returncode}"
    except (OSError, http.client.HTTPException, subprocess.TimeoutExpired, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return f"a probe that runs in a real cluster only: {', '.join(probe)}"


def _http(request: Object, ports: Ports, seconds: float) -> str | None:
    connection = http.client.HTTPConnection(LOOPBACK, ports.reach(request["port"]), timeout=seconds)
    try:
        headers = {item["name"]: item["value"] for item in request.get("httpHeaders", ())}
        connection.request("GET", request.get("path", "/"), headers=headers)
        response = connection.getresponse()
        body = response.read(200).decode(errors="replace")
        # A kubelet takes 200 to 399 for success.
        return None if 200 <= response.status < 400 else f"HTTP {response.status}: {body.strip()}"
    finally:
        connection.close()


class Prober:
    """Repeats one probe of one container in a thread of its own until it is stopped.

    Parameters
    ----------
    probe
        As the pod has it, with its delay, period and thresholds (seconds and counts).
    once
        The check: returns the complaint, or None.
    changed
        Called after the verdict or the complaint changed.
    initially
        The verdict before the first check: alive, but neither started nor ready.
    """

    def __init__(
        self,
        probe: Object,
        once: Callable[[], str | None],
        changed: Callable[[], None],
        initially: bool,
    ) -> None:
        self.healthy = initially
        self.failed = False
        self.complaint: str | None = None
        self._probe = probe
        self._once = once
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the check under way."""
        self._stop.set()

    def _run(self) -> None:
        successes = failures = 0
        delay = float(self._probe.get("initialDelaySeconds", 0))
        while not self._stop.wait(delay):
            complaint = self._once()
            if complaint is None:
                successes, failures = successes + 1, 0
            else:
                successes, failures = 0, failures + 1
            before = (self.healthy, self.failed)
            if successes >= int(self._probe.get("successThreshold", 1)):
                self.healthy = True
            if failures >= int(self._probe.get("failureThreshold", 3)):
                self.healthy, self.failed = False, True
            self.complaint = complaint
            if (self.healthy, self.failed) != before:
                self._changed()
            delay = float(self._probe.get("periodSeconds", 10))
