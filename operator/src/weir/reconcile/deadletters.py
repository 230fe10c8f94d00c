"""Does a Platform's dead-letter queue hold messages, as far as is known without asking?"""

from __future__ import annotations

from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.world import Worlds

ALARM = "alarm-dead-letters"
"""Logical id of the alarm over a Platform's dead-letter queue: drift rounds see its state."""


def dead_letters(worlds: Worlds, store: Store) -> dict[str, bool]:
    """By Platform: whether the alarm was raised when it was seen last.

    Platforms whose alarm was not seen yet are left out.
    """
    found = {}
    for platform, world in worlds.known().items():
        obj = store.get(Key("Platform", "", platform)) or {}
        for line in (obj.get("status") or {}).get("resources") or []:
            if line["id"] == ALARM:
                seen = world.inventory.peek((line["kind"], line["name"]))
                if seen is not None:
                    found[platform] = seen.attributes.get("state") == "ALARM"
    return found
