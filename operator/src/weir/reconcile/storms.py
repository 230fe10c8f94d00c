"""Does AWS throttle an account so much that somebody should know?

A throttled call is tried again and is nobody's failure. When they do not end, objects become Synced
later than people expect, and the reason is to be read on the Platform: once an hour, not once a call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from weir.aws.session import Call
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.services import Teller

WINDOW = 60.0
"""Seconds that are looked back."""
MANY = 50
"""Throttled tries of one service within the window that make a storm."""
QUIET = 3600.0
"""Seconds after which the same is told again."""


class Storms:
    """Counts throttled tries by Platform and service, and tells of storms. Thread-safe.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(
        self, store: Store, events: Callable[[], Teller], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._tries: dict[tuple[str, str], deque[tuple[float, int]]] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def called(self, platform: str, call: Call) -> None:
        """A call of a Platform's has ended."""
        if call.throttles and self._is_storm((platform, call.service), call.throttles):
            # Beside the call, which does not wait for Kubernetes.
            threading.Thread(
                target=self._tell, args=(platform, call.service), name="storm", daemon=True
            ).start()

    def _is_storm(self, place: tuple[str, str], throttles: int) -> bool:
        """Whether this try makes a storm that nobody has been told of."""
        now = self._clock()
        with self._lock:
            tries = self._tries.setdefault(place, deque())
            tries.append((now, throttles))
            while tries[0][0] < now - WINDOW:
                tries.popleft()
            if sum(count for _, count in tries) < MANY:
                return False
            told = self._told.get(place)
            if told is not None and now - told < QUIET:
                return False
            self._told[place] = now
            return True

    def _tell(self, platform: str, service: str) -> None:
        obj = self._store.get(Key("Platform", "", platform))
        if obj is not None:
            self._events().warn(
                obj,
                "ThrottlingStorm",
                f"AWS throttles {service}: more than {MANY} tries a minute. Work goes on, slower. "
                f"If it lasts, see who else calls {service} in this account, or ask AWS for a "
                "higher rate (Service Quotas)",
            )
