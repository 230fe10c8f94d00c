"""Background processes that outlive their starter, and are ended by identity, never by name.

A process id alone does not tell a process from the one that got its number later, so each record
keeps the start time beside it. Only a process that matches both is ever signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recorded:
    """One process that was started: its id, and when it started as the system tells it."""

    pid: int
    started: str


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in the system's own words; None when there is none.

    A zombie (ended, but not yet waited for by its parent) counts as gone.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # proc(5): after the name in brackets come the state (field 3) and the start time (22).
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, started = answer.partition(" ")
    return None if not answer or state.startswith("Z") else started.strip()


class Processes:
    """The background processes of one state directory.

    Parameters
    ----------
    directory
        Where ``<name>.json`` records who runs and ``<name>.log`` keeps what it says.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def log(self, name: str) -> Path:
        """The file that the output of process ``name`` goes to."""
        return self.directory / f"{name}.log"

    def record(self, name: str) -> Recorded | None:
        """The record of ``name``, whether it still runs or not."""
        try:
            return Recorded(**json.loads((self.directory / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None

    def running(self, name: str) -> bool:
        """Whether the very process that was started as ``name`` still runs."""
        record = self.record(name)
        return record is not None and start_time(record.pid) == record.started

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> subprocess.Popen[bytes] | None:
        """Start ``command`` in a session of its own unless ``name`` runs already.

        Parameters
        ----------
        name
            What it is called in this directory.
        command
            Program and arguments.
        environment
            Its whole environment; that of this process when left out.
        directory
            Where it starts; where this process is when left out.

        Returns
        -------
        Popen | None
            The new process; None when ``name`` runs already.
        """
        if self.running(name):
            return None
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                start_new_session=True,
            )
        record = Recorded(process.pid, start_time(process.pid) or "")
        path = self.directory / f"{name}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(path)
        return process

    def stop(self, name: str, grace: float = 10.0) -> bool:
        """End ``name``: SIGTERM, then SIGKILL after ``grace`` seconds.

        Returns
        -------
        bool
            Whether there was such a process to end.
        """
        record = self.record(name)
        was_running = record is not None and self.running(name)
        if record is not None and was_running:
            for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.pid, number)
                deadline = time.monotonic() + patience
                while self.running(name) and time.monotonic() < deadline:
                    _reap(record.pid)
                    time.sleep(0.02)
                if not self.running(name):
                    break
        self.forget(name)
        return was_running

    def forget(self, name: str) -> None:
        """Drop the record of a process that has ended."""
        (self.directory / f"{name}.json").unlink(missing_ok=True)

    def tail(self, name: str, lines: int = 20) -> str:
        """The last ``lines`` lines of what ``name`` said."""
        try:
            text = self.log(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _reap(pid: int) -> None:
    """Take the exit code of a child of ours, so that it does not stay behind as a zombie."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
