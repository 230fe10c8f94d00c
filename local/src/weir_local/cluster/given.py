"""A cluster that the user brings with ``KUBECONFIG``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from weir_local.cluster import toolchain
from weir_local.cluster.provider import ClusterError, link_programs, run


class GivenCluster:
    """The cluster of a kubeconfig that the user named. Weir neither starts nor stops it.

    Parameters
    ----------
    state
        A directory for links to kubectl and helm.
    kubeconfig
        The user's file.
    """

    runs_images = True

    def __init__(self, state: Path, kubeconfig: Path, environ: Mapping[str, str]) -> None:
        self.name = f"the cluster of KUBECONFIG={kubeconfig}"
        self.kubeconfig = kubeconfig
        self.bin_dir = state / "bin"
        self._environ = environ

    def start(self) -> None:
        """Find kubectl and helm.

        Raises
        ------
        ClusterError
            The kubeconfig is not there.
        """
        if not self.kubeconfig.exists():
            raise ClusterError(
                f"KUBECONFIG names {self.kubeconfig}, which is not there: correct it, or unset it"
                " to have a cluster of Weir's own"
            )
        link_programs(toolchain.clients(self._environ), self.bin_dir)

    def wait_ready(self, seconds: float = 60) -> None:
        """Return once the API server says that it is ready."""
        deadline = time.monotonic() + seconds
        while True:
            answer = run(
                self, "kubectl", "get", "--raw", "/readyz", "--request-timeout=5s", check=False
            )
            if answer.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"{self.name} does not answer: {answer.stderr.strip()}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Leave the user's cluster as it is."""

    def forget(self) -> None:
        """Leave the user's objects as they are."""

    def running(self) -> bool:
        """Whether its API answers."""
        return (
            self.kubeconfig.exists()
            and (self.bin_dir / "kubectl").exists()
            and run(
                self, "kubectl", "get", "--raw", "/readyz", "--request-timeout=5s", check=False
            ).returncode
            == 0
        )
