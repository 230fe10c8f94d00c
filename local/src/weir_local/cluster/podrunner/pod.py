"""One pod, from its binding to its end, in a thread of its own."""

from __future__ import annotations

import datetime
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from weir_local.cluster import images
from weir_local.cluster.api import STRATEGIC_MERGE, Api, ApiError
from weir_local.cluster.images import Image
from weir_local.cluster.podrunner import ports, values, volumes
from weir_local.cluster.podrunner.container import Container, Launch, now
from weir_local.cluster.podrunner.node import ADDRESS
from weir_local.cluster.podrunner.values import NotThere
from weir_local.cluster.processes import Processes

Object = dict[str, Any]
TICK_SECONDS = 0.1
MISSING_RETRY_SECONDS = 1.0
REFRESH_SECONDS = 60.0
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# A token is renewed when it has lived 80 % of its life, as a kubelet does.
TOKEN_SHARE = 0.8


class Pod:
    """Runs one pod until it is gone.

    Parameters
    ----------
    api
        The API server.
    pod
        As it was when it came to this node.
    available
        What stands in for container images.
    directory
        Its own directory.
    address
        Its ``status.podIP``: unique, but nothing listens there.
    namespaces
        Whether this machine lets processes have mounts of their own.
    """

    def __init__(
        self,
        api: Api,
        pod: Object,
        available: Sequence[Image],
        directory: Path,
        address: str,
        namespaces: bool,
    ) -> None:
        self.pod = pod
        self.metadata: Object = pod["metadata"]
        self.namespace: str = self.metadata["namespace"]
        self.name: str = self.metadata["name"]
        self._api = api
        self._available = available
        self._directory = directory
        self._address = address
        self._namespaces = namespaces
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self._wake = threading.Event()
        self._gone = threading.Event()
        self._leave = threading.Event()
        self._started = now()
        self._ports = ports.choose(pod)
        self._written: Object = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._refreshed = 0.0
        self._sources: dict[str, Path] = {}
        self._transitions: dict[str, tuple[str, str]] = {}
        self._last_event = ("", "")
        processes = Processes(directory / "processes")
        self._init = [self._container(spec, processes) for spec in self._specs("initContainers")]
        self._main = [self._container(spec, processes) for spec in self._specs("containers")]
        self._thread = threading.Thread(target=self._run, name=f"{self.namespace}/{self.name}")
        self._thread.start()

    def update(self, pod: Object) -> None:
        """Take in a newer version of the object."""
        self.pod = pod
        self._wake.set()

    def gone(self) -> None:
        """The object is deleted: end the processes at once."""
        self._gone.set()
        self._wake.set()

    def leave(self) -> None:
        """End the processes, and leave the object as it is: the runner ends."""
        self._leave.set()
        self._wake.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    @property
    def finished(self) -> bool:
        """Whether its thread has ended."""
        return not self._thread.is_alive()

    def log(self, container: str, previous: bool) -> tuple[Path, Callable[[], bool]] | None:
        """The log file of a container, and whether more may come."""
        for each in (*self._main, *self._init):
            if each.name == container:
                path = each.previous_log if previous else each.log
                return (path, each.is_running) if path.exists() else None
        return None

    # -- its life -----------------------------------------------------------------------------

    def _run(self) -> None:
        end_leftovers(self._directory)
        try:
            self._live()
        finally:
            for container in (*self._main, *self._init):
                container.end(2.0)
            volumes.remove(self._directory)

    def _live(self) -> None:
        if self._ports.moved:
            self._try(self._path, {"metadata": {"annotations": {
                ports.CHOSEN: self._ports.annotation}}})  # fmt: skip
        while not (self._gone.is_set() or self._leave.is_set()):
            if self.pod["metadata"].get("deletionTimestamp"):
                self._delete()
                return
            self._step()
            self._write_status()
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
        grace = 10.0 if self._leave.is_set() else 1.0
        self._end_all(grace)

    def _step(self) -> None:
        """Look at each container, and start what is due."""
        self._refresh()
        for container in (*self._init, *self._main):
            if container.look() and self._restarts(container):
                container.restart_later()
        for container in self._init:
            if container.exit_code == 0 and not container.waiting:
                continue
            if not container.running and not self._failed(container):
                self._start(container)
            return
        for container in self._main:
            if container.running or (container.exit_code is not None and not container.waiting):
                continue
            self._start(container)

    def _restarts(self, container: Container) -> bool:
        """Whether a container that ended is to run again, by the pod's restart policy."""
        policy = self.pod["spec"].get("restartPolicy", "Always")
        failed = container.exit_code != 0
        if container in self._init:
            return failed and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and failed)

    def _failed(self, container: Container) -> bool:
        return container.exit_code not in (None, 0) and not container.waiting

    def _start(self, container: Container) -> None:
        if time.monotonic() < container.may_start_at:
            return
        image = images.find(self._available, container.spec["image"])
        if image is None:
            patterns = ", ".join(each.pattern for each in self._available)
            message = f"this runner has programs for {patterns}, not for {container.spec['image']}"
            container.waiting = ("ErrImagePull", message)
            container.may_start_at = time.monotonic() + REFRESH_SECONDS
            self._event("Failed", message)
            return
        if "command" not in container.spec:
            message = "a container needs an explicit command here, where images have no entry point"
            container.waiting = ("CreateContainerConfigError", message)
            container.may_start_at = time.monotonic() + REFRESH_SECONDS
            self._event("Failed", message)
            return
        try:
            launch = self._launch(container, image)
        except (NotThere, ApiError) as error:
            container.waiting = ("CreateContainerConfigError", str(error))
            container.may_start_at = time.monotonic() + MISSING_RETRY_SECONDS
            self._event("Failed", str(error))
            return
        container.start(launch)

    def _end_all(self, grace: float) -> None:
        """SIGTERM to all, then SIGKILL to those left after ``grace`` seconds together."""
        containers = [each for each in (*self._main, *self._init) if each.running]
        for container in containers:
            container.stop_probes()
            container.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        while any(each.running for each in containers) and time.monotonic() < deadline:
            for container in containers:
                container.look()
            if self._gone.is_set():
                break
            time.sleep(0.05)
        for container in containers:
            container.end(0.0)

    def _delete(self) -> None:
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        self._event("Killing", "Stopping the pod's containers")
        self._end_all(grace)
        self._write_status()
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.metadata["uid"]},
        }
        while not (self._gone.is_set() or self._leave.is_set()):
            try:
                self._api.call("DELETE", self._path, options)
            except ApiError as error:
                if error.status in (404, 409):
                    return
                print(f"{self._path}: {error}", flush=True)
                time.sleep(1.0)
            else:
                return

    # -- what a container gets ----------------------------------------------------------------

    def _launch(self, container: Container, image: Image) -> Launch:
        server = urlsplit(self._api.server)
        home = self._directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        base = {
            "HOME": str(home),
            "HOSTNAME": self.name,
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
            **image.environment,
        }
        mounts: list[dict[str, object]] = []
        declared = {volume["name"]: volume for volume in self.pod["spec"].get("volumes", ())}
        for mount in container.spec.get("volumeMounts", ()):
            source = self._volume(declared[mount["name"]])
            if mount.get("subPath"):
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            mounts.append({
                "source": str(source),
                "target": mount["mountPath"],
                "readOnly": mount.get("readOnly", False),
            })  # fmt: skip
        pod = {**self.pod, "status": {**self.pod.get("status", {}), **self._addresses()}}
        environment = values.environment(pod, container.spec, base, self._lookup)
        environment = self._ports.environment(environment)
        if not self._namespaces:
            environment |= self._without_mounts(mounts)
        return Launch(image, environment, mounts if self._namespaces else None, home)

    def _without_mounts(self, mounts: Sequence[Object]) -> dict[str, str]:
        """Variables that stand in for mounts: a kubeconfig for the token, TMPDIR for /tmp."""
        extra = {}
        for mount in mounts:
            if mount["target"] == TOKEN_MOUNT:
                source = Path(str(mount["source"]))
                config = self._directory / "kubeconfig"
                config.write_text(yaml.safe_dump(_token_config(self._api.server, source)))
                extra["KUBECONFIG"] = str(config)
            elif mount["target"] == "/tmp":
                extra["TMPDIR"] = str(mount["source"])
            else:
                self._event("FailedMount", f"this machine forbids mount namespaces: {mount['target']}"
                                           " is not there for the container")  # fmt: skip
        return extra

    def _volume(self, volume: Object) -> Path:
        path = volumes.materialise(
            self.pod, volume, self._directory / "volumes", self._lookup, self._token
        )
        self._sources[volume["name"]] = path
        return path

    def _refresh(self) -> None:
        """Once a minute, bring tokens and mounted ConfigMaps and Secrets up to date."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        for volume in self.pod["spec"].get("volumes", ()):
            if volume["name"] in self._sources and volumes.changing(volume):
                try:
                    self._volume(volume)
                except (NotThere, ApiError) as error:
                    self._event("FailedMount", str(error))

    def _token(self, request: Object) -> str:
        audience = request.get("audience", "")
        token, expires = self._tokens.get(audience, ("", 0.0))
        if time.monotonic() < expires:
            return token
        seconds = int(request.get("expirationSeconds", 3600))
        account = self.pod["spec"].get("serviceAccountName", "default")
        answer = self._api.call(
            "POST",
            f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [audience] if audience else [],
                    "expirationSeconds": seconds,
                    "boundObjectRef": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": self.name,
                        "uid": self.metadata["uid"],
                    },
                },
            },
        )
        token = str(answer["status"]["token"])
        until = datetime.datetime.fromisoformat(answer["status"]["expirationTimestamp"])
        life = (until - datetime.datetime.now(datetime.UTC)).total_seconds()
        # Admission asks for a year of the API server's own audience, of which a kubelet uses an hour.
        self._tokens[audience] = (token, time.monotonic() + min(life, seconds) * TOKEN_SHARE)
        return token

    def _lookup(self, kind: str, name: str) -> Object | None:
        try:
            return self._api.call("GET", f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    # -- what it tells ------------------------------------------------------------------------

    def _addresses(self) -> Object:
        return {
            "hostIP": ADDRESS,
            "hostIPs": [{"ip": ADDRESS}],
            "podIP": self._address,
            "podIPs": [{"ip": self._address}],
        }

    def _phase(self) -> str:
        if any(self._failed(each) for each in self._init):
            return "Failed"
        if any(each.exit_code != 0 or each.waiting for each in self._init):
            return "Pending"
        if all(each.exit_code is not None and not each.waiting for each in self._main):
            return "Failed" if any(each.exit_code for each in self._main) else "Succeeded"
        begun = any(each.running or each.exit_code is not None for each in self._main)
        return "Running" if begun else "Pending"

    def _status(self) -> Object:
        phase = self._phase()
        initialized = all(each.exit_code == 0 for each in self._init)
        over = phase in ("Succeeded", "Failed")
        ready = all(each.ready for each in self._main) and not over
        lagging = [each.name for each in self._main if not each.ready]
        why = ("PodCompleted", "") if over else (
            "ContainersNotReady",
            "; ".join(filter(None, (each.complaint() for each in self._main)))
            or f"containers with unready status: {', '.join(lagging)}",
        )  # fmt: skip
        return {
            **self._addresses(),
            "phase": phase,
            "startTime": self._started,
            "conditions": [
                self._condition("PodScheduled", True),
                self._condition("PodReadyToStartContainers", bool(self._sources) or not over),
                self._condition("Initialized", initialized or over),
                self._condition("ContainersReady", ready, why),
                self._condition("Ready", ready, why),
            ],
            "containerStatuses": [each.state() for each in self._main],
            **({"initContainerStatuses": [each.state() for each in self._init]}
               if self._init else {}),
        }  # fmt: skip

    def _condition(self, kind: str, true: bool, why: tuple[str, str] = ("", "")) -> Object:
        status = "True" if true else "False"
        before, since = self._transitions.get(kind, ("", ""))
        if status != before:
            since = now()
            self._transitions[kind] = (status, since)
        reason, message = ("", "") if true else why
        return {"type": kind, "status": status, "lastTransitionTime": since,
                "reason": reason or None, "message": message or None}  # fmt: skip

    def _write_status(self) -> None:
        status = self._status()
        if status != self._written and self._try(f"{self._path}/status", {"status": status}):
            self._written = status

    def _try(self, path: str, patch: Object) -> bool:
        """Patch, unless the object has been replaced by another of the same name."""
        patch.setdefault("metadata", {})["uid"] = self.metadata["uid"]
        try:
            self._api.call("PATCH", path, patch, content=STRATEGIC_MERGE)
        except ApiError as error:
            if error.status in (404, 409):
                self.gone()
            else:
                print(f"{path}: {error}", flush=True)
            return False
        return True

    def _event(self, reason: str, message: str) -> None:
        if (reason, message) == self._last_event:
            return
        self._last_event = (reason, message)
        print(f"{self.namespace}/{self.name}: {reason}: {message}", flush=True)
        time_now = now()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{self.name}.", "namespace": self.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.metadata["uid"],
            },
            "reason": reason,
            "message": message[:1024],
            "type": "Normal" if reason in ("Started", "Killing") else "Warning",
            "source": {"component": "podrunner"},
            "firstTimestamp": time_now,
            "lastTimestamp": time_now,
            "count": 1,
        }
        try:
            self._api.call("POST", f"/api/v1/namespaces/{self.namespace}/events", event)
        except ApiError as error:
            # A namespace that is being deleted takes no events; the log above has it.
            print(f"event not written: {error}", flush=True)

    def _specs(self, kind: str) -> Sequence[Object]:
        return list(self.pod["spec"].get(kind, ()))

    def _container(self, spec: Object, processes: Processes) -> Container:
        return Container(spec, processes, self._ports, self._wake.set, self._event)


def end_leftovers(directory: Path) -> None:
    """End processes that an earlier runner, since killed, left behind for this pod."""
    processes = Processes(directory / "processes")
    for record in processes.directory.glob("*.json"):
        processes.stop(record.stem, grace=2.0)


def _token_config(server: str, account: Path) -> Object:
    """A kubeconfig that reads its token from a file each time."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "contexts": [
            {
                "name": "pod",
                "context": {
                    "cluster": "pod",
                    "user": "pod",
                    "namespace": (account / "namespace").read_text(),
                },
            }
        ],
        "clusters": [
            {
                "name": "pod",
                "cluster": {"server": server, "certificate-authority": str(account / "ca.crt")},
            }
        ],
        "users": [{"name": "pod", "user": {"tokenFile": str(account / "token")}}],
    }
