"""Runs of one source that ask it at the same time share its requests, and hear each other's pauses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.sources import Paginator, RequestLimits, RestApi
from weir_contract.state import PACE, source_pk
from weir_lambdas.api_ingestion import company as company_module
from weir_lambdas.api_ingestion import shares as shares_module
from weir_lambdas.api_ingestion.company import Company
from weir_lambdas.api_ingestion.pace import Pace
from weir_lambdas.api_ingestion.shares import HOLD_SECONDS, Share, granted, living, wanted
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import SourceForbidden, SourceRateLimited, WeirError
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.landing.batch import Start
from weir_lambdas.landing.land import Lander
from weir_lambdas.landing.parts import PartWriter

PAGES = 12
CLOCK = SystemClock()


class Source:
    """A source that counts the requests that are under way, and says no when it is told to."""

    def __init__(self, api: Any, seconds: float) -> None:
        self.api, self._seconds = api, seconds
        self.under_way = self.most = 0
        self.begun: list[float] = []
        self.refusal: Callable[[Any], Any] = lambda _call: None
        self.lock = threading.Lock()
        api.answer = self._answer

    def _answer(self, call: Any, _http: Any) -> Any:
        with self.lock:
            self.begun.append(time.monotonic())
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            refused = self.refusal(call)
        try:
            time.sleep(self._seconds)
        finally:
            # Before the answer: whoever gets it may ask again before this thread goes on.
            with self.lock:
                self.under_way -= 1
        page = int(call.query["page"])
        body = {"data": [{"id": page}] if page <= PAGES else [], "pages": PAGES}
        return refused or (200, {}, json.dumps(body).encode())


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs look at each other more often, so that a test is over sooner."""
    monkeypatch.setattr(company_module, "TOGETHER_SECONDS", 0.2)
    monkeypatch.setattr(company_module, "ALONE_SECONDS", 0.4)


@pytest.fixture
def busy(api: Any) -> Source:
    return Source(api, 0.05)


class Worker:
    """What a function does for one lane of the source."""

    def __init__(
        self, config: Any, table: Table, secrets: Any, lane: str | None, seconds: float = 60.0
    ) -> None:
        self.lane, self.rows = lane, list[int]()
        pace = Pace(table, config.id, lane)
        self._source = RestSource(config, Secrets(secrets, {}, CLOCK), CLOCK, pace=pace)
        self._until = time.monotonic() + seconds

    def run(self) -> list[int]:
        """Read the source whole."""
        start = Start(
            "run-1", CLOCK.now(), None, {}, None, self._remaining, lambda: False, lambda n, s: ""
        )
        for batch in self._source.batches(start):
            text = b"".join(batch.lines)
            self.rows += [json.loads(line)["id"] for line in text.splitlines()]
        return self.rows

    def _remaining(self) -> float:
        return self._until - time.monotonic()


@pytest.fixture
def worker(busy: Source, source: Any, table: Table, aws: Any) -> Callable[..., Worker]:
    """Makes a worker of a lane (None: the source's own landing)."""

    def make(lane: str | None = None, seconds: float = 60.0, **limits: Any) -> Worker:
        config = source(
            RestApi(
                busy.api.url,
                data_selector="data",
                paginator=Paginator("pageNumber", total_path="pages"),
                limits=RequestLimits(**limits),
            )
        )
        return Worker(config, table, aws("secretsmanager"), lane, seconds)

    return make


def together(workers: list[Worker]) -> None:
    with ThreadPoolExecutor(len(workers)) as pool:
        for rows in pool.map(Worker.run, workers):
            assert sorted(rows) == list(range(1, PAGES + 1))


def test_runs_together_have_no_more_requests_under_way_than_one_may(
    busy: Source, worker: Any
) -> None:
    lanes = [None, "orders/january-0000", "orders/january-0001"]
    together([worker(lane, concurrency=4) for lane in lanes])
    assert 2 <= busy.most <= 4


@pytest.mark.usefixtures("often")
def test_more_runs_than_requests_take_turns(
    busy: Source, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares_module, "TURN_SECONDS", 0.2)
    together([worker(f"orders/part-{n}", concurrency=1) for n in range(3)])
    assert busy.most == 1


