"""What every cluster that Weir can use offers, whoever runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class ClusterError(RuntimeError):
    """A cluster does not start or answer; the text says why, and what to do."""


class Cluster(Protocol):
    """One Kubernetes cluster. Every method is safe to repeat.

    Attributes
    ----------
    name
        Which provider this is, and why, for people: ``kind (Docker answers)``.
    kubeconfig
        A file for kubectl, helm and clients.
    bin_dir
        Where its kubectl and helm are.
    runs_images
        Whether real container images run in it, so that the operator's must be built and loaded.
    """

    name: str
    kubeconfig: Path
    bin_dir: Path
    runs_images: bool

    def start(self) -> None:
        """Start it where it does not run, and write :attr:`kubeconfig`."""

    def wait_ready(self, seconds: float = 60) -> None:
        """Return once its API answers.

        Raises
        ------
        ClusterError
            It did not within ``seconds``.
        """

    def stop(self) -> None:
        """End what :meth:`start` started; a cluster that the user brought stays as it is."""

    def forget(self) -> None:
        """End it, and begin without objects at the next start; one that the user brought stays as it
        is."""

    def running(self) -> bool:
        """Whether it runs now."""


def environment(cluster: Cluster, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """``base`` (this process's environment when left out) with the cluster's kubectl and config."""
    base = os.environ if base is None else base
    return {
        **base,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PATH": f"{cluster.bin_dir}{os.pathsep}{base.get('PATH', os.defpath)}",
    }


def run(
    cluster: Cluster, *command: str, text: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``kubectl`` or ``helm`` against a cluster.

    Parameters
    ----------
    cluster
        Where.
    command
        Program and arguments: ``"kubectl", "get", "pods"``.
    text
        Its standard input.
    check
        Whether an exit code but 0 raises.

    Raises
    ------
    ClusterError
        It failed; the text is what it printed.
    """
    result = subprocess.run(
        command,
        input=text,
        env=environment(cluster),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and result.returncode:
        raise ClusterError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result


def link_programs(programs: Mapping[str, Path], directory: Path) -> None:
    """Make ``directory`` hold links to ``programs``, so that one PATH entry reaches all."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, target in programs.items():
        link = directory / name
        if not (link.is_symlink() and link.readlink() == target.absolute()):
            partial = directory / f".{name}.{os.getpid()}"
            partial.symlink_to(target.absolute())
            partial.replace(link)
