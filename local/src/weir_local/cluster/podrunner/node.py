"""The Node that the pods run on, and the heartbeat that keeps it."""

from __future__ import annotations

import datetime
import threading

from weir_local.cluster.api import STRATEGIC_MERGE, Api, ApiError, Object
from weir_local.cluster.podrunner.container import now

NAME = "weir-local"
ADDRESS = "127.0.0.1"
LEASE_SECONDS = 40
RENEW_SECONDS = 10
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def register(api: Api, port: int, version: str) -> None:
    """Make the Node known and ready, whether it was there before or not.

    Parameters
    ----------
    port
        Where ``kubectl logs`` reaches the runner.
    version
        What ``kubectl get nodes`` shows.

    Raises
    ------
    ApiError
        The API server refuses.
    """
    try:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}},
        }
        api.call("POST", "/api/v1/nodes", node)
    except ApiError as error:
        if error.status != 409:
            raise
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "500"}
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            {"type": "InternalIP", "address": ADDRESS},
            {"type": "Hostname", "address": NAME},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {
            "kubeletVersion": version,
            "containerRuntimeVersion": "process://1",
            "operatingSystem": "linux",
            "architecture": "",
            "bootID": "",
            "kernelVersion": "",
            "kubeProxyVersion": "",
            "machineID": "",
            "osImage": "processes of this machine",
            "systemUUID": "",
        },
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "PodRunnerReady",
                "message": "pods run as processes of this machine",
                "lastHeartbeatTime": now(),
                "lastTransitionTime": now(),
            }
        ],
    }
    api.call("PATCH", f"/api/v1/nodes/{NAME}/status", {"status": status}, content=STRATEGIC_MERGE)
    renew(api)


def renew(api: Api) -> None:
    """Renew the Node's Lease, without which its pods are evicted after 40 s."""
    time = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        "holderIdentity": NAME,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": time,
    }
    lease: Object = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": "kube-node-lease"},
        "spec": spec,
    }
    try:
        api.call("PATCH", f"{_LEASES}/{NAME}", {"spec": spec}, content=STRATEGIC_MERGE)
    except ApiError as error:
        if error.status != 404:
            raise
        api.call("POST", _LEASES, lease)


def keep_alive(api: Api, port: int, version: str, stop: threading.Event) -> None:
    """Renew the Lease every 10 s until ``stop``, and the Node where it was lost meanwhile.

    A machine that slept finds its Node marked as unknown, which renewing alone does not undo. A
    failure is told and tried again.
    """
    while not stop.wait(RENEW_SECONDS):
        try:
            renew(api)
            if not ready(api):
                register(api, port, version)
        except ApiError as error:
            print(f"the node's lease was not renewed: {error}", flush=True)


def ready(api: Api) -> bool:
    """Whether the Node is there, and taken for ready."""
    try:
        node = api.call("GET", f"/api/v1/nodes/{NAME}")
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    conditions = node.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
