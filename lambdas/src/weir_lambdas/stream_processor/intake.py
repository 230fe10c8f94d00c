"""Takes the records of lanes: decoded, written as one object a lane, committed with its position.

Nothing is lost: what can't be committed is told to Lambda, which brings it again from there on.
Nothing is doubled: what comes again stands at or below the position, or in a committed range.
"""

from __future__ import annotations

import json
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.errors import SourceUnavailable, WeirError
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.parts import CONTENT_TYPE, GZIP_FORMAT, LEVEL
from weir_lambdas.stream_processor.anew import first_of_another
from weir_lambdas.stream_processor.events import Entry, Lane
from weir_lambdas.stream_processor.loads import Load, Loads, shown
from weir_lambdas.stream_processor.positions import Position, Positions, Received, outside

ATTEMPTS = 6
"""How often a lane is looked at anew because another call has moved its position."""

FOLDER = "_received"
"""Below the source in the raw zone: parts of no manifest, which no pipeline reads."""

RETRIED = (WeirError, BotoCoreError, ClientError)
"""What the next attempt may mend."""

Stretches = Callable[[Position], Sequence[Sequence[Entry]]]
"""Position of a lane -> the records that are not committed, in order, in stretches of which each is
all that its lane has between its ends."""


@dataclass
class Counts:
    """What became of the records of a call.

    Parameters
    ----------
    since
        When the last sealing began, seconds since 1970: what arrived before it is late.
    records, rows, bytes
        Committed records of the stream, the rows that they gave, and bytes as stored.
    repeated
        Records that were committed before.
    rejected
        Records and rows that go to quarantine.
    tombstones
        Kafka records without a value.
    newest
        When the last committed record of each lane arrived, seconds since 1970.
    """

    since: float = 0.0
    records: int = 0
    rows: int = 0
    bytes: int = 0
    repeated: int = 0
    rejected: int = 0
    tombstones: int = 0
    late: int = 0
    newest: dict[str, float] = field(default_factory=dict)

    def add(self, lane: Lane, load: Load, received: Received) -> None:
        """Records were committed."""
        self.records += load.records
        self.rows += received.rows
        self.bytes += received.bytes
        self.rejected += received.rejected
        self.tombstones += load.tombstones
        self.late += load.late
        if load.newest > 0:
            self.newest[lane.id] = load.newest


class OtherTopic(ValueError):
    """The records are of a topic that was deleted, and made anew since."""


class _Moved(Exception):
    """The lane's position is not the one that was read."""


