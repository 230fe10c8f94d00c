"""Who looks at AWS because it is time lets those pass for whom somebody waits.

A drift round's listings and an edit's few calls share this process's one interpreter, its
connections and AWS's rates. While an edit is under way a round holds each of its calls back for a
moment: the edit is as fast as if there were no round, and the round is a little slower, never stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LONGEST_WAIT = 0.5
"""Seconds for which one call is held back at most: without a pause between edits a round still
goes on."""


class RightOfWay:
    """Whose calls go first. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._free = threading.Event()
        self._free.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """This thread works for somebody who waits."""
        self._count(1)
        before = _mine.set(self)
        try:
            yield
        finally:
            _mine.reset(before)
            self._count(-1)

    def give_way(self) -> None:
        """Wait while somebody has the right of way, ``LONGEST_WAIT`` at most."""
        self._free.wait(LONGEST_WAIT)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """For a moment nobody needs to wait for this thread, which has the right of way."""
        self._count(-1)
        try:
            yield
        finally:
            self._count(1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._holders += change
            (self._free.clear if self._holders else self._free.set)()


_mine: ContextVar[RightOfWay | None] = ContextVar("mine", default=None)
_manners: ContextVar[Callable[[], None] | None] = ContextVar("manners", default=None)


def be_courteous(give_way: Callable[[], None]) -> None:
    """From here on every AWS call of this thread gives way first."""
    _manners.set(give_way)


def give_way() -> None:
    """Called before every AWS call: lets others pass, where this thread is to."""
    manners = _manners.get()
    if manners is not None:
        manners()


@contextmanager
def waiting_for_others() -> Iterator[None]:
    """While this thread waits for a look that another makes, that one need not give way to it."""
    right = _mine.get()
    if right is None:
        yield
        return
    with right.given_up():
        yield
