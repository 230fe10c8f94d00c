"""The cluster that the demo and the tests use: one interface, three providers.

In this order: the cluster of ``KUBECONFIG`` where the user sets that (a kubeconfig in the home
directory is never looked at); kind where it is installed and a Docker daemon answers; else a real
control plane of processes on loopback, from ``KUBEBUILDER_ASSETS`` or built once from Go modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from weir_local.cluster import kind
from weir_local.cluster.controlplane import ControlPlane
from weir_local.cluster.given import GivenCluster
from weir_local.cluster.images import Image
from weir_local.cluster.kind import KindCluster
from weir_local.cluster.provider import Cluster, ClusterError, environment, run

__all__ = [
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "GivenCluster",
    "Image",
    "KindCluster",
    "choose",
    "environment",
    "run",
    "temporary",
]


def choose(
    state: Path, *, pods: Sequence[Image] = (), environ: Mapping[str, str] | None = None
) -> Cluster:
    """The cluster to use.

    Parameters
    ----------
    state
        The state directory, under which kubeconfig, data and logs go.
    pods
        What the pod runner takes in place of container images, where it is needed.
    environ
        This process's environment when left out. A ``KUBECONFIG`` that is the state directory's own
        (a shell that read ``env.sh``) is not the user's, and does not count.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("KUBECONFIG")
    own = (state / "kubeconfig").absolute()
    if given and Path(given).absolute() != own:
        return GivenCluster(state.absolute(), Path(given), environ)
    if kind.available(environ):
        return KindCluster(state.absolute(), environ)
    return ControlPlane(state, pods=pods, environ=environ)


@contextmanager
def temporary(
    state: Path, *, pods: Sequence[Image] = (), environ: Mapping[str, str] | None = None
) -> Iterator[ControlPlane]:
    """A control plane of its own for as long as the block runs: for tests.

    Parameters are those of :func:`choose`; whatever else the machine has is not looked at.
    """
    cluster = ControlPlane(state, pods=pods, environ=os.environ if environ is None else environ)
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()
