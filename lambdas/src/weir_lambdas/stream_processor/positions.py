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
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    """

    place: int = -1
    queued: str = ""


@dataclass(frozen=True)
class Received:
    """Records of one lane that wait to be sealed.

    Parameters
    ----------
    lane, first, last
        Which; both ends are in it.
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
        return Position(int(item.get("place", -1)), str(item.get("queued", "")))

    def commit(self, position: Position, received: Received, now: datetime) -> Position | None:
        """Commit records of a lane.

        Parameters
        ----------
        position
            As it was read: nothing is written where it has moved since.

        Returns
        -------
        Position or None
            The new one; None where the old one was another's by then.
        """
        queued = _after(position.queued, now)
        empty = not received.rows and not received.rejected
        after = Position(
            max(position.place, received.last), position.queued if empty else iso(queued)
        )
        values = {"place": place_text(after.place), "queued": after.queued}
        seen = "attribute_not_exists(pk)"
        if position != Position():
            values |= {"was": place_text(position.place), "before": position.queued}
            seen = "place = :was AND queued = :before"
        expires = int(now.timestamp()) + RANGE_RETENTION_SECONDS
        span = {"first": place_text(received.first), EXPIRES: expires}
        actions = [
            updating(
                self._pk,
                position_sk(received.lane),
                Update("SET place = :place, queued = :queued", values, seen),
            ),
            putting(self._files, range_sk(received.lane, received.last), span, new=True),
        ]
        if not empty:
            sk = received_sk(after.queued, received.lane, received.last)
            actions.append(putting(self._pk, sk, {BODY: dumps(received)}, new=True))
        return after if self._table.transact(actions) else None

    def ranges(self, lane: str, first: int, last: int) -> list[tuple[int, int]]:
        """Committed ranges of a lane that reach into a stretch, in order."""
        found = []
        prefix = f"{RANGE}{lane}#"
        for item in self._table.query(self._files, prefix, since=range_sk(lane, first)):
            span = int(item["first"]), int(str(item["sk"]).removeprefix(prefix))
            if span[0] > last:
                break
            found.append(span)
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


def _after(queued: str, now: datetime) -> datetime:
    """A moment that sorts behind the lane's last one, whatever the machines' clocks say."""
    return max(now, parse_iso(queued) + timedelta(milliseconds=1)) if queued else now


def outside(places: Sequence[int], ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches of records that are in no range.

    Parameters
    ----------
    places
        Of the records, in order.
    ranges
        First and last place of each, in order, without overlap.

    Returns
    -------
    list of (int, int)
        First and last place of each stretch; between the stretches lies a range each.
    """
    found: list[tuple[int, int]] = []
    gap = -1
    for place in places:
        below = 0
        for number, (first, last) in enumerate(ranges):
            if first <= place <= last:
                break
            below = number + 1 if last < place else below
        else:
            if found and gap == below:
                found[-1] = found[-1][0], place
            else:
                found.append((place, place))
            gap = below
    return found
