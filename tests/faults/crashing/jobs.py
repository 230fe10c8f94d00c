"""What a worker does: the engine's own apply and delete, until AWS is as wanted.

All that outlives a worker is the status file, as the object on the API server outlives the operator.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from crashing.samples import BY_KIND

from weir.aws.registry import adapter_classes, adapters
from weir.aws.session import AwsSession, Target
from weir.reconcile.apply import Applied, Applier, Entry
from weir.reconcile.inventory import Inventory
from weir.resource import Owner

CLUSTER = "faults"
PASSES = 40
PASS_SECONDS = 30.0
"""How much later the next pass is: longer than any grace."""

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.5
"""Seconds between passes: what AWS makes slowly takes real time, on a fast machine too."""

_sessions: dict[tuple[str, str], AwsSession] = {}


class InTurn(Executor):
    """Runs what is submitted at once: calls come in the same order each time."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args, **more))
        except BaseException as error:  # noqa: BLE001 - as an executor hands it over
            done.set_exception(error)
        return done


class StatusFile:
    """``status.resources``, written in one step."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @property
    def entries(self) -> list[Entry]:
        """What is written."""
        if not self._path.exists():
            return []
        return [Entry.from_status(line) for line in json.loads(self._path.read_text())]

    def write(self, entries: Sequence[Entry]) -> None:
        """Replace it."""
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps([entry.to_status() for entry in entries]))
        part.replace(self._path)


class Clock:
    """Seconds, which pass between passes."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class NotSettled(AssertionError):
    """The passes are over and AWS is not as wanted."""


def session_of(endpoint: str, region: str) -> AwsSession:
    """The session that was made before the fork."""
    if (endpoint, region) not in _sessions:
        target = Target(region, endpoint_url=endpoint)
        _sessions[endpoint, region] = AwsSession(target)
    return _sessions[endpoint, region]


def prepare(given: dict[str, Any]) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Load all that a worker needs before it is forked, and say which jobs there are."""
    session = session_of(given["endpoint"], given["region"])
    for adapter in adapter_classes().values():
        session.client(adapter.service)
    session.client("sts")
    session.client("resourcegroupstaggingapi")
    session._account = "000000000000"
    if given["objects"]:
        from crashing import object_jobs

        object_jobs.prepare()
        return object_jobs.JOBS
    return {"apply": apply, "delete": delete}


def _engine(job: dict[str, Any], clock: Clock) -> tuple[Owner, Applier]:
    kinds = adapters(session_of(job["endpoint"], job["ground"]["region"]))
    inventory = Inventory(kinds, 600.0, clock)
    owner = Owner(CLUSTER, "DataSource", "team", job["suffix"], job.get("uid", "uid-1"))
    return owner, Applier(kinds, inventory, InTurn())


def apply(job: dict[str, Any]) -> dict[str, Any]:
    """Bring AWS to a sample's stage.

    :returns: what stopped it on the way, and the entries at the end
    """
    clock, status = Clock(), StatusFile(job["status"])
    owner, applier = _engine(job, clock)
    wanted = [BY_KIND[job["kind"]].resource(job["ground"], job["suffix"], job["stage"])]
    met: list[str] = []
    for _ in _passes(clock):
        result = applier.apply(owner, wanted, owner.tags, status.entries, write_ahead=status.write)
        status.write(result.entries)
        met += _problems(result)
        if result.converged:
            return {"met": met, "entries": [entry.to_status() for entry in result.entries]}
    raise NotSettled(f"{job['kind']} {job['stage']}: {met[-1:] or result.waiting}")


def delete(job: dict[str, Any]) -> dict[str, Any]:
    """Take a sample down."""
    clock, status = Clock(), StatusFile(job["status"])
    owner, applier = _engine(job, clock)
    met: list[str] = []
    for _ in _passes(clock):
        result = applier.delete(owner, status.entries, keep_data=False)
        status.write(result.entries)
        met += _problems(result)
        if not result.problems and not result.entries:
            return {"met": met, "entries": []}
    raise NotSettled(f"{job['kind']} delete: {met[-1:]}")


def _passes(clock: Clock) -> Iterator[int]:
    """Count passes, each later than the one before by the clock and, ever more, for real."""
    pause = FIRST_PAUSE
    for number in range(PASSES):
        yield number
        clock.now += PASS_SECONDS
        time.sleep(pause)
        pause = min(1.3 * pause, LONGEST_PAUSE)


def _problems(result: Applied) -> list[str]:
    return [f"{type(one.error).__name__}: {one.error}" for one in result.problems]