class Intake:
    """Takes lanes.

    Parameters
    ----------
    loads
        What decodes records.
    """

    def __init__(
        self,
        config: SourceConfig,
        positions: Positions,
        storage: Storage,
        clock: Clock,
        loads: Loads,
    ) -> None:
        self._config, self._loads = config, loads
        self._positions, self._storage, self._clock = positions, storage, clock

    def receive(self, lane: Lane, counts: Counts) -> tuple[int, Exception] | None:
        """Commit the records of a lane that are above its position.

        Returns
        -------
        tuple or None
            The place from which on records are not committed, and why; None where all are.
        """

        def above(position: Position) -> Sequence[Sequence[Entry]]:
            self._look_for_another(lane, position)
            return [[one for one in lane.entries if one.place > position.place]]

        return self._take(lane, above, counts)

    def take_over(self, lane: Lane, counts: Counts) -> tuple[int, Exception] | None:
        """Commit the records of a lane that Lambda gave up on, but for those in committed ranges.

        Lambda delivers a lane in order, and moves on once it has given up. So what stands before
        these records is committed or was given up as well, and the position may pass them.

        Raises
        ------
        OtherTopic
            Their offsets mean other records by now.
        """
        places = [one.place for one in lane.entries]

        def given_up(position: Position) -> Sequence[Sequence[Entry]]:
            newest = max((one.at for one in lane.entries if one.at is not None), default=0.0)
            # Where no record tells its time they are left too: it would be the wrong position that moves.
            if round(newest * 1000) < position.began:
                raise OtherTopic(f"{lane.title} was made anew since: its offsets are others now")
            self._look_for_another(lane, position)
            ranges = self._positions.ranges(position.lane(lane.id), places[0], places[-1])
            return [
                [one for one in lane.entries if first <= one.place <= last]
                for first, last in outside(places, ranges)
            ]

        return self._take(lane, given_up, counts)

    def _look_for_another(self, lane: Lane, position: Position) -> None:
        """See whether records at or below the position are those of a topic that was made anew.

        Raises
        ------
        _Moved
            They are: the position begins anew.
        """
        below = [one for one in lane.entries if one.place <= position.place]
        # Sequence numbers of Kinesis never come again.
        if not below or lane.kind != "kafka":
            return
        ranges = self._positions.ranges(position.lane(lane.id), below[0].place, below[-1].place)
        queued = parse_iso(position.queued).timestamp() if position.queued else None
        first = first_of_another(below, ranges, queued)
        if first is None:
            return
        began = next(one.at for one in below if one.place == first) or 0.0
        if self._positions.begin_anew(lane.id, position, first - 1, round(began * 1000)):
            log(
                "WARNING",
                "offsets are counted again: the topic was made anew, or its log has lost its end",
                source=self._config.id,
                lane=lane.title,
                reached=position.place,
                begins=first,
            )
        raise _Moved

    def _take(
        self, lane: Lane, stretches: Stretches, counts: Counts
    ) -> tuple[int, Exception] | None:
        reached, before = -1, counts.records
        try:
            for _ in range(ATTEMPTS):
                try:
                    for place in self._commits(lane, stretches, counts):
                        reached = place
                except _Moved:
                    continue
                counts.repeated += len(lane.entries) - (counts.records - before)
                return None
            raise SourceUnavailable("other calls move its position all the time", lane.title)
        except RETRIED as error:
            places = [one.place for one in lane.entries]
            return next((one for one in places if one > reached), places[-1]), error

    def _commits(self, lane: Lane, stretches: Stretches, counts: Counts) -> Iterator[int]:
        """Commits what is not committed; gives the place that was reached, the old one first."""
        position = self._positions.read(lane.id)
        yield position.place
        for entries in stretches(position):
            for load in self._loads.of(lane, entries, counts.since):
                received = self._write(position.lane(lane.id), load)
                moved = self._positions.commit(
                    lane.id, position, received, self._clock.now(), load.times
                )
                if moved is None:
                    raise _Moved
                position = moved
                counts.add(lane, load, received)
                yield load.last

    def _write(self, lane: str, load: Load) -> Received:
        rows, body = len(load.lines), b""
        key = rejects = digest = ""
        if rows:
            key, body, digest = self._put(lane, load, b"\n".join(load.lines) + b"\n", "jsonl.gz")
        if load.rejects:
            text = b"".join(
                json.dumps({"reason": reason, "record": shown(data)}).encode() + b"\n"
                for reason, data in load.rejects
            )
            rejects, _, _ = self._put(lane, load, text, "rejected.jsonl.gz")
        return Received(
            lane, load.first, load.last, key, rows, len(body), digest, len(load.rejects), rejects
        )

    def _put(self, lane: str, load: Load, text: bytes, suffix: str) -> tuple[str, bytes, str]:
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_FORMAT)
        body = packer.compress(text) + packer.flush()
        digest = sha256(body).hexdigest()
        # Each attempt has a name of its own, so that what a dead one left can be told from what a
        # later one commits, and removed (see sweeping).
        name = f"{load.first}-{load.last}-{digest[:16]}-{secrets.token_hex(4)}.{suffix}"
        key = f"{self._config.id}/{FOLDER}/{lane}/{name}"
        self._storage.put(self._config.raw_bucket, key, body, CONTENT_TYPE)
        return key, body, digest
