"""A kind cluster, where a Docker daemon answers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from weir_local.cluster import toolchain
from weir_local.cluster.given import GivenCluster
from weir_local.cluster.provider import ClusterError, link_programs


def available(environ: Mapping[str, str]) -> bool:
    """Whether kind is installed and a Docker daemon answers within 5 seconds."""
    path = environ.get("PATH")
    docker = shutil.which("docker", path=path)
    if docker is None or shutil.which("kind", path=path) is None:
        return False
    try:
        answer = subprocess.run(
            [docker, "info"], capture_output=True, timeout=5, env=dict(environ), check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


class KindCluster(GivenCluster):
    """A kind cluster of our own, named after the state directory, with a kubeconfig in it."""

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        super().__init__(state, state / "kubeconfig", environ)
        self.name = "kind (a Docker daemon answers)"
        mark = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8]
        self.cluster_name = f"weir-{mark}"

    def start(self) -> None:
        """Create the cluster unless it exists, and write its kubeconfig.

        Raises
        ------
        ClusterError
            kind failed.
        """
        self.bin_dir.mkdir(parents=True, exist_ok=True)
        if self.cluster_name not in self._kind("get", "clusters").split():
            self._kind("create", "cluster", "--name", self.cluster_name,
                       "--kubeconfig", str(self.kubeconfig), "--wait", "120s")  # fmt: skip
        config = self._kind("get", "kubeconfig", "--name", self.cluster_name)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(config)
        link_programs(toolchain.clients(self._environ), self.bin_dir)

    def load_image(self, image: str) -> None:
        """Make an image of the local Docker daemon known to the cluster's node."""
        self._kind("load", "docker-image", image, "--name", self.cluster_name)

    def stop(self) -> None:
        """Delete the cluster."""
        self._kind("delete", "cluster", "--name", self.cluster_name,
                   "--kubeconfig", str(self.kubeconfig))  # fmt: skip
        self.kubeconfig.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete the cluster, and its objects with it."""
        if self.kubeconfig.exists():
            self.stop()

    def running(self) -> bool:
        """Whether kind knows the cluster, and its API answers."""
        return self.kubeconfig.exists() and super().running()

    def _kind(self, *arguments: str) -> str:
        result = subprocess.run(
            ["kind", *arguments],
            capture_output=True,
            text=True,
            env=dict(self._environ),
            check=False,
        )
        if result.returncode:
            raise ClusterError(f"kind {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout
