"""Which shards of a Kinesis stream are read next, and how far each has been read: no I/O.

A shard is read after its parents: their records are older (Kinesis Data Streams Developer Guide,
*Resharding*). Ids are given in order, so that a parent's is below its children's. Some shards are read
at a time, from the lowest id on, so that few places have to be remembered whatever the number of
shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

AT_ONCE = 4
"""Shards that are read at a time: an answer of each has 10 MB at most (*GetRecords*)."""


@dataclass(frozen=True)
class Shard:
    """One shard, with the ids of those that it came of."""

    id: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """How far a shard has been read.

    Parameters
    ----------
    sequence
        The last record's sequence number; empty before the first.
    at
        When that record arrived, seconds since 1970.
    done
        Whether nothing more is wanted of the shard.
    """

    sequence: str = ""
    at: float = 0.0
    done: bool = False


class ShardsGone(Exception):
    """The stream has dropped shards with records that were not read yet."""


@dataclass
class Walk:
    """A way over all shards.

    Parameters
    ----------
    shards
        All of them, in order.
    after
        Up to this id and with it, all are done.
    at
        Shards above ``after`` that are begun, or done.
    """

    shards: Sequence[Shard]
    after: str = ""
    at: dict[str, Place] = field(default_factory=dict)

    @classmethod
    def of(cls, shards: Sequence[Shard], position: Mapping[str, Any] | None) -> Walk:
        """Go on from a position; None: from the beginning.

        Shards that were not there at the beginning are no part of the way: what they hold is newer.

        Raises
        ------
        ShardsGone
            Shards of the way are not there any more.
        """
        ordered = sorted(shards, key=lambda one: one.id)
        if position is None:
            return cls(ordered)
        after, last = str(position["after"]), str(position["last"])
        ordered = [one for one in ordered if after < one.id <= last]
        if len(ordered) != int(position["ahead"]):
            raise ShardsGone
        return cls(ordered, after, {shard: Place(**one) for shard, one in position["at"].items()})

    @property
    def position(self) -> dict[str, Any]:
        """Where to go on: plain JSON."""
        return {
            "after": self.after,
            "last": self.shards[-1].id,
            "ahead": sum(one.id > self.after for one in self.shards),
            "at": {
                shard: {"sequence": one.sequence, "at": one.at, "done": one.done}
                for shard, one in sorted(self.at.items())
            },
        }

    def place(self, shard: str) -> Place:
        """How far a shard has been read."""
        return self.at.get(shard, Place())

    @property
    def left(self) -> list[Shard]:
        """Shards that are not done."""
        return [one for one in self.shards if not self._is_done(one.id)]

    def turn(self) -> list[Shard]:
        """The shards that are read next; none once all are done."""
        ahead = [one for one in self.shards if one.id > self.after][:AT_ONCE]
        listed = {one.id for one in self.shards}
        return [
            one
            for one in ahead
            if not self._is_done(one.id)
            and all(
                self._is_done(parent)
                for parent in one.parents
                if parent in listed and parent < one.id
            )
        ]

    def reach(self, shard: str, place: Place) -> None:
        """A shard has been read so far."""
        self.at[shard] = place
        for one in self.shards:
            if one.id <= self.after:
                continue
            if not self.place(one.id).done:
                break
            self.after = one.id
        self.at = {id_: known for id_, known in self.at.items() if id_ > self.after}

    def _is_done(self, shard: str) -> bool:
        return shard <= self.after or self.place(shard).done
