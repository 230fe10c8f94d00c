"""How much waits to be sealed, and whether that is reason to seal before the schedule does.

The count is kept beside the commits, not within them: one item that every shard's transaction would
touch would make them wait for each other. A death in between leaves it too low, and the schedule
seals then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from weir_contract.sources import Stream
from weir_contract.state import BACKLOG, source_pk
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.state import Table, Update
from weir_lambdas.file_processor.arrivals import lands

START_EVERY_SECONDS = 60
"""Between two starts: an execution takes a while until it holds the lease."""


class Backlog:
    """What waits of one source.

    Parameters
    ----------
    source
        ``namespace/name``.
    """

    def __init__(self, table: Table, source: str, clock: Clock) -> None:
        self._table, self._source, self._clock = table, source, clock
        self._key = source_pk(source), BACKLOG

    def sealed(self) -> float:
        """When the last sealing began, seconds since 1970; 0 before the first."""
        return int((self._table.get(*self._key) or {}).get("sealed", 0)) / 1000

    def add(self, size: int, stream: Stream, start: Callable[[str], None]) -> bool:
        """So many bytes more wait; returns whether that has started the sealer.

        Parameters
        ----------
        start
            Starts an execution of a state machine, by its ARN, for what has arrived.
        """
        item = self._table.update(
            *self._key,
            Update("ADD waiting_bytes :size", {"size": size}),
        )
        if item is None or int(item["waiting_bytes"]) < stream.seal_bytes or not stream.machine:
            return False
        if lands(self._table, self._source, self._clock):
            return False
        return self._ask(stream, start, "waiting_bytes >= :enough AND", enough=stream.seal_bytes)

    def look(self, stream: Stream, start: Callable[[str], None]) -> bool:
        """Have the sealer look, whatever waits; returns whether that has started it."""
        return bool(stream.machine) and self._ask(stream, start)

    def _ask(
        self, stream: Stream, start: Callable[[str], None], if_also: str = "", **values: int
    ) -> bool:
        now = int(self._clock.now().timestamp())
        claimed = self._table.update(
            *self._key,
            Update(
                "SET asked = :now",
                {"now": now, "long_ago": now - START_EVERY_SECONDS, **values},
                f"{if_also} (attribute_not_exists(asked) OR asked <= :long_ago)",
            ),
        )
        if claimed is None:
            return False
        start(stream.machine)
        return True

    def seal(self, at: datetime) -> None:
        """A sealing begins with all that has waited until now."""
        self._table.update(
            *self._key,
            Update(
                "SET waiting_bytes = :zero, sealed = :at",
                {"zero": 0, "at": int(at.timestamp() * 1000)},
            ),
        )
