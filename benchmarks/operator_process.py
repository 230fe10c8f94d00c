"""A stack whose operator is a process that the bench starts and ends itself.

Its identity is the chart's ServiceAccount, its rights on AWS are those of docs/iam, and its way to
AWS leads through a proxy that counts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from weir_local.cluster import Cluster, ControlPlane, run
from weir_local.cluster.ports import free_port
from weir_local.stack import ARTIFACTS, CLUSTER_ID, NAMESPACE, PLATFORM, ROOT, Stack, platform

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 30.0


@dataclass
class BenchStack(Stack):
    """Cluster, local AWS and chart; the Deployment has no replica, and there is no Platform yet."""

    @property
    def cluster(self) -> Cluster:
        """A cluster of its own, whatever else the machine has."""
        return ControlPlane(self.state / "cluster", environ=os.environ)

    def _install(self) -> None:
        values = f"{{clusterId: {CLUSTER_ID}, replicas: 0}}"
        self.kubectl("create", "namespace", NAMESPACE)
        run(
            self.cluster,
            "helm", "install", "weir", str(ROOT / "charts" / "weir"),
            "--namespace", NAMESPACE, "--values", "-", "--wait", "--timeout", "60s",
            text=values,
        )  # fmt: skip

    def _apply_platform(self) -> None:
        """Later: the proxy's address is part of it."""

    def bench_platform(
        self, endpoint: str, namespaces: list[str], drift_interval: str
    ) -> dict[str, Any]:
        """The stack's Platform, reached through ``endpoint`` and granted to ``namespaces``."""
        wanted = platform(self.credentials)
        wanted["metadata"]["name"] = PLATFORM
        wanted["spec"]["endpointUrl"] = endpoint
        wanted["spec"]["driftInterval"] = drift_interval
        wanted["spec"]["grants"][0]["namespaces"] = {"names": namespaces}
        del wanted["spec"]["redshift"]
        return wanted


@dataclass
class OperatorProcess:
    """The operator, started and ended by the bench.

    Parameters
    ----------
    stack
        Gives cluster and credentials.
    endpoint
        Where it finds AWS.
    """

    stack: BenchStack
    endpoint: str
    peak_rss_mb: float = 0.0
    _process: subprocess.Popen[bytes] | None = None
    _port: int = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it is not ready yet."""
        directory = self.stack.state / "operator"
        directory.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        found = self.stack.credentials
        chosen = {
            "WEIR_CLUSTER_ID": CLUSTER_ID,
            "WEIR_ARTIFACTS": str(ARTIFACTS),
            "WEIR_LISTEN": f"127.0.0.1:{self._port}",
            "WEIR_LEASE_NAMESPACE": NAMESPACE,
            "WEIR_PER_OBJECT_METRICS": "false",
            "AWS_REGION": found["region"],
            "AWS_DEFAULT_REGION": found["region"],
            "AWS_ENDPOINT_URL": self.endpoint,
            **found["operator"],
        }
        command = [sys.executable, "-m", "weir", "--kubeconfig", str(self._kubeconfig(directory))]
        with (directory / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **chosen},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        if self._process is None:
            return
        self.note_memory()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait_ready(self, seconds: float) -> None:
        """Return once /readyz says that every object has been looked at.

        Raises
        ------
        TimeoutError
            It did not become ready in time, or ended.
        """
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise TimeoutError(f"the operator ended with {self._process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                said = error.read().decode()
            except OSError as error:
                said = str(error)
            time.sleep(0.05)
        raise TimeoutError(f"the operator is not ready after {seconds:.0f} s:\n{said}")

    def cpu_seconds(self) -> float:
        """CPU time of this process so far, user and system (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def note_memory(self) -> float:
        """Keep the largest resident size so far (VmHWM), in MB of 10^6 bytes; of all processes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_rss_mb = max(self.peak_rss_mb, int(line.split()[1]) * 1024 / 1e6)
        return self.peak_rss_mb

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as page:
            text = page.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _kubeconfig(self, directory: Path) -> Path:
        """One with the token of the chart's ServiceAccount, and nothing else."""
        path = directory / "kubeconfig"
        token = self.stack.kubectl(
            "create", "token", "weir", "--namespace", NAMESPACE, "--duration=24h"
        ).strip()
        config = yaml.safe_load(self.stack.cluster.kubeconfig.read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path
