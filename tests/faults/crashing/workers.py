"""Run jobs in processes of their own, each of which may be killed at one of its AWS calls."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from weir.aws.session import is_write
from weir_local.aws.server import LocalAws
from weir_local.proxy import DROPPED, Exchange, Forward, Proxy, Reply, Rule

HERE = Path(__file__).parents[1]
BEFORE, AFTER = "before", "after"
"""When the worker dies: before AWS sees the call; after it took effect and before the reply."""


POLLS = frozenset(
    {
        "redshift-data:DescribeStatement",
        "kinesis:DescribeStreamSummary",
        "lambda:GetEventSourceMapping",
        "lambda:GetFunction",
        "lambda:ListEventSourceMappings",
        "lambda:ListTags",
        "dynamodb:DescribeTable",
    }
)
"""Reads that are repeated until something has settled: how often, no two runs agree on."""


class Numbering:
    """Numbers calls from 1; of a read that is repeated at once only the first counts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> int:
        """The call's number; 0 where it repeats the one before."""
        if self.names and self.names[-1] == name and name in POLLS:
            return 0
        self.names.append(name)
        return len(self.names)


def numbered(calls: list[Exchange]) -> tuple[str, ...]:
    """The names of calls, as :class:`Numbering` counts them."""
    numbering = Numbering()
    for call in calls:
        numbering(call.name)
    return tuple(numbering.names)


class WorkerFailed(Exception):
    """A worker raised; the text is its traceback."""


class Workers:
    """Starts workers behind a proxy.

    :param aws: the local AWS
    :param environ: variables of the workers: credentials, region
    :param folder: for results and the log
    :param objects: whether the jobs are those of :mod:`crashing.object_jobs`
    """

    def __init__(
        self, aws: LocalAws, environ: dict[str, str], folder: Path, *, objects: bool = False
    ) -> None:
        self.proxy = Proxy(aws.endpoint)
        self.seen: list[Exchange] = []
        self._objects, self._region = objects, aws.region
        self._environ, self._folder = environ, folder
        self._process: subprocess.Popen[str] | None = None
        self._pid: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._numbers = 0
        self._rule: Rule | None = None

    def __enter__(self) -> Self:
        self.proxy.rule = self._pass
        self.proxy.start()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        given = {
            "endpoint": self.proxy.endpoint,
            "region": self._region,
            "objects": self._objects,
        }
        with (self._folder / "workers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "crashing.zygote",
                    json.dumps(given),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environ, "PYTHONPATH": path},
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.proxy.stop()

    def run(self, job: dict[str, Any], rule: Rule | None = None) -> Any:
        """Run one job to its end.

        :param rule: decides about each of its AWS calls
        :returns: what the job came to; None where its worker was killed
        :raises WorkerFailed: it raised
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._numbers += 1
        result = self._folder / f"result-{self._numbers}.json"
        self.proxy.reset()
        self.seen, self._rule = [], rule
        self._pid = queue.SimpleQueue()
        self._process.stdin.write(json.dumps({**job, "result": str(result)}) + "\n")
        self._process.stdin.flush()
        self._pid.put(int(self._line()["pid"]))
        status = int(self._line()["status"])
        self._rule = None
        if status == -signal.SIGKILL:
            return None
        answer = json.loads(result.read_text())
        result.unlink()
        if "error" in answer:
            raise WorkerFailed(f"{job['do']}: {answer['error']}")
        return answer["value"]

    def killing(self, number: int, moment: str) -> Rule:
        """A rule that kills the worker at its n-th AWS call."""

        numbering = Numbering()

        async def rule(exchange: Exchange, forward: Forward) -> Reply:
            if numbering(exchange.name) != number:
                return await forward()
            pid = await asyncio.to_thread(self._pid.get)
            if moment == AFTER:
                await forward()
            os.kill(pid, signal.SIGKILL)
            return DROPPED

        return rule

    def killing_new(self, met: set[tuple[str, str]], where: str) -> Rule:
        """A rule that kills the worker at the first write whose operation is new in ``where``.

        :param met: the operations that are not new; grows. Every second one is killed after it took
            effect, the others before.
        """
        killed = False

        async def rule(exchange: Exchange, forward: Forward) -> Reply:
            nonlocal killed
            mark = (where, exchange.name)
            if killed or mark in met or not is_write(exchange.operation):
                return await forward()
            killed = True
            met.add(mark)
            pid = await asyncio.to_thread(self._pid.get)
            if len(met) % 2:
                await forward()
            os.kill(pid, signal.SIGKILL)
            return DROPPED

        return rule

    async def _pass(self, exchange: Exchange, forward: Forward) -> Reply:
        self.seen.append(exchange)
        return await (forward() if self._rule is None else self._rule(exchange, forward))

    def _line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = (self._folder / "workers.log").read_text(errors="replace")[-2000:]
            raise WorkerFailed(f"the process that forks workers has ended:\n{log}")
        found: dict[str, Any] = json.loads(line)
        return found
