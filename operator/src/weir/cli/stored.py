"""What would be in the cluster once these manifests are applied?

The API server itself answers, by dry runs: so defaults, rules and admission are its own. Without a
cluster the definitions that this program carries answer instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from weir.cli import validate as validation
from weir.cli.documents import Document
from weir.kube.client import Denied, Gone, Kube, KubeError, Object, collection, path_of
from weir.kube.keys import GROUP, VERSION, Key

KINDS = ("Platform", "DataSchema", "DataSource", "Pipeline")
"""Kinds that a plan knows, in the order in which they refer to each other."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DRY_RUN = {"dryRun": "All", "fieldManager": "weir-plan"}


class Refused(RuntimeError):
    """An object would not be stored; the message says why."""


class Forbidden(Refused):
    """The caller may not store it."""


class NoPlace(Refused):
    """Its namespace is not there."""


class Cluster(Protocol):
    """What a plan asks of a cluster."""

    kube: Kube
    complete: bool
    """Whether :meth:`objects` gave the objects of all namespaces."""

    def foresee(self, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """These namespaces are made, or labelled so, before anything else is stored."""

    def objects(self, namespaces: Iterable[str]) -> dict[Key, Object]:
        """What is there: of all namespaces where that is allowed, else of these."""

    def applied(self, wish: Object) -> Object:
        """The object as it would be stored.

        Raises
        ------
        Refused
            It would not.
        """

    def replaced(self, there: Object, spec: Mapping[str, Any]) -> Object:
        """An object as it would be stored with another spec."""


class Server:
    """A real API server."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.complete = True
        self._coming: frozenset[str] = frozenset()

    def foresee(self, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """As :meth:`Cluster.foresee`."""
        self.kube, self._coming = _Foreseen(self.kube, namespaces), frozenset(namespaces)

    def missing_kinds(self) -> list[str]:
        """Our kinds that the server does not serve.

        Raises
        ------
        KubeError
            It does not answer, or refuses.
        """
        try:
            answer = self.kube.request("GET", f"/apis/{GROUP}/{VERSION}")
        except Gone:
            return list(KINDS)
        served = {one["kind"] for one in answer.get("resources", [])}
        return [kind for kind in KINDS if kind not in served]

    def objects(self, namespaces: Iterable[str]) -> dict[Key, Object]:
        """As :meth:`Cluster.objects`."""
        found: list[Object] = []
        for kind in KINDS:
            try:
                found += self.kube.all_of(kind)
            except Denied:
                if kind == "Platform":
                    raise
                self.complete = False
                for namespace in namespaces:
                    found += self.kube.all_of(kind, namespace)
        return {Key.of(one): one for one in found}

    def applied(self, wish: Object) -> Object:
        """As ``kubectl apply`` would leave it, on the client's side or on the server's.

        Fields that somebody else has set stay, and those that the former manifest had and this one
        lacks go: by the server's field managers where the object was applied with them, else by
        kubectl's three-way merge.
        """
        key = Key.of(wish)
        there = self.kube.get(key)
        if there is None:
            try:
                return self._ask("POST", collection(key.kind, key.namespace), key, wish)
            except NoPlace:
                if key.namespace not in self._coming:
                    raise
                # The server takes nothing into a namespace that is not there, not even for a try.
                return NoServer().applied(wish)
        manager = _applier(there)
        if manager:
            query = {**DRY_RUN, "fieldManager": manager, "force": "true"}
            kind = "application/apply-patch+yaml"
            return self._ask("PATCH", path_of(key), key, wish, query, kind)
        before = (there["metadata"].get("annotations") or {}).get(LAST_APPLIED)
        patch = merge_patch(json.loads(before) if before else {}, _with_maps(wish))
        kind = "application/merge-patch+json"
        return self._ask("PATCH", path_of(key), key, patch, DRY_RUN, kind)

    def replaced(self, there: Object, spec: Mapping[str, Any]) -> Object:
        """As :meth:`Cluster.replaced`."""
        key = Key.of(there)
        return self._ask("PUT", path_of(key), key, {**there, "spec": dict(spec)})

    def _ask(
        self,
        method: str,
        path: str,
        key: Key,
        body: Object,
        query: Mapping[str, str] = DRY_RUN,
        content_type: str = "application/json",
    ) -> Object:
        try:
            answer = self.kube.request(method, path, body, query=query, content_type=content_type)
        except Denied as error:
            raise Forbidden(str(error)) from error
        except Gone as error:
            raise NoPlace(str(error)) from error
        except KubeError as error:
            if error.status in (400, 422):
                raise Refused(str(error)) from error
            raise
        return {**answer, "kind": key.kind}


class NoServer:
    """No cluster: defaults and rules are those of this program, and nothing exists yet."""

    def __init__(self) -> None:
        self.kube: Kube = _Nothing()
        self.complete = True

    def foresee(self, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """As :meth:`Cluster.foresee`."""
        self.kube = _Foreseen(self.kube, namespaces)

    def objects(self, namespaces: Iterable[str]) -> dict[Key, Object]:  # noqa: ARG002
        """Nothing."""
        return {}

    def applied(self, wish: Object) -> Object:
        """As :meth:`Cluster.applied`."""
        found = validation.problems(Document("", wish, {}))
        if found:
            raise Refused("; ".join(f"{one.path}: {one.message}" for one in found))
        return validation.defaulted({**wish, "metadata": {"uid": "", **wish["metadata"]}})

    def replaced(self, there: Object, spec: Mapping[str, Any]) -> Object:
        """As :meth:`Cluster.replaced`."""
        return self.applied({**there, "spec": dict(spec)})


class _Nothing(Kube):
    """Stands where a cluster's client would, and says that there is none."""

    def __init__(self) -> None:
        """Connects to nothing."""

    def request(self, method: str, path: str, body: Any = None, **_: Any) -> Object:  # noqa: ARG002
        raise KubeError(0, "Unreachable", f"there is no cluster to ask for {path}")


class _Foreseen(Kube):
    """A cluster as it is once these namespaces are applied."""

    def __init__(self, kube: Kube, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """``namespaces``: name -> the labels that are applied; others that it has stay."""
        self._kube, self._namespaces = kube, namespaces

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> Object:
        return self._kube.request(method, path, body, **more)

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        applied = self._namespaces.get(namespace)
        if applied is None or not isinstance(self._kube, _Nothing):
            return {**self._kube.namespace_labels(namespace), **(applied or {})}
        return dict(applied)


def merge_patch(before: Mapping[str, Any], wish: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) of ``kubectl apply``.

    Parameters
    ----------
    before
        The manifest that was applied last.
    wish
        The manifest that is applied now.

    Returns
    -------
    dict
        ``wish``, and null for each key that ``before`` has and it lacks.
    """
    patch: dict[str, Any] = {name: None for name in before if name not in wish}
    for name, value in wish.items():
        former = before.get(name)
        patch[name] = (
            merge_patch(former if isinstance(former, Mapping) else {}, value)
            if isinstance(value, Mapping)
            else value
        )
    return patch


def _with_maps(wish: Object) -> Object:
    """The manifest with labels and annotations, if only empty ones: others' keys in them stay."""
    return {**wish, "metadata": {"labels": {}, "annotations": {}, **wish["metadata"]}}


def _applier(there: Object) -> str | None:
    """The field manager that applied the object on the server's side, if any did."""
    metadata = there["metadata"]
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        return None
    managers = [
        str(one["manager"])
        for one in metadata.get("managedFields") or []
        if one.get("operation") == "Apply" and not one.get("subresource")
    ]
    return "kubectl" if "kubectl" in managers else next(iter(managers), None)
