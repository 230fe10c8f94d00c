"""Kubernetes events: what a person would want to know, once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from weir.kube.client import Kube, KubeError, Object, Stale
from weir.kube.keys import API_VERSION

NOTE_LIMIT = 1024
"""Characters of an event's note (events.k8s.io/v1)."""
REPEAT = 3600.0
"""Seconds after which the same event is told again."""
REMEMBERED = 10_000


class Events:
    """Sends events, each one once an hour.

    The event's name is made from what it says and the hour, so that a restarted operator does not
    say it again either. One that can't be sent is logged and forgotten: no work waits for it.

    Parameters
    ----------
    kube
        The API server.
    instance
        Who reports: the pod's name.
    clock
        Seconds since 1970.
    log
        Called with a message where an event could not be sent.
    """

    def __init__(
        self, kube: Kube, instance: str, clock: Callable[[], float], log: Callable[[str], None]
    ) -> None:
        self._kube = kube
        self._instance = instance
        self._clock = clock
        self._log = log
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def warn(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something is wrong, or was changed by others."""
        self._send(obj, "Warning", reason, note, action)

    def say(self, obj: Object, reason: str, note: str, action: str = "Reconcile") -> None:
        """Something has happened as it should."""
        self._send(obj, "Normal", reason, note, action)

    def _send(
        self,
        obj: Object,
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        action: str,
    ) -> None:
        now = self._clock()
        meta = obj["metadata"]
        note = note if len(note) <= NOTE_LIMIT else note[: NOTE_LIMIT - 1] + "…"
        said = "\0".join((meta["uid"], reason, note, str(int(now // REPEAT))))
        name = f"{meta['name'][:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"
        if not self._first(name):
            return
        namespace = meta.get("namespace") or "default"
        event: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "weir.dev/operator",
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "type": kind,
            "note": note,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": obj["kind"],
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta["uid"],
            },
        }
        try:
            self._kube.request(
                "POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", event
            )
        except Stale:
            return  # It was said before a restart.
        except KubeError as error:
            self._log(f"event {reason} for {meta['name']} was not sent: {error}")

    def _first(self, name: str) -> bool:
        with self._lock:
            if name in self._sent:
                return False
            self._sent[name] = None
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
            return True
