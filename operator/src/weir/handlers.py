"""Kopf's watches, and nothing else: every event goes to the controller."""

from __future__ import annotations

from typing import Any

import kopf

from weir.kube.keys import GROUP, PLURALS, VERSION
from weir.reconcile.controller import Controller


def register(registry: kopf.OperatorRegistry, controller: Controller) -> None:
    """Watch all our kinds.

    The bare event handler has no last-seen state on the object, no progress annotations and no
    finalizer of Kopf's: the engine's own queue does what they are for.
    """
    for kind, plural in PLURALS.items():

        async def seen(event: Any, _kind: str = kind, **_: Any) -> None:
            obj = dict(event["object"])
            obj.setdefault("kind", _kind)
            controller.seen(obj, gone=event["type"] == "DELETED", listed=event["type"] is None)

        kopf.on.event(GROUP, VERSION, plural, id=f"seen-{plural}", registry=registry)(seen)
