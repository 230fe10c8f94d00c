"""A run looks after its share of the source's requests, and hears what the others were told."""

from __future__ import annotations

import random
import threading
import time
from typing import Self

from weir_lambdas.api_ingestion.budget import Budget
from weir_lambdas.api_ingestion.pace import Known, Pace
from weir_lambdas.api_ingestion.shares import HOLD_SECONDS, Share, granted, living, wanted
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.log import log

ALONE_SECONDS = 3.0
"""Between two looks of a run that has the source for itself."""

TOGETHER_SECONDS = 1.0
"""Between two looks of a run among others: a Retry-After reaches all of them within it."""

MARGIN_SECONDS = 3.0
"""A run counts itself as dead so much before the others do."""


class Company:
    """Keeps a run's budget in step with the other runs of its source.

    Use it in a ``with``: it looks once at the beginning, then from a thread of its own, since a run
    may wait for a slow answer longer than its share lasts. At the end the share is given back. A run
    that dies looks no more, and has lost it after ``HOLD_SECONDS``.

    Parameters
    ----------
    pace
        What the runs share.
    budget
        The run's own.
    """

    def __init__(self, pace: Pace, budget: Budget, clock: Clock) -> None:
        self._pace, self._budget, self._clock = pace, budget, clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="company", daemon=True)

    def __enter__(self) -> Self:
        self._alone = self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._leave()
        except Exception as error:  # noqa: BLE001  (the landing is what counts: the share lapses)
            log("WARNING", "the source's requests are not given back", error=type(error).__name__)

    def look(self) -> bool:
        """Read what the others have, and take or let go. Returns whether there are no others."""
        while True:
            known, now = self._pace.read(), self._now()
            others, mine = self._apart(known, now)
            mine = mine or Share(0, now, now)
            wish = wanted(others, mine, self._pace.name, self._budget.most, now)
            under_way = self._budget.narrow(wish.requests)
            share = granted(others, wish, self._budget.most, under_way, now)
            if self._pace.write(known, {**others, self._pace.name: share}):
                held = max(0.0, share.until - MARGIN_SECONDS - self._now())
                self._budget.allot(min(wish.requests, share.requests), held)
                self._budget.hold(known.shut - self._now())
                return not others
            time.sleep(random.uniform(0, 0.05))

    def _look_on(self) -> None:
        while not self._ended.wait(ALONE_SECONDS if self._alone else TOGETHER_SECONDS):
            try:
                self._alone = self.look()
            except Exception as error:  # noqa: BLE001  (who asks next is told, whatever it was)
                self._budget.give_up(error)
                return

    def _leave(self) -> None:
        """Give the share back, but for requests that are still under way: those it keeps for as long
        as a dead run keeps its own."""
        while True:
            known, now = self._pace.read(), self._now()
            others, _ = self._apart(known, now)
            left = self._budget.narrow(0)
            rest = {self._pace.name: Share(left, now + HOLD_SECONDS, now, now)} if left else {}
            if self._pace.write(known, others | rest):
                return
            time.sleep(random.uniform(0, 0.05))

    def _apart(self, known: Known, now: float) -> tuple[dict[str, Share], Share | None]:
        others = living(known.shares, now)
        mine = others.pop(self._pace.name, None)
        return others, mine

    def _now(self) -> float:
        return self._clock.now().timestamp()
