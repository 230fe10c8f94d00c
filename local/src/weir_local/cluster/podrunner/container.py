"""One container of a pod: a process, its probes, its end and its next beginning."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weir_local.cluster.images import Image
from weir_local.cluster.podrunner import probes
from weir_local.cluster.podrunner.ports import Ports
from weir_local.cluster.podrunner.probes import Prober
from weir_local.cluster.podrunner.values import expand
from weir_local.cluster.processes import Processes

Object = dict[str, Any]
SANDBOX = Path(__file__).with_name("sandbox.py")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A kubelet's: 10 s, doubled up to 300 s, forgotten after 10 minutes of running. Shorter here, where
# somebody waits for a demo or a test.
FIRST_BACK_OFF, LONGEST_BACK_OFF, FORGOTTEN_AFTER = 1.0, 60.0, 600.0


def now() -> str:
    """The time in the API's form."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Launch:
    """Everything that starting a container needs.

    Parameters
    ----------
    image
        What stands in for its image.
    environment
        Its whole environment, but for PATH.
    mounts
        ``{"source", "target", "readOnly"}`` for each; None where namespaces are forbidden.
    directory
        Where it starts.
    """

    image: Image
    environment: Mapping[str, str]
    mounts: Sequence[Mapping[str, object]] | None
    directory: Path


def command(spec: Object, launch: Launch) -> tuple[list[str], dict[str, str]]:
    """The command line of a container and its environment.

    Raises
    ------
    FileNotFoundError
        The program is neither in the image's directories nor in the system's.
    """
    path = os.pathsep.join((*launch.image.path, SYSTEM_PATH))
    environment = {**launch.environment, "PATH": path}
    words = [expand(word, environment) for word in (*spec["command"], *spec.get("args", ()))]
    program = shutil.which(words[0], path=path)
    if program is None:
        raise FileNotFoundError(f'exec: "{words[0]}": executable file not found in {path}')
    words[0] = program
    if launch.mounts:
        mounts = json.dumps(list(launch.mounts))
        words = [sys.executable, "-I", "-S", str(SANDBOX), mounts, *words]
    return words, environment


