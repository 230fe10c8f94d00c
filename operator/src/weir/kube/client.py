"""The API server, as far as the operator needs it.

Objects are plain dicts as the server gives them. Every write carries the ``resourceVersion`` that
it is based on, so that a late or stale write is refused by the server instead of undoing another's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from weir.kube.keys import API_VERSION, CLUSTER_SCOPED, GROUP, PLURALS, VERSION, Key

Object = dict[str, Any]

TIMEOUT = 10.0
"""Seconds that one request may take."""
PAGE = 500
"""Objects asked for in one page of a listing."""
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a listing without specs and statuses (Kubernetes API concepts, "Receiving resources")."""
FIELD_MANAGER = "weir"


class KubeError(Exception):
    """The API server refused a request, or did not answer.

    ``status`` is the HTTP status, 0 where there was no answer; ``reason`` is Kubernetes' word
    (``AlreadyExists``).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message or reason)
        self.status = status
        self.reason = reason


class Stale(KubeError):
    """The object has changed since it was read: look again."""


class Gone(KubeError):
    """The object does not exist."""


class Denied(KubeError):
    """The operator's role does not allow this."""


_ERRORS = {404: Gone, 409: Stale, 403: Denied}


def load_config(kubeconfig: str | None = None, context: str | None = None) -> client.Configuration:
    """How to reach the API server.

    Parameters
    ----------
    kubeconfig
        Path of a kubeconfig. None takes the pod's ServiceAccount, or else ``KUBECONFIG`` and the
        default file.
    context
        One of its contexts; None takes the current one.
    """
    configuration = client.Configuration()
    if kubeconfig is None and context is None:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            pass
        else:
            return configuration
    config.load_kube_config(
        config_file=kubeconfig, context=context, client_configuration=configuration
    )
    return configuration


class Kube:
    """Typed paths and errors over the client library's connections. Thread-safe.

    Parameters
    ----------
    timeout
        Seconds that one request may take.
    """

    def __init__(self, configuration: client.Configuration, timeout: float = TIMEOUT) -> None:
        self._api = client.ApiClient(configuration)
        self._timeout = timeout

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        decoded: Callable[[Object], Object] | None = None,
    ) -> Object:
        """One request.

        Parameters
        ----------
        decoded
            Takes each object of the answer, inner ones first, as it is decoded, and gives what is
            kept of it.

        Raises
        ------
        Gone, Stale, Denied, KubeError
            The server says 404, 409, 403, or anything else but success, or nothing.
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path
        if query:
            url += "?" + urlencode(query)
        try:
            answer = self._api.call_api(method, url, headers, body, _request_timeout=self._timeout)
            data = answer.read()
        except HTTPError as error:
            raise KubeError(0, "Unreachable", f"the API server did not answer: {error}") from error
        text = data.decode() if data else "{}"
        if answer.status >= 300:
            raise _error(answer.status, text)
        return dict(json.loads(text, object_hook=decoded))

    def get(self, key: Key) -> Object | None:
        """An object of ours, or None."""
        try:
            return _typed(self.request("GET", path_of(key)), key.kind)
        except Gone:
            return None

    def all_of(self, kind: str, namespace: str = "") -> Iterator[Object]:
        """All objects of a kind, page by page."""
        query = {"limit": str(PAGE)}
        while True:
            page = self.request("GET", collection(kind, namespace), query=query)
            for item in page.get("items", []):
                yield _typed(item, kind)
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def metadata_of(self, kind: str, namespace: str = "") -> tuple[list[Object], int]:
        """Metadata of all objects of a kind from the server's cache, and as of which version.

        Without ``managedFields``, which are most of it.
        """
        answer = self.request(
            "GET",
            collection(kind, namespace),
            query={"resourceVersion": "0"},
            accept=METADATA,
            decoded=_unmanaged,
        )
        # The server says null, not [], where there is none.
        items = [{**item, "kind": kind} for item in answer.get("items") or []]
        return items, int(answer["metadata"].get("resourceVersion") or 0)

    def put_status(self, obj: Object, status: Mapping[str, Any]) -> Object:
        """Replace an object's status, if the object is still the one that was read."""
        key = Key.of(obj)
        body = {**obj, "apiVersion": API_VERSION, "status": dict(status)}
        return _typed(self.request("PUT", path_of(key) + "/status", body), key.kind)

    def set_finalizers(self, obj: Object, finalizers: list[str]) -> Object:
        """Replace an object's finalizers, if the object is still the one that was read."""
        key = Key.of(obj)
        meta = {
            "finalizers": finalizers,
            "resourceVersion": obj["metadata"]["resourceVersion"],
            "uid": obj["metadata"]["uid"],
        }
        answer = self.request(
            "PATCH",
            path_of(key),
            {"metadata": meta},
            content_type="application/merge-patch+json",
        )
        return _typed(answer, key.kind)

    def create(self, obj: Object) -> Object:
        """Create an object of ours."""
        key = Key.of(obj)
        return _typed(self.request("POST", collection(key.kind, key.namespace), obj), key.kind)

    def replace(self, obj: Object) -> Object:
        """Replace an object, if it is still the one that was read."""
        key = Key.of(obj)
        return _typed(self.request("PUT", path_of(key), obj), key.kind)

    def delete(self, obj: Object) -> None:
        """Delete this incarnation of an object. One that is gone already is no error."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": obj["metadata"]["uid"]},
        }
        try:
            self.request("DELETE", path_of(Key.of(obj)), body)
        except (Gone, Stale):
            return

    def dry_run(self, obj: Object) -> Object:
        """The object as the server would store it: defaulted and validated, with nothing stored.

        Raises
        ------
        KubeError
            The server refuses it; the text says which field.
        """
        key = Key.of(obj)
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "dryRun": "All"}
        answer = self.request(
            "PATCH", path_of(key), obj, query=query, content_type="application/apply-patch+yaml"
        )
        return _typed(answer, key.kind)

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """A namespace's labels; none where the namespace is gone."""
        try:
            answer = self.request("GET", f"/api/v1/namespaces/{quote(namespace)}")
        except Gone:
            return {}
        return dict(answer["metadata"].get("labels") or {})

    def served_versions(self, kind: str) -> list[str]:
        """Versions of a kind that the server serves now; none while its definition is missing."""
        name = f"{PLURALS[kind]}.{GROUP}"
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        try:
            answer = self.request("GET", path)
        except Gone:
            return []
        conditions = answer.get("status", {}).get("conditions", [])
        if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
            return []
        return [one["name"] for one in answer["spec"]["versions"] if one.get("served")]


def collection(kind: str, namespace: str = "") -> str:
    """The path of all objects of a kind, in a namespace or everywhere."""
    middle = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{middle}/{PLURALS[kind]}"


def path_of(key: Key) -> str:
    """The path of one object."""
    namespace = "" if key.kind in CLUSTER_SCOPED else key.namespace
    return f"{collection(key.kind, namespace)}/{quote(key.name)}"


def _unmanaged(value: Object) -> Object:
    value.pop("managedFields", None)
    return value


def _typed(obj: Object, kind: str) -> Object:
    """Items of a listing come without their kind."""
    obj.setdefault("apiVersion", API_VERSION)
    obj.setdefault("kind", kind)
    return obj


def _error(status: int, text: str) -> KubeError:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    reason = str(answer.get("reason", ""))
    message = str(answer.get("message", text[:500]))
    return _ERRORS.get(status, KubeError)(status, reason, message)
