"""What the runs of one source know of each other: its own landings and the parts of backfills.

Each works through its requests in a function of its own. What they share is one item of the
Platform's table: the moment from which on nobody has taken the source's time yet, the moment until
which the source wants to be left alone, and how many requests each may have under way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from weir_contract.state import PACE, source_pk
from weir_lambdas.api_ingestion.shares import Share
from weir_lambdas.common.state import Table, Update


@dataclass(frozen=True)
class Known:
    """What the item says.

    Parameters
    ----------
    shut
        Until when nobody asks, seconds since 1970.
    shares
        Of each run, the dead ones too.
    revision
        Of the shares; 0 before the first.
    """

    shut: float = 0.0
    shares: Mapping[str, Share] = field(default_factory=dict)
    revision: int = 0


class Pace:
    """The item of one source.

    Parameters
    ----------
    table
        The Platform's.
    source
        ``namespace/name``.
    lane
        ``pipeline/name`` of a backfill's part; None for the source's own landings. The lane's lease
        lets one run in at a time, so that one which is begun again takes its dead one's share.
    """

    def __init__(self, table: Table, source: str, lane: str | None = None) -> None:
        self._table, self._pk, self.name = table, source_pk(source), lane or "-"

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

    def shut(self, until: float) -> None:
        """Nobody asks the source until then, seconds since 1970; an earlier moment changes nothing."""
        later = Update(
            "SET #shut = :until",
            {"until": math.ceil(until * 1000)},
            "attribute_not_exists(#shut) OR #shut < :until",
        )
        self._table.update(self._pk, PACE, later)

    def read(self) -> Known:
        """What is known now."""
        item = self._table.get(self._pk, PACE) or {}
        shares = {name: _share(values) for name, values in item.get("shares", {}).items()}
        return Known(item.get("shut", 0) / 1000, shares, item.get("revision", 0))

    def write(self, known: Known, shares: Mapping[str, Share]) -> bool:
        """Write the shares, unless another run has meanwhile; returns whether they were written."""
        update = Update(
            "SET #shares = :shares, #revision = :next",
            {
                "shares": {name: _values(share) for name, share in shares.items()},
                "next": known.revision + 1,
                "seen": known.revision,
            },
            "attribute_not_exists(#revision) OR #revision = :seen",
        )
        return self._table.update(self._pk, PACE, update) is not None


def _share(values: Mapping[str, int]) -> Share:
    requests, *moments = (values[name] for name in ("requests", "until", "since", "began"))
    return Share(requests, *(moment / 1000 for moment in moments))


def _values(share: Share) -> dict[str, int]:
    moments = {"until": share.until, "since": share.since, "began": share.began}
    return {"requests": share.requests} | {n: round(at * 1000) for n, at in moments.items()}
