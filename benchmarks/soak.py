"""Does the operator stay as small as it is? ``make soak MINUTES=8`` prints one JSON line.

A real API server, a local AWS with IAM enforced, and the operator as a process. For the given
minutes its drift interval is short, specs are edited, resources are changed behind its back, and
objects come and go. Memory, CPU, open files and threads are sampled; after a warm-up the slope of
each is what a straight line through the samples says, per hour.

Environment: ``MINUTES`` (10), ``N`` objects that stay (20), ``STATE`` a directory for the stack
(.local/soak).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.control_plane import MANAGER, log, source
from benchmarks.operator_process import BenchStack, OperatorProcess

from weir.kube.client import Kube, Object, load_config, path_of
from weir.kube.conditions import is_current
from weir.kube.keys import Key, is_deleting
from weir_local.stack import ROOT

DRIFT_INTERVAL = "5s"
SAMPLE_SECONDS = 5.0
WARM_UP = 0.35
"""Part of the time whose samples don't count: caches fill, code is compiled, pools grow."""
NAMESPACE = "bench-0"
FIRST_PASSING = 50_000
"""Number of the first object that comes and goes."""
PASSING = 4
"""So many of those are there at a time."""
MB = 1e6


@dataclass
class Sample:
    """One look at the process; ``at`` and ``cpu`` are seconds, ``rss`` is bytes."""

    at: float
    rss: int
    cpu: float
    fds: int
    threads: int


def sample(operator: OperatorProcess, began: float) -> Sample:
    """What proc(5) says of the operator now.

    Raises
    ------
    RuntimeError
        It has ended: a process that waits to be reaped has no memory.
    """
    place = Path(f"/proc/{operator.pid}")
    status = dict(
        line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line
    )
    if "VmRSS" not in status:
        raise RuntimeError("the operator has ended: the last lines of its log say why")
    return Sample(
        time.monotonic() - began,
        int(status["VmRSS"].split()[0]) * 1024,
        operator.cpu_seconds(),
        len(list((place / "fd").iterdir())),
        int(status["Threads"]),
    )


