"""Leases of coordination.k8s.io/v1: what one says, and the few requests that are made of them.

Names and labels make the Leases of one cluster id findable by one listing:

* ``weir-<cluster>.platform.<name>``: who works for a Platform;
* ``weir-<cluster>.unassigned``: who looks after objects that no Platform is there for;
* ``weir-<cluster>.replica.<hash>``: a replica is alive, whether it holds something or not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from weir.kube.client import Gone, Kube, Object, Stale

API = "/apis/coordination.k8s.io/v1"
CLUSTER_LABEL = "weir.dev/cluster"
ROLE_LABEL = "weir.dev/lease"
PLATFORM_ANNOTATION = "weir.dev/platform"
PLATFORM, UNASSIGNED, REPLICA = "platform", "unassigned", "replica"
NO_PLATFORM = ""
"""Stands for the objects whose Platform does not exist."""
NAME_LIMIT = 253
"""Characters of an object's name (RFC 1123 subdomain)."""
PAGE = "500"


@dataclass(frozen=True)
class Lease:
    """One Lease, as far as the election reads and writes it.

    Parameters
    ----------
    name
        Its name in the operator's namespace.
    role
        ``platform``, ``unassigned`` or ``replica``.
    platform
        The Platform's name; empty where the role is another.
    holder
        ``spec.holderIdentity``; empty where it is free.
    duration
        Seconds for which the holder may be trusted after it has renewed.
    transitions
        ``spec.leaseTransitions``: how often it was acquired.
    version
        ``metadata.resourceVersion``; empty before it exists.
    acquired, renewed
        Wall-clock times for people, RFC 3339. Nothing is decided by them: clocks differ.
    """

    name: str
    role: str
    platform: str = ""
    holder: str = ""
    duration: float = 15.0
    transitions: int = 0
    version: str = ""
    acquired: str = ""
    renewed: str = ""

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Lease:
        """From the API server's answer."""
        meta, spec = obj["metadata"], obj.get("spec") or {}
        return cls(
            name=meta["name"],
            role=(meta.get("labels") or {}).get(ROLE_LABEL, ""),
            platform=(meta.get("annotations") or {}).get(PLATFORM_ANNOTATION, ""),
            holder=spec.get("holderIdentity") or "",
            duration=float(spec.get("leaseDurationSeconds") or 0),
            transitions=int(spec.get("leaseTransitions") or 0),
            version=str(meta.get("resourceVersion", "")),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
        )

    def to_object(self, namespace: str, cluster: str) -> Object:
        """As the API server takes it."""
        meta: Object = {
            "name": self.name,
            "namespace": namespace,
            "labels": {CLUSTER_LABEL: cluster, ROLE_LABEL: self.role},
        }
        if self.platform:
            meta["annotations"] = {PLATFORM_ANNOTATION: self.platform}
        if self.version:
            meta["resourceVersion"] = self.version
        spec: Object = {
            "leaseDurationSeconds": max(1, math.ceil(self.duration)),
            "leaseTransitions": self.transitions,
        }
        # An empty identity is not a valid one: a free Lease has none.
        for field, value in (
            ("holderIdentity", self.holder),
            ("acquireTime", self.acquired),
            ("renewTime", self.renewed),
        ):
            if value:
                spec[field] = value
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": meta,
            "spec": spec,
        }


def lease_name(cluster: str, platform: str) -> str:
    """The name of a Platform's Lease, or of that for objects without one.

    A Platform's name that would make it too long is cut and gets a hash, so that names stay unique.

    Parameters
    ----------
    cluster
        The cluster's id.
    platform
        The Platform's name; empty for objects without a Platform.
    """
    if not platform:
        return f"weir-{cluster}.{UNASSIGNED}"
    name = f"weir-{cluster}.{PLATFORM}.{platform}"
    if len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.sha256(platform.encode()).hexdigest()[:16]
    return f"{name[: NAME_LIMIT - 17].rstrip('-.')}.{digest}"


def replica_name(cluster: str, identity: str) -> str:
    """The name of a replica's own Lease."""
    return f"weir-{cluster}.{REPLICA}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def wall_clock() -> str:
    """Now, as a Lease has it: RFC 3339 with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Leases:
    """The Leases of one cluster id in the operator's namespace.

    Parameters
    ----------
    kube
        Should give up soon and try each request once: a renewal that comes late is worth nothing.
    namespace
        The operator's own.
    cluster
        The cluster's id: two installations side by side don't meet.
    """

    def __init__(self, kube: Kube, namespace: str, cluster: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self.cluster = cluster
        self._path = f"{API}/namespaces/{quote(namespace)}/leases"

    def list(self) -> dict[str, Lease]:
        """All of them by name.

        Raises
        ------
        KubeError
            The API server does not answer, or refuses.
        """
        query = {"labelSelector": f"{CLUSTER_LABEL}={self.cluster}", "limit": PAGE}
        found: dict[str, Lease] = {}
        while True:
            page = self._kube.request("GET", self._path, query=query)
            for item in page.get("items") or []:
                lease = Lease.of(item)
                found[lease.name] = lease
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    def get(self, name: str) -> Lease | None:
        """One, or None."""
        try:
            return Lease.of(self._kube.request("GET", f"{self._path}/{quote(name)}"))
        except Gone:
            return None

    def put(self, lease: Lease) -> Lease:
        """Create it, or replace it if it is still the one that was read.

        Returns
        -------
        Lease
            With the version that it has now.

        Raises
        ------
        Stale
            Somebody else wrote it, or created it.
        Gone
            It is not there any more.
        """
        body = lease.to_object(self._namespace, self.cluster)
        if lease.version:
            return Lease.of(self._kube.request("PUT", f"{self._path}/{quote(lease.name)}", body))
        return Lease.of(self._kube.request("POST", self._path, body))

    def delete(self, lease: Lease) -> None:
        """Delete it if it is still the one that was read. One that is gone already is no error."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"resourceVersion": lease.version},
        }
        try:
            self._kube.request("DELETE", f"{self._path}/{quote(lease.name)}", body)
        except (Gone, Stale):
            return
