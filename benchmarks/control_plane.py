"""What the control plane costs: ``make bench-control-plane N=1000`` prints one JSON line.

A real API server, a local AWS with IAM enforced behind a proxy that counts, and the operator as a
process under its own ServiceAccount. N suspended DataSources, so that nothing is extracted, are
applied, the operator is restarted, drift rounds go by, and single edits are made while they do.
docs/benchmarks.md says what each key means.

Environment: ``N`` objects (1000), ``EDITS`` samples (60), ``KILL`` 0 leaves the kill-everywhere
test out (``OBJECTS`` as there), ``STATE`` a directory for the stack (.local/bench-control-plane),
``PROFILE`` a directory for a profile of each phase, which py-spy (to be found on PATH) takes, as
collapsed stacks.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.operator_process import BenchStack, OperatorProcess
from benchmarks.synced import Watched

from weir.kube.client import Kube, Object, load_config, path_of
from weir.kube.keys import API_VERSION, Key
from weir_local.proxy import ProxyProcess
from weir_local.stack import PLATFORM, ROOT

NAMESPACES = 10
APPLIERS = 4
"""Requests that the client which applies has open at a time."""
MANAGER = {"fieldManager": "bench", "force": "true"}
FEED = ("dynamodb", "Query")
"""How the operator follows runs: a poll at a fixed rate for each Platform, no matter how many
objects there are, and no part of looking for drift."""
ROUND_SECONDS = 60
"""The drift interval while one round's calls are counted."""
ROUNDS = 2
EDIT_INTERVAL = "5s"
"""The drift interval while edits are made: rounds follow each other closely."""
QUIET_SECONDS = 3.0
KILLED = ("kill_points", "orphans", "duplicates", "differences")
"""Keys that are taken over from benchmarks.kill_everywhere."""
MB = 1e6

Calls = Counter[tuple[str, str]]
"""Calls by botocore's service name and the operation."""


def log(text: str) -> None:
    """Progress, for who watches; the figures go to standard output."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def source(number: int, generation: int = 0) -> Object:
    """The DataSource of a number; each ``generation`` asks another URL."""
    name = f"orders-{number:05}"
    return {
        "apiVersion": API_VERSION,
        "kind": "DataSource",
        "metadata": {"name": name, "namespace": f"bench-{number % NAMESPACES}"},
        "spec": {
            "platform": PLATFORM,
            "suspend": True,
            "source": {
                "restApi": {
                    "endpoint": f"https://api.example.com/orders/{number}?since={generation}",
                    "schedule": "rate(1 hour)",
                    "dataSelector": "data",
                }
            },
            "schema": {
                "type": "json",
                "fields": [
                    {"name": "id", "type": "integer", "nullable": False},
                    {"name": "customer", "type": "string", "maxLength": 64},
                    {"name": "total", "type": "decimal(12,2)"},
                    {"name": "updated_at", "type": "timestamp"},
                ],
                "keys": ["id"],
            },
            "destination": {"prefix": f"orders-{number:05}/"},
        },
    }


def percentile(values: list[float], part: float) -> float:
    """The nearest-rank percentile; ``part`` in (0, 1]."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(len(ordered) * part * 100) // 100) - 1)]


