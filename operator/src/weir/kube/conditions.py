"""Conditions: what the operator says of an object, each with the generation that it speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

READY = "Ready"
"""Synced, and everything that it needs is ready too."""
SYNCED = "Synced"
"""AWS is as the spec says."""
FLOWING = "Flowing"
"""Data arrives as promised. Never part of Ready."""
RECONCILING = "Reconciling"
STALLED = "Stalled"
SUSPENDED = "Suspended"

MESSAGE_LIMIT = 4096
"""Characters of a message that the API takes."""


@dataclass(frozen=True)
class Condition:
    """One condition. ``status`` is ``True``, ``False`` or ``Unknown``; ``reason`` is CamelCase."""

    type: str
    status: str
    reason: str
    message: str = ""


def true(kind: str, reason: str, message: str = "") -> Condition:
    """It is so."""
    return Condition(kind, "True", reason, message)


def false(kind: str, reason: str, message: str = "") -> Condition:
    """It is not so."""
    return Condition(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str = "") -> Condition:
    """Nobody can say yet."""
    return Condition(kind, "Unknown", reason, message)


def merged(
    previous: Sequence[Mapping[str, Any]],
    conditions: Iterable[Condition],
    generation: int,
    now: str,
) -> list[dict[str, Any]]:
    """The list for ``status.conditions``.

    A condition that is not given now is gone. ``lastTransitionTime`` moves with the status alone
    (Kubernetes API conventions, "Typical status properties"), so that an unchanged condition is
    equal to the previous one.

    Parameters
    ----------
    generation
        ``metadata.generation`` of the spec that was looked at.
    now
        UTC, RFC 3339.
    """
    before = {one["type"]: one for one in previous}
    result = []
    for condition in conditions:
        old = before.get(condition.type, {})
        same = old.get("status") == condition.status
        line = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": _cut(condition.message),
            "observedGeneration": generation,
            "lastTransitionTime": old.get("lastTransitionTime", now) if same else now,
        }
        result.append(line)
    return result


def find(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """A condition of a status, or None."""
    for one in status.get("conditions") or []:
        if one["type"] == kind:
            return dict(one)
    return None


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether an object has a condition with status True."""
    found = find(obj.get("status") or {}, kind)
    return found is not None and found["status"] == "True"


def is_current(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition is True and speaks of the present spec."""
    found = find(obj.get("status") or {}, kind)
    return (
        found is not None
        and found["status"] == "True"
        and found.get("observedGeneration") == obj["metadata"].get("generation")
    )


def _cut(message: str) -> str:
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
