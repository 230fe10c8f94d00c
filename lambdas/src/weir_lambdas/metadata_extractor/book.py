"""What was ever seen of a source, in the state table: one item, changed by conditional writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from weir_contract.codec import dumps, loads
from weir_contract.metadata import Discovered, Profiling, SchemaNotice
from weir_contract.moments import iso
from weir_contract.rows import RowContract
from weir_contract.state import (
    BODY,
    DISCOVERED,
    EXPIRES,
    FEED,
    FEED_RETENTION_SECONDS,
    NOTICE,
    PROFILE,
    feed_sk,
    source_pk,
)
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.state import Table, Update, putting, read_contract, updating

TRIES = 10


class Busy(Exception):
    """Others changed the item again and again meanwhile: the event comes once more."""


class Book:
    """The items of sources, as far as their shape is concerned."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table, self._clock = table, clock

    def profiling(self, source: str) -> Profiling | None:
        """What is to be measured of a source; None where it is gone, or not described yet."""
        item = self._table.get(source_pk(source), PROFILE)
        return loads(Profiling, item[BODY]) if item else None

    def contract(self, source: str) -> RowContract | None:
        """The frozen contract of a source, or None."""
        return read_contract(self._table, source)

    def known(self, source: str) -> Discovered:
        """What was ever seen of a source."""
        item = self._table.get(source_pk(source), DISCOVERED)
        return loads(Discovered, item[BODY]) if item else Discovered(source)

    def change(
        self, source: str, become: Callable[[Discovered], Discovered]
    ) -> tuple[Discovered, Discovered]:
        """Change what is known. Where the revision moves, the feed tells, with the same write.

        Returns
        -------
        tuple of Discovered
            Before and after.

        Raises
        ------
        Busy
            Others were faster each time.
        """
        pk = source_pk(source)
        for _ in range(TRIES):
            item = self._table.get(pk, DISCOVERED)
            before = loads(Discovered, item[BODY]) if item else Discovered(source)
            after = become(before)
            if after == before:
                return before, after
            version = int(item["version"]) if item else 0
            update = Update(
                "SET #body = :body, #version = :next",
                {"body": dumps(after), "next": version + 1}
                | ({"version": version} if item else {}),
                "#version = :version" if item else "attribute_not_exists(pk)",
            )
            actions = [updating(pk, DISCOVERED, update)]
            if after.revision != before.revision:
                now = self._clock.now()
                notice = SchemaNotice(source, after.revision, after.sequence, iso(now))
                place = feed_sk(notice.at, source, f"schema-{after.revision}")
                expires = int(now.timestamp()) + FEED_RETENTION_SECONDS
                actions.append(putting(FEED, place, {NOTICE: dumps(notice), EXPIRES: expires}))
            if self._table.transact(actions):
                return before, after
        raise Busy(source)


def described(frozen: RowContract | None, stated: RowContract) -> RowContract:
    """The frozen contract with what is stated now of its columns' classification.

    A column that is classified is guarded also before the contract is frozen.
    """
    if frozen is None:
        return stated
    told = {item.name: item.classification for item in stated.fields}
    return replace(
        frozen,
        fields=tuple(
            replace(item, classification=told.get(item.name, item.classification))
            for item in frozen.fields
        ),
    )
