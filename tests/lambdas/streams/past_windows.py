"""A window of a stream's past is landed by a worker that may die anywhere, whatever the stream is."""

from __future__ import annotations

import random
from collections.abc import Callable
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


def land_though_killed(
    land: Lands,
    rig: Rig,
    chance: random.Random,
    window: Window,
    number: int,
    attempts: int,
    most_looks: int,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Worker after worker lands a window in the lane of its number; all but the last may die.

    Parameters
    ----------
    most_looks
        At the clock, of a worker that may die.
    meanwhile
        What happens after each that did not.
    """
    for attempt in range(attempts):
        healthy = attempt == attempts - 1
        try:
            done = land(
                window,
                f"part-{number}",
                EVER if healthy else chance.randint(1, 40),
                EVER if healthy else chance.randint(2, most_looks),
                lane=f"clicks/asked-{number}",
            )
        except Killed:
            rig.clock.pass_time(1000)
            continue
        meanwhile()
        if done.complete:
            break
    assert done.complete
