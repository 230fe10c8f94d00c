"""A real control plane as processes of this machine: etcd, API server, controllers, pod runner."""

from __future__ import annotations

import base64
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization

from weir_local.cluster import images, toolchain
from weir_local.cluster.api import Api, ApiError
from weir_local.cluster.certificates import Authority, private_key
from weir_local.cluster.images import Image
from weir_local.cluster.ports import LOOPBACK, free_ports
from weir_local.cluster.processes import Processes
from weir_local.cluster.provider import ClusterError, link_programs

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
)
API = ("etcd", "kube-apiserver")
READY = "/readyz"
# Ends before what it depends on does.
STOP_ORDER = ("podrunner", "kube-controller-manager", "kube-apiserver", "etcd")


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager and the pod runner on loopback.

    RBAC and the default admission plugins (ServiceAccount, PodSecurity among them) are on. Data,
    certificates and logs are in the state directory and outlast :meth:`stop`; ports are new at each
    start.

    Parameters
    ----------
    state
        The state directory. One control plane each.
    controllers
        Whether kube-controller-manager runs. Without it there are no default ServiceAccounts, no
        Pods of Deployments, no garbage collection and no namespace deletion.
    pods
        What stands in for container images; the pod runner starts when there are any.
    environ
        Where ``KUBEBUILDER_ASSETS``, ``WEIR_CACHE`` and PATH are looked up.
    """

    runs_images = False

    def __init__(
        self,
        state: Path,
        *,
        controllers: bool = True,
        pods: Sequence[Image] = (),
        environ: Mapping[str, str],
    ) -> None:
        self.name = "control plane built from Go modules (no KUBECONFIG given, no kind)"
        if environ.get("KUBEBUILDER_ASSETS"):
            self.name = f"control plane of KUBEBUILDER_ASSETS={environ['KUBEBUILDER_ASSETS']}"
        self.state = state.absolute()
        self.kubeconfig = self.state / "kubeconfig"
        self.bin_dir = self.state / "bin"
        self.processes = Processes(self.state / "processes")
        self._controllers = controllers
        self._pods = tuple(pods)
        self._environ = environ

    def start(self) -> None:
        """Start what does not run yet. Returns before the API answers: see :meth:`wait_ready`.

        Raises
        ------
        ToolchainError
            A program is missing and cannot be built.
        """
        programs = toolchain.programs(self._environ)
        link_programs(programs, self.bin_dir)
        if not all(self.processes.running(name) for name in API):
            self.stop()
            self._start_api(programs)
        if self._controllers:
            self._start_controllers(programs)
        if self._pods:
            images.write(self._pods, self.state / "images.json")
            self._start_pod_runner()

    def wait_ready(self, seconds: float = 120) -> None:
        """Return once the API server is ready and, with controllers, namespaces get their account.

        Parameters
        ----------
        seconds
            The most time to spend.

        Raises
        ------
        ClusterError
            A process ended or the time was up; the text has the end of its log.
        """
        wanted = [READY]
        if self._controllers:
            wanted.append("/api/v1/namespaces/default/serviceaccounts/default")
            wanted.append("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        if self._pods:
            wanted.append("/api/v1/nodes/weir-local")
        deadline = time.monotonic() + seconds
        api = Api(self.kubeconfig)
        for path in wanted:
            while (complaint := _complaint(api, path)) is not None:
                self._check_alive(self._expected() if path != READY else API)
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"the control plane is not ready after {seconds:.0f} s ({complaint}); the"
                        f" logs are in {self.processes.directory}"
                    )
                time.sleep(0.1)
            if path == READY and self._controllers:
                # They wait some seconds for the API server, and no longer.
                self._start_controllers(toolchain.programs(self._environ))

    def stop(self) -> None:
        """End the processes that :meth:`start` recorded, and the pods' containers with them."""
        for name in STOP_ORDER:
            self.processes.stop(name)
        # A pod runner that was killed left its containers behind.
        for directory in (self.state / "pods").glob("*/processes"):
            leftovers = Processes(directory)
            for record in directory.glob("*.json"):
                leftovers.stop(record.stem)

    def forget(self) -> None:
        """End what runs, and begin without objects at the next start."""
        self.stop()
        shutil.rmtree(self._store, ignore_errors=True)

    @property
    def _store(self) -> Path:
        """Where etcd keeps the objects."""
        return self.state / "etcd"

    def running(self) -> bool:
        """Whether all its processes run."""
        return all(self.processes.running(name) for name in self._expected())

    def status(self) -> dict[str, bool]:
        """Whether each of its processes runs, by name."""
        return {name: self.processes.running(name) for name in reversed(STOP_ORDER)}

    def _expected(self) -> list[str]:
        names = [*API]
        if self._controllers:
            names.append("kube-controller-manager")
        if self._pods:
            names.append("podrunner")
        return names

    def _check_alive(self, names: Sequence[str]) -> None:
        for name in names:
            if not self.processes.running(name):
                raise ClusterError(
                    f"{name} ended; its log {self.processes.log(name)} says:\n"
                    f"{self.processes.tail(name)}"
                )

    def _start_api(self, programs: Mapping[str, Path]) -> None:
        certificates = self._certificates()
        client, peer, secure, kubelet = free_ports(4)
        etcd = f"https://{LOOPBACK}:{client}"
        authority = certificates / "ca.crt"
        (self.state / "kubelet-port").write_text(str(kubelet))
        self.processes.start(
            "etcd",
            [
                str(programs["etcd"]),
                "--name=weir",
                f"--data-dir={self._store}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=https://{LOOPBACK}:{peer}",
                f"--initial-advertise-peer-urls=https://{LOOPBACK}:{peer}",
                f"--initial-cluster=weir=https://{LOOPBACK}:{peer}",
                "--force-new-cluster",
                f"--cert-file={certificates / 'server.crt'}",
                f"--key-file={certificates / 'server.key'}",
                f"--trusted-ca-file={authority}",
                "--client-cert-auth",
                f"--peer-cert-file={certificates / 'server.crt'}",
                f"--peer-key-file={certificates / 'server.key'}",
                f"--peer-trusted-ca-file={authority}",
                "--peer-client-cert-auth",
                # Losing the last writes in a power cut is fine here; waiting for disks is not.
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
        self.processes.start(
            "kube-apiserver",
            [
                str(programs["kube-apiserver"]),
                f"--etcd-servers={etcd}",
                f"--etcd-cafile={authority}",
                f"--etcd-certfile={certificates / 'server.crt'}",
                f"--etcd-keyfile={certificates / 'server.key'}",
                f"--bind-address={LOOPBACK}",
                f"--advertise-address={LOOPBACK}",
                # A Service may not have loopback endpoints, so the API server's own has none.
                "--endpoint-reconciler-type=none",
                f"--secure-port={secure}",
                f"--tls-cert-file={certificates / 'server.crt'}",
                f"--tls-private-key-file={certificates / 'server.key'}",
                f"--client-ca-file={authority}",
                f"--kubelet-certificate-authority={authority}",
                f"--kubelet-client-certificate={certificates / 'server.crt'}",
                f"--kubelet-client-key={certificates / 'server.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-key-file={certificates / 'service-account.pub'}",
                f"--service-account-signing-key-file={certificates / 'service-account.key'}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--authorization-mode=RBAC",
                "--profiling=false",
            ],
        )
        self._write_kubeconfig(f"https://{LOOPBACK}:{secure}", certificates)

    def _start_controllers(self, programs: Mapping[str, Path]) -> None:
        certificates = self.state / "certificates"
        self.processes.start(
            "kube-controller-manager",
            [
                str(programs["kube-controller-manager"]),
                f"--kubeconfig={self.kubeconfig}",
                f"--root-ca-file={certificates / 'ca.crt'}",
                f"--service-account-private-key-file={certificates / 'service-account.key'}",
                "--use-service-account-credentials",
                f"--controllers={','.join(CONTROLLERS)}",
                f"--bind-address={LOOPBACK}",
                "--secure-port=0",
                "--leader-elect=false",
                "--profiling=false",
            ],
        )

    def _start_pod_runner(self) -> None:
        certificates = self.state / "certificates"
        self.processes.start(
            "podrunner",
            [
                sys.executable,
                "-m",
                "weir_local.cluster.podrunner",
                f"--kubeconfig={self.kubeconfig}",
                f"--images={self.state / 'images.json'}",
                f"--directory={self.state / 'pods'}",
                f"--port={(self.state / 'kubelet-port').read_text()}",
                f"--certificate={certificates / 'server.crt'}",
                f"--key={certificates / 'server.key'}",
                f"--authority={certificates / 'ca.crt'}",
            ],
        )

    def _certificates(self) -> Path:
        """The directory of the certificates, made at the first start."""
        directory = self.state / "certificates"
        if not (directory / "complete").exists():
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            authority = Authority(directory)
            authority.issue("server", "weir-local")
            authority.issue("admin", "weir-local-admin", "system:masters")
            key = private_key(directory / "service-account.key")
            (directory / "service-account.pub").write_bytes(
                key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
            (directory / "complete").touch()
        return directory

    def _write_kubeconfig(self, server: str, certificates: Path) -> None:
        def data(name: str) -> str:
            return base64.b64encode((certificates / name).read_bytes()).decode()

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "weir-local",
            "contexts": [
                {"name": "weir-local", "context": {"cluster": "weir-local", "user": "admin"}}
            ],
            "clusters": [
                {
                    "name": "weir-local",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": data("ca.crt"),
                    },
                }
            ],
            "users": [
                {
                    "name": "admin",
                    "user": {
                        "client-certificate-data": data("admin.crt"),
                        "client-key-data": data("admin.key"),
                    },
                }
            ],
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))


def _complaint(api: Api, path: str) -> str | None:
    """Why ``path`` has no answer yet; None when it has."""
    try:
        api.call("GET", path)
    except ApiError as error:
        return str(error)
    return None
