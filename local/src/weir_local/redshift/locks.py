"""Table locks, as Redshift takes them: readers beside one writer, and LOCK that stops both.

https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation.html
"""

from __future__ import annotations

import threading
import time
from enum import Enum

from weir_local.redshift.errors import Cancelled, SqlError


class Mode(Enum):
    """How a transaction holds a table."""

    READ = "AccessShareLock"
    WRITE = "ShareRowExclusiveLock"
    EXCLUSIVE = "AccessExclusiveLock"


CONFLICTS = {
    Mode.READ: {Mode.EXCLUSIVE},
    Mode.WRITE: {Mode.WRITE, Mode.EXCLUSIVE},
    Mode.EXCLUSIVE: {Mode.READ, Mode.WRITE, Mode.EXCLUSIVE},
}


class Locks:
    """Who holds which table of one database. Locks are kept until the transaction ends."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, dict[int, set[Mode]]] = {}
        self._waits: dict[int, set[int]] = {}

    def acquire(
        self, holder: int, table: str, mode: Mode, cancelled: threading.Event, timeout: float = 600
    ) -> None:
        """Wait for a table.

        Parameters
        ----------
        holder
            The session that asks.
        table, mode
            What it asks for.
        cancelled
            Set by another thread to give up.
        timeout
            Seconds.

        Raises
        ------
        SqlError
            The wait would never end (a deadlock), or lasted longer than the timeout.
        Cancelled
            The event was set.
        """
        until = time.monotonic() + timeout
        with self._changed:
            while blockers := self._blockers(holder, table, mode):
                self._waits[holder] = blockers
                try:
                    if self._reaches(blockers, holder):
                        raise SqlError("deadlock detected")
                    if cancelled.is_set():
                        raise Cancelled
                    if time.monotonic() > until:
                        raise SqlError("canceling statement due to lock timeout")
                    self._changed.wait(0.2)
                finally:
                    del self._waits[holder]
            self._held.setdefault(table, {}).setdefault(holder, set()).add(mode)

    def release(self, holder: int) -> None:
        """Give back everything that a session holds."""
        with self._changed:
            for table in list(self._held):
                self._held[table].pop(holder, None)
                if not self._held[table]:
                    del self._held[table]
            self._changed.notify_all()

    def _blockers(self, holder: int, table: str, mode: Mode) -> set[int]:
        return {
            other
            for other, modes in self._held.get(table, {}).items()
            if other != holder and modes & CONFLICTS[mode]
        }

    def _reaches(self, starts: set[int], goal: int) -> bool:
        seen: set[int] = set()
        todo = list(starts)
        while todo:
            one = todo.pop()
            if one == goal:
                return True
            if one not in seen:
                seen.add(one)
                todo += self._waits.get(one, set())
        return False
