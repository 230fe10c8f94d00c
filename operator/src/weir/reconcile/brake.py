"""Who asks too much gets nothing: what AWS throttles is left alone for a while, by everybody.

botocore's own limiter slows one client's calls down and tries each a few times. When that was not
enough, more objects that ask for the same make it worse, and keep threads waiting that others could
use. AWS limits each API of an account and region by itself: so what was throttled to its end, the
creation of roles for example, is tried again by one caller at a time, after a pause that doubles
until it succeeds.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from weir.aws.errors import Throttled
from weir.resource import Adapter, Change, Observed, Resource

T = TypeVar("T")

FIRST_PAUSE = 1.0
"""Seconds of the first pause."""
LONGEST_PAUSE = 30.0
"""Seconds of the longest one."""


@dataclass
class _Pause:
    seconds: float
    until: float


class Brake:
    """The pauses of one account and region, by what is asked. Thread-safe.

    Parameters
    ----------
    clock
        Seconds that only grow.
    chance
        A number in [0, 1): makes pauses differ by up to half, so that accounts that were throttled
        together do not come back together.
    """

    def __init__(
        self, clock: Callable[[], float], chance: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._pauses: dict[str, _Pause] = {}
        self._lock = threading.Lock()

    def call(self, what: str, ask: Callable[[], T]) -> T:
        """Ask AWS, unless that is left alone just now.

        Parameters
        ----------
        what
            What has a limit of its own: ``iam.Role create``.

        Raises
        ------
        Throttled
            It is left alone, or has throttled this call; ``retry_after`` says for how long.
        """
        with self._asking(what):
            return ask()

    def each(self, what: str, ask: Callable[[], Iterable[T]]) -> Iterator[T]:
        """As :meth:`call`, of what comes page by page.

        Raises
        ------
        Throttled
            As :meth:`call`, at whichever page.
        """
        with self._asking(what):
            yield from ask()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        self._enter(what)
        try:
            yield
        except Throttled as error:
            error.retry_after = max(error.retry_after or 0.0, self._hit(what))
            raise
        if what in self._pauses:
            with self._lock:
                self._pauses.pop(what, None)

    def _enter(self, what: str) -> None:
        with self._lock:
            pause = self._pauses.get(what)
            if pause is None:
                return
            left = pause.until - self._clock()
            if left <= 0:
                # This caller tries; the others wait for what becomes of it.
                pause.until = self._clock() + pause.seconds
                return
        raise Throttled(
            f"AWS throttles {what}: it is tried again shortly",
            service=what.partition(".")[0],
            retry_after=left,
        )

    def _hit(self, what: str) -> float:
        with self._lock:
            now = self._clock()
            pause = self._pauses.get(what)
            if pause is None:
                pause = self._pauses[what] = _Pause(FIRST_PAUSE, now)
            elif now >= pause.until - pause.seconds:
                pause.seconds = min(LONGEST_PAUSE, pause.seconds * 2)
            pause.until = now + pause.seconds * (1.0 - self._chance() / 2)
            return pause.until - now


class Braked(Adapter):
    """An adapter behind its account's brake."""

    def __init__(self, adapter: Adapter, brake: Brake) -> None:
        self.kind = adapter.kind
        self.traits = adapter.traits
        self._adapter = adapter
        self._brake = brake

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        return self._brake.call(f"{self.kind} look", lambda: self._adapter.observe(names))

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        return self._brake.each(f"{self.kind} survey", lambda: self._adapter.survey(names))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        return self._brake.call(f"{self.kind} create", lambda: self._adapter.create(resource, tags))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        return self._brake.call(
            f"{self.kind} update", lambda: self._adapter.update(resource, observed, changes, tags)
        )

    def delete(self, observed: Observed) -> None:
        self._brake.call(f"{self.kind} delete", lambda: self._adapter.delete(observed))
