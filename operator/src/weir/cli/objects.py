"""The custom resources of the cluster that the user's kubeconfig points to."""

from __future__ import annotations

import os
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from weir.api.crd import SERVED
from weir.api.v1alpha1.common import GROUP, VERSION

PLURALS = {kind.model.model_fields["kind"].default: kind.plural for kind in SERVED}
CLUSTER_SCOPED = {
    kind.model.model_fields["kind"].default for kind in SERVED if kind.scope == "Cluster"
}


class ClusterError(RuntimeError):
    """The cluster can't be reached, or refused; the message is for people."""


def kubeconfig() -> str | None:
    """``KUBECONFIG`` as it is now; the library reads it once, when it is imported."""
    return os.environ.get("KUBECONFIG") or None


class Objects:
    """Reads and creates custom resources in one namespace.

    Parameters
    ----------
    namespace
        None means the namespace of the current context.

    Raises
    ------
    ClusterError
        There is no usable kubeconfig.
    """

    def __init__(self, namespace: str | None = None) -> None:
        try:
            config.load_kube_config(config_file=kubeconfig())
            _, active = config.list_kube_config_contexts(config_file=kubeconfig())
        except ConfigException as error:
            raise ClusterError(f"no usable kubeconfig: {error}; set KUBECONFIG") from error
        self.namespace = namespace or active["context"].get("namespace") or "default"
        self._api = client.CustomObjectsApi()

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object.

        Raises
        ------
        ClusterError
            It does not exist, or reading it is not allowed.
        """
        return dict(self._call(kind, name, "get", name))

    def list(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, by name."""
        found = self._call(kind, None, "list").get("items", [])
        return sorted(found, key=lambda item: str(item["metadata"]["name"]))

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object in the namespace."""
        return dict(self._call(body["kind"], None, "create", body))

    def _call(self, kind: str, name: str | None, verb: str, *rest: Any, **options: Any) -> Any:
        scope = "cluster" if kind in CLUSTER_SCOPED else "namespaced"
        method = getattr(self._api, f"{verb}_{scope}_custom_object")
        place = () if scope == "cluster" else (self.namespace,)
        what = f"{kind} {name}" if name else kind
        try:
            return method(GROUP, VERSION, *place, PLURALS[kind], *rest, **options)
        except ApiException as error:
            raise ClusterError(_explain(error, what, self.namespace)) from error
        except (OSError, HTTPError) as error:
            host = self._api.api_client.configuration.host
            raise ClusterError(f"the cluster at {host} does not answer") from error


def _explain(error: ApiException, what: str, namespace: str) -> str:
    if error.status == 404:
        return f"{what} is not in namespace {namespace}"
    if error.status == 403:
        return f"you may not do this with {what} in namespace {namespace}: {_message(error)}"
    return f"{what}: {_message(error)}"


def _message(error: ApiException) -> str:
    import json

    try:
        return str(json.loads(error.body or "{}").get("message") or error.reason)
    except ValueError:
        return str(error.reason)
