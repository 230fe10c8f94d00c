"""Whether the endpoints of a session answer: one that does not is asked by one caller at a time.

A call to an endpoint that is silent takes minutes until botocore gives up. If every object of a
Platform made one, they would keep all threads, and with them the objects of other Platforms, waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from weir.aws.errors import Transient

FIRST_PAUSE = 5.0
"""Seconds for which a silent endpoint is left alone at first."""
LONGEST_PAUSE = 60.0
PROBE = 150.0
"""Seconds that one caller may need to find out: all tries of one call, at their time limits."""

SILENT = (ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError)
"""What botocore raises where nobody answers. A connection that breaks in the middle is none."""


@dataclass
class _Pause:
    seconds: float
    until: float


class Reach:
    """What is known of one session's endpoints. Thread-safe.

    A service that is silent is left alone; where no other has answered meanwhile, so is the account
    as a whole.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answered: float | None = None
        self._pauses: dict[str, _Pause] = {}
        self._lock = threading.Lock()

    @property
    def answered(self) -> bool:
        """Whether any service has ever answered."""
        return self._answered is not None

    def enter(self, service: str) -> None:
        """A call is about to be made.

        Raises
        ------
        Transient
            The service, or all of them, did not answer a moment ago.
        """
        if not self._pauses:
            return
        with self._lock:
            for what in ("", service):
                pause = self._pauses.get(what)
                if pause is None:
                    continue
                left = pause.until - self._clock()
                if left > 0:
                    raise Transient(
                        f"{service} did not answer: the endpoint is asked again shortly",
                        service=service,
                        retry_after=min(left, LONGEST_PAUSE),
                    )
                # This caller tries; the others wait for what becomes of it.
                pause.until = self._clock() + PROBE

    def heard(self, service: str) -> None:
        """A call was answered, whatever the answer was."""
        self._answered = self._clock()
        if self._pauses:
            with self._lock:
                self._pauses.pop(service, None)
                self._pauses.pop("", None)

    def silent(self, service: str, since: float) -> None:
        """A call that began at ``since`` was not answered."""
        with self._lock:
            self._pause(service)
            if self._answered is None or self._answered < since:
                self._pause("")

    def now(self) -> float:
        """The clock's time."""
        return self._clock()

    def _pause(self, what: str) -> None:
        before = self._pauses.get(what)
        seconds = FIRST_PAUSE if before is None else min(LONGEST_PAUSE, before.seconds * 2)
        self._pauses[what] = _Pause(seconds, self._clock() + seconds)
