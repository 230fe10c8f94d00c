"""Kopf's watches, and nothing else: every event goes to the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from weir.kube.client import load_config
from weir.kube.keys import GROUP, PLURALS, VERSION
from weir.reconcile.controller import Controller


def register(
    registry: kopf.OperatorRegistry,
    controller: Controller,
    kubeconfig: str | None,
    heard: Callable[[str, str], None],
) -> None:
    """Watch all our kinds, at the API server that the rest of the operator talks to.

    The bare event handler has no last-seen state on the object, no progress annotations and no
    finalizer of Kopf's: the engine's own queue does what they are for.

    Parameters
    ----------
    heard
        Told the kind and the name of each event's object once it is in the store: its watch is alive.
    """

    async def login(**_: Any) -> kopf.ConnectionInfo:
        found = load_config(kubeconfig)
        prefix, _sep, token = str(
            found.get_api_key_with_prefix("BearerToken", "authorization") or ""
        ).rpartition(" ")
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            username=found.username or None,
            password=found.password or None,
            scheme=prefix or None,
            token=token or None,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
        )

    kopf.on.login(registry=registry)(login)
    for kind, plural in PLURALS.items():

        async def seen(event: Any, _kind: str = kind, **_: Any) -> None:
            obj = dict(event["object"])
            obj.setdefault("kind", _kind)
            controller.seen(obj, gone=event["type"] == "DELETED", listed=event["type"] is None)
            heard(_kind, obj["metadata"]["name"])

        kopf.on.event(GROUP, VERSION, plural, id=f"seen-{plural}", registry=registry)(seen)