class Container:
    """One container.

    Parameters
    ----------
    spec
        As the pod has it.
    processes
        Where its process is recorded and its log kept.
    ports
        The pod's.
    changed
        Called when something happened that the pod's status should tell.
    event
        Called with reason and message for ``kubectl describe``.
    """

    def __init__(
        self,
        spec: Object,
        processes: Processes,
        ports: Ports,
        changed: Callable[[], None],
        event: Callable[[str, str], None],
    ) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.restarts = 0
        self.waiting: tuple[str, str] | None = ("ContainerCreating", "")
        self.exit_code: int | None = None
        self.may_start_at = 0.0
        self.last: Object = {}
        self._processes = processes
        self._ports = ports
        self._changed = changed
        self._event = event
        self._process: subprocess.Popen[bytes] | None = None
        self._probers: dict[str, Prober] = {}
        self._environment: Mapping[str, str] = {}
        self._started = ""
        self._started_clock = 0.0
        self._finished = ""
        self._back_off = FIRST_BACK_OFF

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None

    def is_running(self) -> bool:
        """:attr:`running`, to be asked later."""
        return self.running

    @property
    def started(self) -> bool:
        """Whether it runs and its startup probe, if any, has succeeded."""
        prober = self._probers.get("startupProbe")
        return self.running and (prober.healthy if prober else "startupProbe" not in self.spec)

    @property
    def ready(self) -> bool:
        """Whether it is started and its readiness probe, if any, says so."""
        prober = self._probers.get("readinessProbe")
        return self.started and (prober.healthy if prober else "readinessProbe" not in self.spec)

    def start(self, launch: Launch) -> None:
        """Start its process; where that is impossible, say why in :attr:`waiting`."""
        try:
            words, environment = command(self.spec, launch)
            log = self._processes.log(self.name)
            if log.exists() and self.last:
                log.replace(self.previous_log)
            self._process = self._processes.start(
                self.name, words, environment, Path(self.spec.get("workingDir") or launch.directory)
            )
        except OSError as error:
            self.waiting = ("CreateContainerError", str(error))
            self._event("Failed", str(error))
            self._postpone()
            return
        self._environment = environment
        self.waiting, self.exit_code = None, None
        self._started, self._started_clock = now(), time.monotonic()
        if "startupProbe" in self.spec:
            self._probe("startupProbe", initially=False)
        else:
            self._probe_on()
        self._event("Started", f"Started container {self.name}")

    @property
    def log(self) -> Path:
        """The file with what it says."""
        return self._processes.log(self.name)

    @property
    def previous_log(self) -> Path:
        """The file with what it said before its last restart."""
        return self.log.with_suffix(".previous.log")

    def look(self) -> bool:
        """See what has become of the process and its probes.

        Returns
        -------
        bool
            Whether it ended since the last look.
        """
        if self._process is None:
            return False
        code = self._process.poll()
        if code is not None:
            self._ended(code)
            return True
        startup = self._probers.get("startupProbe")
        if startup and startup.healthy and "readinessProbe" not in self._probers:
            self._probe_on()
        for kind in ("startupProbe", "livenessProbe"):
            prober = self._probers.get(kind)
            if prober and prober.failed:
                self._event("Unhealthy", f"{kind} failed: {prober.complaint}; it is restarted")
                self.end(float(self.spec[kind].get("terminationGracePeriodSeconds", 30)))
                return True
        return False

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self, grace: float) -> None:
        """End the process: SIGTERM, then SIGKILL to its whole group after ``grace`` seconds."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._ended(self._process.returncode)

    def stop_probes(self) -> None:
        """End its probes: whoever is being deleted is not restarted."""
        for prober in self._probers.values():
            prober.stop()

    def state(self) -> Object:
        """Its part of ``status.containerStatuses``."""
        if self.running:
            current: Object = {"running": {"startedAt": self._started}}
        elif self.waiting:
            reason, message = self.waiting
            current = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        else:
            current = dict(self.last)
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": "",
            "containerID": f"process://{self._process.pid}" if self._process else "",
            "ready": self.ready or (self.exit_code == 0 and self.waiting is None),
            "started": self.started,
            "restartCount": self.restarts,
            "state": current,
            "lastState": self.last if self.restarts and self.last is not current else {},
        }

    def complaint(self) -> str:
        """Why it is not ready, as its readiness or startup probe tells."""
        for kind in ("startupProbe", "readinessProbe"):
            prober = self._probers.get(kind)
            if prober and not prober.healthy and prober.complaint:
                return f"{kind} of {self.name}: {prober.complaint}"
        return ""

    def restart_later(self) -> None:
        """Let it wait for its next start, longer each time that it ended soon."""
        self.restarts += 1
        if time.monotonic() - self._started_clock > FORGOTTEN_AFTER:
            self._back_off = FIRST_BACK_OFF
        message = f"back-off {self._back_off:.0f}s restarting failed container={self.name}"
        self.waiting = ("CrashLoopBackOff", message)
        self._event("BackOff", message)
        self._postpone()

    def _postpone(self) -> None:
        self.may_start_at = time.monotonic() + self._back_off
        self._back_off = min(self._back_off * 2, LONGEST_BACK_OFF)

    def _ended(self, code: int) -> None:
        self.stop_probes()
        self._probers.clear()
        if self._process is not None:
            # What it started and left running would have ended with its container.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # The number of a signal that ended it is told as a shell does: 128 + number.
        self.exit_code = 128 - code if code < 0 else code
        self._process = None
        self._finished = now()
        self.last = {
            "terminated": {
                "exitCode": self.exit_code,
                "reason": "Completed" if self.exit_code == 0 else "Error",
                "startedAt": self._started,
                "finishedAt": self._finished,
            }
        }
        self._processes.forget(self.name)

    def _probe_on(self) -> None:
        for kind, initially in (("livenessProbe", True), ("readinessProbe", False)):
            if kind in self.spec:
                self._probe(kind, initially=initially)

    def _probe(self, kind: str, *, initially: bool) -> None:
        probe, environment = self.spec[kind], self._environment
        self._probers[kind] = Prober(
            probe,
            lambda: probes.check(probe, self._ports, environment),
            self._changed,
            initially,
        )
