"""A window of a stream's past is landed by a worker that may die anywhere, whatever the stream is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from lambdas.streams.rig import Rig
from lambdas.streams.test_stream_killed import Killed, Mortal
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Source, Window
from weir_lambdas.landing.land import Lander

LANE = "clicks/asked-0"
EVER = 10**9
"""Calls of AWS, or looks at the clock, that no worker comes to."""

ROUNDS, ATTEMPTS = 20, 4
SPAN = 8
"""Records that the two windows of a round have at most."""
MOST_CALLS = 12
"""Calls of AWS of a worker that may die."""

Dying = Callable[[Any], Any]
"""A client -> the same, which dies with the worker."""


class Lands(Protocol):
    """Lands a window: ``life`` calls of AWS, then ``looks`` looks at the clock until time is up."""

    def __call__(self, window: Window, run: str, life: int, looks: int, *, lane: str) -> Any: ...


def land_window(
    rig: Rig,
    chance: random.Random,
    source_of: Callable[[Storage, Dying], Source],
    window: Window,
    run: str,
    life: int,
    looks: int,
    lane: str,
) -> Any:
    """One worker's attempt at a window."""
    left = iter([600.0] * looks + [20.0] * 10**6) if looks < 10**6 else None
    lives, after = [life], chance.random() < 0.5

    def dying(client: Any) -> Any:
        return Mortal(client, lives, after)

    storage = Storage(dying(rig.s3))
    table = Table(dying(rig.table._db), rig.table.name)
    lander = Lander(
        rig.config,
        source_of(storage, dying),
        table,
        storage,
        rig.clock,
        (lambda: next(left)) if left else (lambda: 600.0),
        part_bytes=chance.choice([1, 10_000]),
        lane=lane,
        window=window,
    )
    return lander.land(run, None, None)


@dataclass(frozen=True)
class Landed:
    """A window that was landed.

    Parameters
    ----------
    lane
        Where its manifests are.
    records
        Numbers of the records that it has.
    deaths
        Workers that died of it.
    """

    lane: str
    records: range
    deaths: int


def land_rounds(
    land: Lands,
    rig: Rig,
    chance: random.Random,
    times: Sequence[datetime],
    most_looks: int,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Landed]:
    """Twenty rounds: two windows that meet, anywhere in the past, are landed by workers that may die.

    Parameters
    ----------
    times
        When each record arrived, in their order, and a time after the last.
    most_looks
        At the clock, of a worker that may die.
    meanwhile
        What happens after each that did not.
    """
    for number in range(ROUNDS):
        start = chance.randrange(len(times) - SPAN + 1)
        edges = sorted(chance.sample(range(start, start + SPAN), 3))
        # A border stands at a record's time, or before it and after the one before.
        moments = [times[edge] - timedelta(milliseconds=chance.randint(0, 1)) for edge in edges]
        for half in range(2):
            lane = f"clicks/asked-{number}-{half}"
            window = Window(moments[half], moments[half + 1])
            deaths = land_though_killed(land, rig, chance, window, lane, most_looks, meanwhile)
            yield Landed(lane, range(edges[half], edges[half + 1]), deaths)


def land_though_killed(
    land: Lands,
    rig: Rig,
    chance: random.Random,
    window: Window,
    lane: str,
    most_looks: int,
    meanwhile: Callable[[], None],
) -> int:
    """Worker after worker lands a window; all but the last may die. Returns how many did."""
    deaths = 0
    for attempt in range(ATTEMPTS):
        healthy = attempt == ATTEMPTS - 1
        try:
            done = land(
                window,
                lane.rpartition("/")[2],
                EVER if healthy else chance.randint(1, MOST_CALLS),
                EVER if healthy else chance.randint(2, most_looks),
                lane=lane,
            )
        except Killed:
            deaths += 1
            rig.clock.pass_time(1000)
            continue
        meanwhile()
        if done.complete:
            break
    assert done.complete
    return deaths


def held(rig: Rig, landed: Landed) -> tuple[list[int], int]:
    """The numbers that a window's manifests have, and how many records went to quarantine."""
    numbers = sorted(row["id"] for row in rig.records(landed.lane))
    return numbers, sum(manifest.quarantined for manifest in rig.manifests(landed.lane))


def wanted(landed: Landed) -> tuple[list[int], int]:
    """What it should have: each 13th record is broken."""
    whole = [number for number in landed.records if number % 13 != 12]
    return whole, len(landed.records) - len(whole)
