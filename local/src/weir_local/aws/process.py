"""A local AWS that outlives the command that started it: up, down, status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from weir_local.aws import server
from weir_local.cluster.processes import start_time

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Record:
    """Which process serves a state directory.

    :param pid: its process id
    :param started: its start in clock ticks since boot, so that a reused pid is told apart
    :param endpoint: its URL
    """

    pid: int
    started: str
    endpoint: str
    account: str
    region: str


def read(state: Path) -> Record | None:
    """The record of a process that still runs, else None."""
    try:
        record = Record(**json.loads((state / "aws.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if start_time(record.pid) == record.started else None


def up(
    state: Path, port: int = 0, account: str = server.ACCOUNT, region: str = server.REGION
) -> Record:
    """Start a local AWS in the background, unless one already serves this directory.

    :param state: its directory: record ``aws.json``, log ``aws.log``
    :param port: 0 takes a free one
    :returns: the running process
    :raises StartFailed: it did not come up
    """
    running = read(state)
    if running is not None:
        return running
    state.mkdir(parents=True, exist_ok=True)
    port = port or server.free_port()
    endpoint = f"http://{server.LOOPBACK}:{port}"
    log = state / "aws.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            server.command(port, state, account, region),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = start_time(process.pid)
    server.wait_healthy(process, endpoint, log)
    record = Record(process.pid, started or "", endpoint, account, region)
    (state / "aws.json").write_text(json.dumps(asdict(record)))
    return record


def down(state: Path) -> bool:
    """End the process that serves a directory, and only that one.

    :returns: whether one was running
    """
    record = read(state)
    if record is None:
        (state / "aws.json").unlink(missing_ok=True)
        return False
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while start_time(record.pid) == record.started:
        if time.monotonic() > deadline:
            os.kill(record.pid, signal.SIGKILL)
        try:
            os.waitpid(record.pid, os.WNOHANG)
        except ChildProcessError:
            pass
        time.sleep(0.05)
    (state / "aws.json").unlink(missing_ok=True)
    return True
