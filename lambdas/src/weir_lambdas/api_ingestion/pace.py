"""Who may ask a source when: its own landings and the parts of backfills go by one pace.

Each works through its requests in a function of its own. What they share is one item of the
Platform's table, the moment from which on nobody has taken the source's time yet.
"""

from __future__ import annotations

import math

from weir_contract.state import PACE, source_pk
from weir_lambdas.common.state import Table, Update


class Pace:
    """The time of one source, given out in stretches that nobody else has.

    Parameters
    ----------
    table
        The Platform's.
    source
        ``namespace/name``.
    """

    def __init__(self, table: Table, source: str) -> None:
        self._table, self._pk = table, source_pk(source)

    def reserve(self, at: float, seconds: float) -> float:
        """Take a stretch of the source's time.

        Parameters
        ----------
        at
            Its earliest beginning, in seconds since 1970.
        seconds
            Its length.

        Returns
        -------
        float
            When it begins, in seconds since 1970, to the millisecond.
        """
        start, length = math.ceil(at * 1000), math.ceil(seconds * 1000)
        free = Update(
            "SET #next = :end",
            {"end": start + length, "start": start},
            "attribute_not_exists(#next) OR #next <= :start",
        )
        behind = Update(
            "SET #next = #next + :length", {"length": length, "start": start}, "#next > :start"
        )
        item, update = None, self._table.update
        while item is None:
            # One of the two holds: the moment only moves on, unless the item is deleted in between.
            item = update(self._pk, PACE, free) or update(self._pk, PACE, behind)
        return (int(item["next"]) - length) / 1000