@dataclass
class Bench:
    """One measurement of ``n`` objects."""

    n: int
    edits: int
    stack: BenchStack
    kube: Kube
    proxy: ProxyProcess
    operator: OperatorProcess
    watched: Watched
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        """Seconds after which a step counts as failed."""
        return 180 + 2.0 * self.n

    def apply(self, obj: Object) -> Object:
        """Server-side apply."""
        return self.kube.request(
            "PATCH",
            path_of(Key.of(obj)),
            obj,
            query=MANAGER,
            content_type="application/apply-patch+yaml",
        )

    def prepare(self) -> None:
        """Namespaces, the operator, and a Platform that is ready."""
        names = [f"bench-{number}" for number in range(NAMESPACES)]
        for name in names:
            self.stack.kubectl("create", "namespace", name)
        self.operator.start()
        self.apply(self.platform(f"{ROUND_SECONDS}s"))
        self.stack.kubectl("wait", "--for=condition=Ready", f"plat/{PLATFORM}", "--timeout=120s")
        self.settle()

    def platform(self, interval: str) -> Object:
        """The Platform with a drift interval."""
        names = [f"bench-{number}" for number in range(NAMESPACES)]
        return self.stack.bench_platform(self.proxy.endpoint, names, interval)

    def settle(self) -> None:
        """Wait until no call but the feed's is made for a while."""
        before, since = self.calls(), time.monotonic()
        end = since + self.limit
        while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < end:
            time.sleep(0.25)
            now = self.calls()
            if now != before:
                before, since = now, time.monotonic()

    def counts(self) -> Calls:
        """Calls so far."""
        return Counter(self.proxy.counts())

    def calls(self) -> Calls:
        """Calls so far without the feed's polls."""
        found = self.counts()
        found.pop(FEED, None)
        return found

    def create(self) -> None:
        """Apply all, and wait until all are Synced."""
        before, cpu = self.counts(), self.operator.cpu_seconds()
        began = time.monotonic()
        with ThreadPoolExecutor(APPLIERS) as pool:
            for _ in pool.map(self.apply, map(source, range(self.n))):
                pass
        applied = time.monotonic() - began
        log(f"applied in {applied:.1f} s")
        self.watched.wait(lambda: self.watched.synced() >= self.n, self.limit, "all Synced")
        seconds = time.monotonic() - began
        made = self.counts() - before
        self.result |= {
            "resources": self.watched.resources(),
            "apply_seconds": round(applied, 1),
            "create_seconds": round(seconds, 1),
            "aws_calls_create": made.total(),
            "aws_calls_per_resource_created": self.per_resource(made.total()),
            "cpu_seconds": round(self.operator.cpu_seconds() - cpu, 1),
            "create_rss_mb": round(self.operator.note_memory()),
        }
        self.tell("create", made)
        self.settle()

    def restart(self) -> None:
        """End the operator, start another, and wait until it has looked at everything."""
        self.operator.stop()
        before = self.counts()
        began = time.monotonic()
        self.operator.start()
        with self.profiled("restart"):
            self.operator.wait_ready(self.limit)
        seconds = time.monotonic() - began
        made = self.counts() - before
        self.result |= {
            "restart_seconds": round(seconds, 1),
            "aws_calls_restart": made.total(),
            "aws_calls_per_resource_restart": self.per_resource(made.total(), 3),
            "restart_cpu_seconds": round(self.operator.cpu_seconds(), 1),
            "restart_rss_mb": round(self.rss()),
        }
        self.tell("restart", made)

    def drift(self) -> None:
        """Count the calls of whole drift intervals, and time the rounds by the operator's metric."""
        self.settle_for_rounds()
        before, cpu, began = self.counts(), self.operator.cpu_seconds(), time.monotonic()
        rounds, seconds = self.rounds()
        end = began + ROUNDS * ROUND_SECONDS
        while time.monotonic() < end or self.rounds()[0] < rounds + ROUNDS:
            if time.monotonic() > end + self.limit:
                raise TimeoutError(f"{ROUNDS} drift rounds did not end in time")
            time.sleep(1)
        made = self.counts() - before
        ended, spent = self.rounds()
        count = ended - rounds
        polls = made.pop(FEED, 0)
        calls = made.total() / count
        self.result |= {
            "drift_round_seconds": round((spent - seconds) / count, 1),
            "drift_round_calls": round(calls, 1),
            "aws_calls_per_resource_drift_round": self.per_resource(calls, 4),
            "feed_calls_per_round": round(polls / count, 1),
            "drift_round_cpu_seconds": round((self.operator.cpu_seconds() - cpu) / count, 2),
        }
        self.tell(f"{ROUNDS} drift rounds", made)

    def rounds(self) -> tuple[float, float]:
        """Drift rounds that have ended since the operator's start, and their seconds together."""
        name = "weir_drift_round_seconds"
        return self.operator.metric(f"{name}_count"), self.operator.metric(f"{name}_sum")

    def settle_for_rounds(self) -> None:
        """What a restart leaves to do shall not count as drift."""
        time.sleep(QUIET_SECONDS)

    def edit(self) -> None:
        """One edit at a time while drift rounds go on, each from its answer to Synced."""
        self.apply(self.platform(EDIT_INTERVAL))
        time.sleep(2 * QUIET_SECONDS)
        before = self.calls()
        chosen = random.Random(1)
        seconds = []
        for sample in range(self.edits):
            answer = self.apply(source(chosen.randrange(self.n), sample + 1))
            began = time.monotonic()
            meta = answer["metadata"]
            name = f"{meta['namespace']}/{meta['name']}"
            end = self.watched.when(name, meta["generation"], 120.0)
            seconds.append(max(0.0, end - began))
            time.sleep(chosen.uniform(0.0, 0.3))
        log(f"edits: {[round(one, 2) for one in seconds]}")
        self.result |= {
            "edits": len(seconds),
            "edit_p50_seconds": round(statistics.median(seconds), 3),
            "edit_p99_seconds": round(percentile(seconds, 0.99), 3),
            "edit_max_seconds": round(max(seconds), 3),
        }
        self.tell("edits", self.calls() - before)

    @contextmanager
    def profiled(self, phase: str) -> Iterator[None]:
        """Take a profile of the operator meanwhile, where one is asked for."""
        directory = os.environ.get("PROFILE")
        if not directory:
            yield
            return
        file = Path(directory) / f"{phase}.folded"
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [
            "py-spy",
            "record",
            "--nonblocking",
            "-d",
            "86400",
            "-r",
            "20",
            "-f",
            "raw",
            "-o",
            str(file),
        ]
        sampler = subprocess.Popen(
            [*command, "-p", str(self.operator.pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            sampler.send_signal(signal.SIGINT)
            sampler.wait(60)

    def rss(self) -> float:
        """The resident size now, in MB."""
        pages = int(Path(f"/proc/{self.operator.pid}/statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGESIZE") / MB)

    def per_resource(self, calls: float, digits: int = 2) -> float:
        """Calls for each AWS resource of the objects."""
        resources = int(self.result.get("resources", self.watched.resources()))
        return round(calls / resources, digits)

    def tell(self, phase: str, made: Calls) -> None:
        """Where the calls went."""
        parts = ", ".join(f"{':'.join(name)} {number}" for name, number in made.most_common(40))
        log(f"{phase}: {json.dumps(self.result)}\n  calls: {parts}")


def measure(stack: BenchStack, n: int, edits: int) -> dict[str, Any]:
    """All figures of ``n`` objects on a stack that is up."""
    configuration = load_config(str(stack.cluster.kubeconfig))
    with ProxyProcess(stack.credentials["endpoint"], stack.state / "proxy.log") as proxy:
        operator = OperatorProcess(stack, proxy.endpoint)
        watched = Watched(configuration)
        bench = Bench(n, edits, stack, Kube(configuration), proxy, operator, watched, {"n": n})
        try:
            bench.prepare()
            with bench.profiled("create"):
                bench.create()
            bench.restart()
            with bench.profiled("drift"):
                bench.drift()
            with bench.profiled("edit"):
                bench.edit()
            bench.result["peak_rss_mb"] = round(operator.note_memory())
        finally:
            watched.stop()
            operator.stop()
    return bench.result


def killed_everywhere() -> dict[str, Any]:
    """What the kill-everywhere test comes to, in a process of its own: KILLED of its keys.

    Raises
    ------
    subprocess.CalledProcessError
        It did not come to its end; what it said is on standard error.
    """
    tests = ROOT / "tests"
    folders = [str(tests), str(tests / "faults"), os.environ.get("PYTHONPATH", "")]
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_everywhere"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    return {key: found[key] for key in KILLED}


def main() -> None:
    """Measure on a stack of its own, and print one JSON line."""
    n = int(os.environ.get("N", "1000"))
    state = Path(os.environ.get("STATE") or ROOT / ".local" / "bench-control-plane")
    shutil.rmtree(state, ignore_errors=True)
    stack = BenchStack(state)
    try:
        stack.up()
        log("the stack is up")
        result = measure(stack, n, int(os.environ.get("EDITS", "60")))
    finally:
        stack.down()
    if os.environ.get("KILL") != "0":
        log("kill everywhere")
        result |= killed_everywhere()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
