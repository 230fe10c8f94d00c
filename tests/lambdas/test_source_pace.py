"""One pace for all that ask a source: its own landings, and the parts of backfills beside them."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta

import pytest

from weir_contract.sources import RequestLimits
from weir_contract.state import PACE, source_pk
from weir_lambdas.api_ingestion.budget import Budget
from weir_lambdas.api_ingestion.pace import Pace
from weir_lambdas.common.state import Table

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Run:
    """One run of a source, with a clock of its own that began when its function did."""

    def __init__(self, table: Table, rate: float, started: float, answers: float) -> None:
        self.at, self._started, self._answers = started, started, answers
        limits = RequestLimits(requests_per_second=rate)
        self.budget = Budget(limits, self, Pace(table, "ns/orders"))

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at - self._started + 7.0

    def sleep(self, seconds: float) -> None:
        self.at += seconds

    def asks(self) -> float:
        """Wait for a turn, ask, and take the answer in. Returns when it asked."""
        self.sleep(self.budget.take())
        asked = self.at
        self.sleep(self._answers)
        return asked


def together(runs: list[Run], requests: int) -> list[float]:
    """When each of so many requests was made, whichever run is next."""
    turns = [(run.at, number) for number, run in enumerate(runs)]
    heapq.heapify(turns)
    asked = []
    for _ in range(requests):
        _, number = heapq.heappop(turns)
        asked.append(runs[number].asks())
        heapq.heappush(turns, (runs[number].at, number))
    return sorted(asked)


@pytest.mark.parametrize(("rate", "answers"), [(5.0, 0.01), (5.0, 0.7), (0.5, 0.1), (20.0, 0.3)])
def test_runs_of_a_source_ask_it_no_faster_together_than_one_alone(
    table: Table, rate: float, answers: float
) -> None:
    runs = [Run(table, rate, started, answers) for started in (0.0, 0.3, 2.5)]
    asked = together(runs, 90)
    for first, last in zip(asked, asked[10:], strict=False):
        # Ten requests after the first; where one stretch ends another may begin half a request early.
        assert last - first >= 9.5 / rate - 0.01


def test_a_run_alone_has_the_whole_rate_and_takes_a_second_of_it_at_a_time(table: Table) -> None:
    run = Run(table, 10.0, 0.0, 0.0)
    asked = together([run], 100)
    assert asked[-1] == pytest.approx(9.9, abs=0.1)
    found = table.get(source_pk("ns/orders"), PACE)
    assert found is not None
    assert 0 <= int(found["next"]) - (BEGIN.timestamp() + asked[-1]) * 1000 <= 1000


def test_who_was_told_to_wait_takes_a_turn_behind_the_pause(table: Table) -> None:
    told, other = Run(table, 2.0, 0.0, 0.0), Run(table, 2.0, 0.0, 0.0)
    told.asks()
    told.budget.pause(30)
    assert told.asks() >= 30
    assert other.asks() >= 30


def test_what_nobody_asked_for_in_time_is_given_up(table: Table) -> None:
    slow, quick = Run(table, 4.0, 0.0, 0.0), Run(table, 4.0, 0.0, 0.0)
    for _ in range(7):  # It takes two requests' time, then four's.
        slow.asks()
    slow.sleep(10)
    begins = slow.asks()
    assert begins == pytest.approx(11.5, abs=0.01)
    assert quick.asks() >= begins + 0.24


def test_runs_that_wait_for_slow_answers_use_the_rate_up_together(table: Table) -> None:
    runs = [Run(table, 5.0, 0.0, 1.0) for _ in range(10)]
    asked = together(runs, 100)
    assert asked[-1] < 1.5 * 100 / 5.0
