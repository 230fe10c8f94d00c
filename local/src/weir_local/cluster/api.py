"""A small client of the Kubernetes API for plain JSON objects, from a kubeconfig.

The pod runner is a stand-in for a kubelet: it wants raw objects, explicit time limits on every call
and a small process. It reads kubeconfigs with certificates or tokens, as our control plane's.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

Object = dict[str, Any]
CALL_TIMEOUT = urllib3.Timeout(connect=3, read=10)
STRATEGIC_MERGE = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused a call, or could not be reached (``status`` is 0 then)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One API server, as one user.

    Parameters
    ----------
    kubeconfig
        Its current context is used.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self.server: str = cluster["server"].rstrip("/")
        self.authority = _material(cluster, "certificate-authority")
        trust = ssl.create_default_context(cadata=self.authority.decode())
        certificate = _material(user, "client-certificate")
        if certificate:
            with tempfile.TemporaryDirectory() as directory:
                pair = Path(directory) / "client.pem"
                pair.touch(mode=0o600)
                pair.write_bytes(certificate + b"\n" + _material(user, "client-key"))
                trust.load_cert_chain(pair)
        self._headers = {"Accept": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._pool = urllib3.PoolManager(ssl_context=trust, maxsize=32, retries=False)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """One call, answered by one object.

        Parameters
        ----------
        method
            ``GET``, ``POST``, ``PUT``, ``PATCH``, ``DELETE``.
        path
            From the root: ``/api/v1/pods``.
        body
            Sent as JSON.
        content
            The body's media type: which kind of patch it is.
        query
            Parameters of the URL.

        Raises
        ------
        ApiError
            Any answer but 2xx, or none.
        """
        try:
            response = self._pool.request(
                method,
                self.server + path + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(body).encode(),
                headers=self._headers | ({"Content-Type": content} if body is not None else {}),
                timeout=CALL_TIMEOUT,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"{method} {path}: {error}") from error
        return _object(method, path, response.status, response.data)

    def watch(self, path: str, version: str, seconds: int = 300) -> Iterator[Object]:
        """Events (``{"type", "object"}``) of a list from resource version ``version`` on.

        Ends after ``seconds``, or earlier when the connection does: list anew then.

        Raises
        ------
        ApiError
            The version is too old (410), or the server is gone.
        """
        query = {
            "watch": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        rest = b""
        try:
            response = self._pool.request(
                "GET",
                self.server + path,
                fields=query,
                headers=self._headers,
                timeout=urllib3.Timeout(connect=3, read=seconds + 10),
                preload_content=False,
            )
            try:
                if response.status != 200:
                    _object("WATCH", path, response.status, response.read())
                while chunk := response.read1():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            raise ApiError(status.get("code", 0), status.get("message", ""))
                        yield event
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(0, f"WATCH {path}: {error}") from error


def _object(method: str, path: str, status: int, data: bytes) -> Object:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {"message": data.decode(errors="replace")}
    if not 200 <= status < 300:
        raise ApiError(status, f"{method} {path}: {answer.get('message', status)}")
    return dict(answer)


def _named(items: list[Object], name: str) -> Object:
    for item in items:
        if item["name"] == name:
            return item
    raise ValueError(f"the kubeconfig names {name!r}, which it does not define")


def _material(section: Mapping[str, str], name: str) -> bytes:
    """A certificate or key that a kubeconfig holds as data or names as a file."""
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return Path(section[name]).read_bytes() if name in section else b""