def per_hour(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    """The slope of the least-squares line through the samples, per hour."""
    times = [one.at / 3600 for one in samples]
    return statistics.linear_regression(times, [value(one) for one in samples]).slope


@dataclass
class Soak:
    """One run against a stack."""

    stack: BenchStack
    kube: Kube
    operator: OperatorProcess
    n: int
    counts: dict[str, int] = field(
        default_factory=lambda: {"edits": 0, "drifts": 0, "created": 0, "deleted": 0}
    )

    def apply(self, obj: Object) -> None:
        """Server-side apply, in the one namespace of this run."""
        obj["metadata"]["namespace"] = NAMESPACE
        self.kube.request(
            "PATCH",
            path_of(Key.of(obj)),
            obj,
            query=MANAGER,
            content_type="application/apply-patch+yaml",
        )

    def prepare(self) -> None:
        """The Platform and the objects that stay, all Ready."""
        self.stack.kubectl("create", "namespace", NAMESPACE)
        endpoint = str(self.stack.credentials["endpoint"])
        self.operator.start()
        wanted = self.stack.bench_platform(endpoint, [NAMESPACE], DRIFT_INTERVAL)
        self.kube.create(wanted)
        for number in range(self.n):
            self.apply(source(number))
        self.wait(lambda: len(self.ready()) >= self.n)
        self.operator.wait_ready(300)

    def ready(self) -> list[Object]:
        """The DataSources that are Ready."""
        return [
            one for one in self.kube.all_of("DataSource", NAMESPACE) if is_current(one, "Ready")
        ]

    def wait(self, what: Callable[[], bool], seconds: float = 600) -> None:
        """Return once it is so.

        Raises
        ------
        TimeoutError
            It did not become so.
        """
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s")
            time.sleep(0.5)

    def run(self, minutes: float) -> list[Sample]:
        """Disturb it for so long, and look at it meanwhile."""
        samples: list[Sample] = []
        began, turn = time.monotonic(), 0
        while (now := time.monotonic() - began) < minutes * 60:
            self.disturb(turn)
            if now >= len(samples) * SAMPLE_SECONDS:
                samples.append(sample(self.operator, began))
            if turn % 60 == 0:
                log(f"{now:.0f} s, {samples[-1].rss / MB:.0f} MB, {self.counts}")
            turn += 1
            time.sleep(0.5)
        return samples

    def disturb(self, turn: int) -> None:
        """An edit, a change behind the operator's back, an object that comes or one that goes."""
        number = turn % self.n
        if turn % 2 == 0:
            self.apply(source(number, generation=turn))
            self.counts["edits"] += 1
        if turn % 6 == 1:
            self.drift(number)
        if turn % 4 == 3:
            self.pass_through(turn)

    def drift(self, number: int) -> None:
        """Change one alarm or log group of an object by hand, as an administrator."""
        key = Key("DataSource", NAMESPACE, source(number)["metadata"]["name"])
        lines = ((self.kube.get(key) or {}).get("status") or {}).get("resources") or []
        names = [line["name"] for line in lines if line["kind"] == "logs.LogGroup"]
        if not names:
            return
        client = self.stack.session().client("logs")
        with contextlib.suppress(client.exceptions.ClientError):
            client.put_retention_policy(logGroupName=names[0], retentionInDays=1)
            self.counts["drifts"] += 1

    def pass_through(self, turn: int) -> None:
        """An object comes, or where there are enough of them the oldest goes."""
        passing = [
            one
            for one in self.kube.all_of("DataSource", NAMESPACE)
            if int(one["metadata"]["name"].rpartition("-")[2]) >= FIRST_PASSING
        ]
        if len(passing) < PASSING:
            self.apply(source(FIRST_PASSING + turn))
            self.counts["created"] += 1
        elif not is_deleting(passing[0]):
            self.kube.delete(passing[0])
            self.counts["deleted"] += 1

    def tell(self, samples: list[Sample], minutes: float) -> dict[str, Any]:
        """The figures."""
        steady = samples[int(len(samples) * WARM_UP) :]
        middle = len(steady) // 2

        def load(part: list[Sample]) -> float:
            return round(100 * (part[-1].cpu - part[0].cpu) / (part[-1].at - part[0].at), 1)

        return {
            "minutes": minutes,
            "n": self.n,
            **self.counts,
            "samples": len(steady),
            "rss_mb_start": round(samples[0].rss / MB, 1),
            "rss_mb_steady": round(statistics.median(one.rss for one in steady) / MB, 1),
            "rss_mb_end": round(samples[-1].rss / MB, 1),
            "rss_mb_per_hour": round(per_hour(steady, lambda one: one.rss / MB), 1),
            "cpu_percent_first_half": load(steady[: middle + 1]),
            "cpu_percent_second_half": load(steady[middle:]),
            "fds_end": samples[-1].fds,
            "fds_per_hour": round(per_hour(steady, lambda one: one.fds), 1),
            "threads_end": samples[-1].threads,
            "threads_per_hour": round(per_hour(steady, lambda one: one.threads), 1),
        }


def main() -> None:
    """Soak on a stack of its own, and print one JSON line."""
    minutes = float(os.environ.get("MINUTES", "10"))
    state = Path(os.environ.get("STATE") or ROOT / ".local" / "soak")
    shutil.rmtree(state, ignore_errors=True)
    stack = BenchStack(state)
    try:
        stack.up()
        kube = Kube(load_config(str(stack.cluster.kubeconfig)))
        operator = OperatorProcess(stack, str(stack.credentials["endpoint"]))
        soak = Soak(stack, kube, operator, int(os.environ.get("N", "20")))
        try:
            soak.prepare()
            log("all are Ready")
            result = soak.tell(soak.run(minutes), minutes)
        finally:
            operator.stop()
    finally:
        stack.down()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
