"""How far each lane is committed, what waits to be sealed, and what was committed when.

One transaction enters an object of received records into the queue, moves the lane's position over
them, and notes their range. It demands the position that was read: of two callers one wins, and the
other one finds its records below the position when it looks again.

**Committed ranges.** The position alone does not tell which records below it were committed: it
passes those that Lambda gave up on. Each transaction therefore leaves an item ``RANGE`` from its
first record to its last, which for one call are all records of the lane between the two. A batch
that was given up is compared with the ranges of its lane, and what is in none is taken. They expire
after :data:`~weir_contract.state.RANGE_RETENTION_SECONDS`; a batch with an older record is left
where it is, since nobody can tell then.

**Topics made anew.** Where a partition counts its offsets from the beginning again (see
:mod:`weir_lambdas.stream_processor.anew`), its position begins anew with it, and so do its ranges: they
are of a lane of their own, ``lane@1`` and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from weir_contract.codec import dumps, loads
from weir_contract.manifest import Manifest
from weir_contract.moments import iso
from weir_contract.state import (
    BODY,
    EXPIRES,
    RANGE,
    RANGE_RETENTION_SECONDS,
    RECEIVED,
    SETTLED,
    files_pk,
    place_text,
    position_sk,
    range_sk,
    received_sk,
    source_pk,
)
from weir_lambdas.common.clock import parse_iso
from weir_lambdas.common.state import Table, Update, putting, updating


@dataclass(frozen=True)
class Position:
    """How far a lane is committed.

    Parameters
    ----------
    place
        Up to it and with it; -1 before the first record.
    queued
        Time of the lane's last object in the queue, ISO 8601; empty before the first.
    made
        How often the lane's topic was made anew.
    began
        Time of the first record that was seen of the present topic, milliseconds since 1970; 0 where
        it was never made anew.
    """

    place: int = -1
    queued: str = ""
    made: int = 0
    began: int = 0

    def lane(self, lane: str) -> str:
        """The lane as its ranges and objects name it."""
        return f"{lane}@{self.made}" if self.made else lane


Times = tuple[int, int]
"""The least and the greatest time of records, milliseconds since 1970."""


@dataclass(frozen=True)
class Range:
    """Records of a lane that were committed together.

    Parameters
    ----------
    first, last
        Their places; both ends are in it.
    committed
        When, seconds since 1970.
    times
        Of the records; None where one of them has none.
    """

    first: int
    last: int
    committed: float
    times: Times | None


@dataclass(frozen=True)
class Received:
    """Records of one lane that wait to be sealed.

    Parameters
    ----------
    lane, first, last
        Which (see :meth:`Position.lane`); both ends are in it.
    key
        The object of the raw zone with the records, gzip JSON lines; empty where there are none.
    rows, bytes, sha256
        Of this object.
    rejected, rejects
        Number of records that can't be read, and the object with them (gzip JSON lines of
        ``reason`` and ``record``); empty where there are none.
    """

    lane: str
    first: int
    last: int
    key: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    rejected: int = 0
    rejects: str = ""


@dataclass(frozen=True)
class Queued:
    """An entry of the queue; ``sk`` is its place there."""

    sk: str
    received: Received


class Positions:
    """The state of one stream.

    Parameters
    ----------
    source
        ``namespace/name``.
    """

    def __init__(self, table: Table, source: str) -> None:
        self._table, self._pk, self._files = table, source_pk(source), files_pk(source)

    def read(self, lane: str) -> Position:
        """How far a lane is committed."""
        item = self._table.get(self._pk, position_sk(lane)) or {}
        return Position(
            int(item.get("place", -1)),
            str(item.get("queued", "")),
            int(item.get("made", 0)),
            int(item.get("began", 0)),
        )

    def begin_anew(self, lane: str, position: Position, place: int, began: int) -> bool:
        """The lane's topic was made anew: go on behind a place of the new one.

        Parameters
        ----------
        position
            As it was read.
        began
            See :class:`Position`.

        Returns
        -------
        bool
            False where the position has moved since; nothing is written then.
        """
        values, seen = _as_read(position)
        values |= {"place": place_text(place), "made": position.made + 1, "began": began}
        update = Update("SET place = :place, made = :made, began = :began", values, seen)
        return self._table.update(self._pk, position_sk(lane), update) is not None

    def commit(
        self,
        lane: str,
        position: Position,
        received: Received,
        now: datetime,
        times: Times | None = None,
    ) -> Position | None:
        """Commit records of a lane.

        Parameters
        ----------
        position
            As it was read: nothing is written where it has moved since.
        times
            Of the records, where all of them have one.

        Returns
        -------
        Position or None
            The new one; None where the old one was another's by then.
        """
        queued = _after(position.queued, now)
        empty = not received.rows and not received.rejected
        after = replace(
            position,
            place=max(position.place, received.last),
            queued=position.queued if empty else iso(queued),
        )
        values, seen = _as_read(position)
        values |= {"place": place_text(after.place), "queued": after.queued}
        expires = int(now.timestamp()) + RANGE_RETENTION_SECONDS
        span: dict[str, Any] = {"first": place_text(received.first), EXPIRES: expires}
        if times:
            span |= {"oldest": times[0], "newest": times[1]}
        actions = [
            updating(
                self._pk,
                position_sk(lane),
                Update("SET place = :place, queued = :queued", values, seen),
            ),
            putting(self._files, range_sk(received.lane, received.last), span, new=True),
        ]
        if not empty:
            sk = received_sk(after.queued, received.lane, received.last)
            actions.append(putting(self._pk, sk, {BODY: dumps(received)}, new=True))
        return after if self._table.transact(actions) else None

    def ranges(self, lane: str, first: int, last: int) -> list[Range]:
        """Committed ranges of a lane that reach into a stretch, in order, and the next one above.

        Parameters
        ----------
        lane
            See :meth:`Position.lane`.
        """
        found = []
        prefix = f"{RANGE}{lane}#"
        for item in self._table.query(self._files, prefix, since=range_sk(lane, first)):
            times = (int(item["oldest"]), int(item["newest"])) if "oldest" in item else None
            span = Range(
                int(item["first"]),
                int(str(item["sk"]).removeprefix(prefix)),
                float(item[EXPIRES]) - RANGE_RETENTION_SECONDS,
                times,
            )
            found.append(span)
            if span.first > last:
                break
        return found

    def waiting(self, until: str) -> Iterator[Queued]:
        """What waits since before a moment (ISO 8601), the oldest first."""
        for item in self._table.query(self._pk, RECEIVED):
            if str(item["sk"]) >= f"{RECEIVED}{until}":
                return
            yield Queued(str(item["sk"]), loads(Received, item[BODY]))

    def objects(self) -> set[str]:
        """Keys of the objects in the queue."""
        items = self._table.query(self._pk, RECEIVED)
        found = [loads(Received, item[BODY]) for item in items]
        return {key for one in found for key in (one.key, one.rejects) if key}

    def settled(self) -> int:
        """The sequence up to which the queue agrees with the manifests."""
        return int((self._table.get(self._pk, SETTLED) or {}).get("sequence", 0))

    def take_out(self, places: Sequence[str]) -> None:
        """Take entries out of the queue; those that are gone already are gone."""
        for sk in places:
            self._table.delete(self._pk, sk)

    def settle(self, manifest: Manifest) -> None:
        """Note that the queue agrees with the manifests up to this one."""
        self._table.update(
            self._pk,
            SETTLED,
            Update(
                "SET #sequence = :sequence",
                {"sequence": manifest.sequence},
                "attribute_not_exists(pk) OR #sequence < :sequence",
            ),
        )


def _as_read(position: Position) -> tuple[dict[str, Any], str]:
    """Values and condition of a write that demands the position as it was read."""
    if position == Position():
        return {}, "attribute_not_exists(pk)"
    values = {"was": place_text(position.place), "before": position.queued}
    return values, "place = :was AND queued = :before"


def _after(queued: str, now: datetime) -> datetime:
    """A moment that sorts behind the lane's last one, whatever the machines' clocks say."""
    return max(now, parse_iso(queued) + timedelta(milliseconds=1)) if queued else now


def outside(places: Sequence[int], ranges: Sequence[Range]) -> list[tuple[int, int]]:
    """Stretches of records that are in no range.

    Parameters
    ----------
    places
        Of the records, in order.
    ranges
        In order, without overlap.

    Returns
    -------
    list of (int, int)
        First and last place of each stretch; between the stretches lies a range each.
    """
    found: list[tuple[int, int]] = []
    gap = -1
    for place in places:
        below = 0
        for number, one in enumerate(ranges):
            if one.first <= place <= one.last:
                break
            below = number + 1 if one.last < place else below
        else:
            if found and gap == below:
                found[-1] = found[-1][0], place
            else:
                found.append((place, place))
            gap = below
    return found
