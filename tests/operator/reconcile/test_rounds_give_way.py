"""While somebody's edit is worked on, a drift round holds its AWS calls back, never for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry

from weir.aws import courtesy
from weir.aws.courtesy import RightOfWay, be_courteous, give_way, waiting_for_others
from weir.kube.keys import Key
from weir.reconcile.metrics import Metrics
from weir.reconcile.queue import Lane
from weir.reconcile.services import Result
from weir.reconcile.workers import Workers

LIMIT = 10.0


def courteous(right: RightOfWay) -> ThreadPoolExecutor:
    """A thread as a round's."""
    return ThreadPoolExecutor(1, initializer=be_courteous, initargs=(right.give_way,))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that waits for edits so long that the test sees it wait."""
    monkeypatch.setattr(courtesy, "LONGEST_WAIT", LIMIT)


def test_a_call_of_a_round_waits_until_the_edit_is_done(patient: None) -> None:
    right = RightOfWay()
    with courteous(right) as pool:
        with right.taken():
            call = pool.submit(give_way)
            assert not call.done()
            time.sleep(0.05)
            assert not call.done()
        call.result(LIMIT)


def test_a_round_goes_on_though_edits_follow_each_other_without_a_pause() -> None:
    right = RightOfWay()
    with courteous(right) as pool, right.taken():
        pool.submit(give_way).result(LIMIT)


def test_who_edits_waits_for_nobody(patient: None) -> None:
    right = RightOfWay()
    began = time.monotonic()
    with right.taken(), right.taken():
        give_way()
    assert time.monotonic() - began < LIMIT


def test_a_round_that_an_edit_waits_for_does_not_wait_for_that_edit(patient: None) -> None:
    right = RightOfWay()
    with courteous(right) as pool, right.taken(), waiting_for_others():
        began = time.monotonic()
        pool.submit(give_way).result(LIMIT)
        assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize(("lane", "passes"), [(Lane.EDIT, False), (Lane.DRIFT, True)])
def test_only_edits_go_first(patient: None, lane: Lane, passes: bool) -> None:
    under_way, may_end = threading.Event(), threading.Event()

    def reconcile(_: Key) -> Result:
        under_way.set()
        assert may_end.wait(LIMIT)
        return Result("gone")

    workers = Workers(reconcile, Metrics(CollectorRegistry()), 2, time.monotonic)
    workers.start()
    workers.add(Key("DataSource", "team", "orders"), lane)
    assert under_way.wait(LIMIT)
    with ThreadPoolExecutor(1) as pool:
        passed = pool.submit(workers.give_way)
        time.sleep(0.05)
        assert passed.done() is passes
        may_end.set()
        passed.result(LIMIT)
    assert workers.stop(LIMIT)