def test_who_gets_no_turn_in_time_says_so_and_asks_nothing(
    busy: Source, worker: Any, table: Table
) -> None:
    now = CLOCK.now().timestamp()
    pace = Pace(table, "shop/orders", "another")
    assert pace.write(pace.read(), {"another": Share(1, now + 60, now, now)})
    with pytest.raises(SourceRateLimited, match=r"limits\.concurrency"):
        worker(seconds=0.5, concurrency=1).run()
    assert not busy.begun


def test_a_run_that_died_holds_its_requests_for_seconds_only(
    busy: Source, worker: Any, table: Table
) -> None:
    now = CLOCK.now().timestamp()
    pace = Pace(table, "shop/orders", "dead")
    assert pace.write(pace.read(), {"dead": Share(1, now + 1, now - 14, now - 14)})
    assert len(worker(concurrency=1).run()) == PAGES
    assert CLOCK.now().timestamp() > now + 1
    assert HOLD_SECONDS <= 15


def test_a_run_that_is_begun_again_takes_its_dead_ones_requests_at_once(
    busy: Source, worker: Any, table: Table
) -> None:
    now = CLOCK.now().timestamp()
    pace = Pace(table, "shop/orders", "orders/part-1")
    assert pace.write(pace.read(), {pace.name: Share(1, now + 15, now, now)})
    began = time.monotonic()
    worker("orders/part-1", concurrency=1).run()
    assert busy.begun[0] - began < 1


def test_a_run_alone_asks_the_table_a_few_times_whatever_it_reads(
    worker: Any, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, known = [], table._db.meta.events

    def seen(model: Any, **_: Any) -> None:
        calls.append(model.name)

    known.register("before-call.dynamodb", seen)
    try:
        # The landing's own calls are not of the source's.
        pace = Pace(table, "shop/orders")
        runner = worker()
        runner._source._pace = pace
        runner.run()
    finally:
        known.unregister("before-call.dynamodb", seen)
    assert calls == ["GetItem", "UpdateItem", "GetItem", "UpdateItem"]
    assert pace.read().shares == {}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry-After": "2"}),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2"}),
    ],
)
def test_what_one_run_is_told_holds_all_of_them_back_without_a_rate(
    busy: Source, worker: Any, status: int, headers: Mapping[str, str]
) -> None:
    told: list[float] = []

    def refuse(call: Any) -> Any:
        if len(busy.begun) != 10:
            return None
        told.append(time.monotonic())
        if status == 200:
            page = int(call.query["page"])
            body = json.dumps({"data": [{"id": page}], "pages": PAGES}).encode()
            return 200, headers, body
        return status, headers, b""

    busy.refusal = refuse
    lanes = [None, "orders/part-0", "orders/part-1"]
    together([worker(lane, concurrency=3) for lane in lanes])
    (moment,) = told
    # One look of the others, and what was under way.
    assert not [at for at in busy.begun if moment + 0.6 < at < moment + 1.9]
    assert [at for at in busy.begun if at > moment + 1.9]


def test_a_pause_outlives_the_run_that_was_told(busy: Source, worker: Any) -> None:
    busy.refusal = lambda _call: (429, {"Retry-After": "2"}, b"")
    with pytest.raises(SourceRateLimited):
        worker(max_attempts=1).run()
    told = busy.begun[-1]
    busy.refusal = lambda _call: None
    worker("orders/part-1").run()
    assert min(at for at in busy.begun if at > told) >= told + 1.9


def test_a_refusal_with_calls_left_is_final(busy: Source, worker: Any) -> None:
    busy.refusal = lambda _call: (403, {"X-RateLimit-Remaining": "7"}, b"")
    with pytest.raises(SourceForbidden):
        worker(concurrency=1).run()
    assert len(busy.begun) == 1


@pytest.mark.usefixtures("often")
def test_runs_that_cannot_be_kept_in_step_fail_with_the_reason(
    busy: Source, worker: Any, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = RuntimeError("the table is gone")

    def no_more(_self: Company) -> bool:
        raise gone

    look = Company.look
    looks = iter([look])
    monkeypatch.setattr(Company, "look", lambda self: next(looks, no_more)(self))
    busy.refusal = lambda _call: (429, {"Retry-After": "2"}, b"") if len(busy.begun) == 3 else None
    with pytest.raises(RuntimeError, match="the table is gone"):
        worker(concurrency=1).run()


def test_a_landing_that_fails_while_it_writes_gives_its_requests_back(
    table: Table,
    storage: Any,
    source: Any,
    aws: Any,
    busy: Source,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = source(RestApi(busy.api.url, paginator=Paginator("pageNumber", total_path="pages")))
    pace = Pace(table, config.id)
    rest = RestSource(config, Secrets(aws("secretsmanager"), {}, CLOCK), CLOCK, pace=pace)

    def fails(*_: Any) -> None:
        assert pace.read().shares
        raise OSError("no room")

    monkeypatch.setattr(PartWriter, "write", fails)
    lander = Lander(config, rest, table, storage, CLOCK, lambda: 900.0)
    with pytest.raises(OSError, match="no room") as caught:
        lander.land("run-1", None, None)
    assert caught.tb  # What failed is still known, with all that it holds.
    left = pace.read().shares.get(pace.name)
    assert left is None or left.requests < 16
    assert not [one for one in threading.enumerate() if one.name == "company"]


# -- the decision alone --------------------------------------------------------------------------


@given(
    most=st.integers(1, 6),
    steps=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["look", "ask", "end", "die"])),
        max_size=120,
    ),
    seconds=st.floats(0.1, 12),
)
def test_runs_never_have_more_under_way_than_the_limit_in_whatever_order_they_look(
    most: int, steps: list[tuple[str, str]], seconds: float
) -> None:
    known: dict[str, Share] = {}
    under_way: dict[str, int] = {}
    allotted: dict[str, int] = {}
    now = 1000.0
    for name, what in steps:
        now += seconds / 8
        # A run that has not looked in time has nothing left: neither here nor there.
        for dead in set(allotted) - set(living(known, now)):
            under_way.pop(dead, None)
            allotted.pop(dead)
        if what == "look":
            others = living(known, now)
            mine = others.pop(name, None) or Share(0, now, now)
            wish = wanted(others, mine, name, most, now)
            share = granted(others, wish, most, under_way.get(name, 0), now)
            known = {**others, name: share}
            allotted[name] = min(wish.requests, share.requests)
        elif what == "ask" and under_way.get(name, 0) < allotted.get(name, 0):
            under_way[name] = under_way.get(name, 0) + 1
        elif what == "end" and under_way.get(name, 0):
            under_way[name] -= 1
        elif what == "die":
            known.pop(name, None)
            under_way.pop(name, None)
            allotted.pop(name, None)
        assert sum(under_way.values()) <= most
        assert sum(share.requests for share in living(known, now).values()) <= most


@pytest.mark.parametrize(("most", "runs"), [(1, 4), (2, 5), (4, 3), (16, 20), (16, 1)])
def test_every_run_gets_its_turn_and_none_of_the_requests_is_idle_for_long(
    most: int, runs: int
) -> None:
    known: dict[str, Share] = {}
    had = dict.fromkeys(range(runs), 0)
    for second in range(runs * 40):
        now = 1000.0 + second
        for run in range(runs):
            others = {name: share for name, share in known.items() if name != str(run)}
            mine = known.get(str(run)) or Share(0, now, now)
            wish = wanted(others, mine, str(run), most, now)
            known[str(run)] = granted(others, wish, most, 0, now)
            had[run] += known[str(run)].requests
    total = sum(had.values())
    assert total >= 0.85 * most * runs * 40
    assert min(had.values()) >= 0.7 * total / runs


def test_nothing_of_a_source_is_left_in_the_table_but_its_moments(
    worker: Any, table: Table, busy: Source
) -> None:
    together([worker("orders/part-1"), worker()])
    item = table.get(source_pk("shop/orders"), PACE)
    assert item is not None
    assert item["shares"] == {}


def test_a_run_ends_with_the_sources_error_and_leaves_nothing_behind(
    worker: Any, table: Table, busy: Source
) -> None:
    busy.refusal = lambda call: (404, {}, b"") if call.query["page"] == "5" else None
    with pytest.raises(WeirError):
        worker().run()
    left = Pace(table, "shop/orders").read().shares
    assert all(share.until < CLOCK.now().timestamp() + HOLD_SECONDS for share in left.values())
