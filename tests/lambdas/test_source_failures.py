"""Every way in which a source can fail is its own clear error."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from rest_rig import read, source_of
from weir_contract.sources import Paginator, RequestLimits, RestApi
from weir_lambdas.api_ingestion.budget import retry_after
from weir_lambdas.api_ingestion.client import backoff
from weir_lambdas.common.errors import (
    ACTIONS,
    ConfigInvalid,
    EgressRefused,
    SecretMissing,
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceRateLimited,
    SourceTooLarge,
    SourceUnauthorized,
    SourceUnavailable,
    WeirError,
)
from weir_lambdas.common.failures import failure_of

HTML = {"Content-Type": "text/html; charset=utf-8"}

FINAL = [
    (401, {}, b"no", SourceUnauthorized, "401"),
    (403, {}, b"no", SourceForbidden, "403"),
    (404, {}, b"no", SourceNotFound, "404"),
    (410, {}, b"no", SourceNotFound, "410"),
    (400, {}, b"no", SourceBadAnswer, "400"),
    (200, HTML, b"<html>login</html>", SourceBadAnswer, "HTML"),
    (200, {}, b"  <?xml version='1.0'?>", SourceBadAnswer, "HTML or XML"),
    (200, {}, b"", SourceBadAnswer, "empty body"),
    (200, {}, b'{"data": [', SourceBadAnswer, "no valid JSON"),
    (200, {}, b'"text"', SourceBadAnswer, "neither a list nor an object"),
    (302, {}, b"", SourceBadAnswer, "without a Location"),
]


@pytest.mark.parametrize(("status", "headers", "body", "error", "words"), FINAL)
def test_an_answer_that_stays_wrong_is_told_at_once(
    api: Any,
    source: Any,
    lander: Any,
    status: int,
    headers: Any,
    body: bytes,
    error: Any,
    words: str,
) -> None:
    api.answer = lambda call, http: (status, headers, body)
    with pytest.raises(error, match=words) as caught:
        lander(source(RestApi(f"{api.url}/rows?key=hush"))).land("run-1", None, None)
    assert len(api.calls) == 1
    assert f"{api.url}/rows" in str(caught.value)
    assert ACTIONS[error.__name__] in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, SourceRateLimited), (500, SourceUnavailable), (503, SourceUnavailable)],
)
def test_an_answer_that_may_get_better_is_asked_for_again(
    api: Any, source: Any, lander: Any, status: int, error: Any
) -> None:
    api.answer = lambda call, http: (status, {}, b"")
    with pytest.raises(error):
        config = source(RestApi(api.url, limits=RequestLimits(max_attempts=3)))
        lander(config).land("run-1", None, None)
    assert len(api.calls) == 3
    api.answer = lambda call, http: (status, {}, b"") if len(api.calls) < 5 else (200, {}, b"[{}]")
    assert lander(config).land("run-2", None, None).rows == 1


def test_retry_after_is_waited_for(api: Any, source: Any, lander: Any, clock: Any) -> None:
    date = format_datetime(datetime(2026, 3, 1, 12, 0, 27, tzinfo=UTC), usegmt=True)
    waits = iter([{"Retry-After": "7"}, {"Retry-After": date}])

    def answer(call: Any, http: Any) -> Any:
        return (429, next(waits), b"") if len(api.calls) < 3 else (200, {}, b"[]")

    api.answer = answer
    lander(source(RestApi(api.url))).land("run-1", None, None)
    assert clock.slept == [7.0, 20.0]


@pytest.mark.parametrize("status", [403, 429, 503])
def test_who_has_no_calls_left_waits_until_he_has_some_again(
    api: Any, source: Any, lander: Any, clock: Any, status: int
) -> None:
    none_left = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}
    api.answer = lambda call, http: (
        (status, none_left, b"") if len(api.calls) < 2 else (200, {}, b"[{}]")
    )
    assert lander(source(RestApi(api.url))).land("run-1", None, None).rows == 1
    assert clock.slept == [9.0]


def test_an_error_that_lasts_is_told_once_while_it_is_tried_again(api: Any, clock: Any) -> None:
    told: list[WeirError] = []

    def asked(*answers: tuple[int, dict[str, str], bytes]) -> int:
        told.clear()
        left = list(answers)
        api.answer = lambda call, http: left.pop(0)
        config = source_of(RestApi(api.url), clock, troubled=told.append)
        assert read(RestApi(api.url), clock, source=config).rows == []
        return len(told)

    fine, later = (200, {}, b"[]"), {"Retry-After": "9"}
    assert asked((500, {}, b""), (429, {"Retry-After": "2"}, b""), fine) == 0
    assert asked((503, later, b""), (503, later, b""), (503, later, b""), fine) == 1
    assert isinstance(told[0], SourceUnavailable)


def test_a_wait_longer_than_the_function_may_run_is_an_error_at_once(
    api: Any, source: Any, lander: Any, clock: Any
) -> None:
    api.answer = lambda call, http: (429, {"Retry-After": "250"}, b"")
    with pytest.raises(SourceRateLimited, match="250 s"):
        lander(source(RestApi(api.url)), lambda: 200.0).land("run-1", None, None)
    assert clock.slept == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("120", 120),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2020 12:01:00 GMT", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: Any, expected: Any, clock: Any) -> None:
    assert retry_after(value, clock.now()) == expected


def test_backoff_grows_and_is_bounded() -> None:
    assert [backoff(n, lambda: 1.0) for n in (1, 2, 3, 20)] == [1.0, 2.0, 4.0, 60.0]
    assert backoff(5, lambda: 0.0) == 0


def _endless(compressed: bool) -> Callable[..., None]:
    def answer(call: Any, http: Any) -> None:
        http.send_response(200)
        http.send_header("Content-Type", "application/json")
        if compressed:
            http.send_header("Content-Encoding", "gzip")
        http.send_header("Connection", "close")
        http.end_headers()
        block = b"[" + b"1," * 50_000
        block = gzip.compress(block * 100) if compressed else block
        until = time.monotonic() + 20
        try:
            while time.monotonic() < until:
                http.wfile.write(block)
        except OSError:
            return

    return answer


@pytest.mark.parametrize("compressed", [False, True])
def test_an_answer_without_end_is_cut_off(
    api: Any, source: Any, lander: Any, compressed: bool
) -> None:
    api.answer = _endless(compressed)
    limits = RequestLimits(max_response_bytes=10_000_000)
    started = time.monotonic()
    with pytest.raises(SourceTooLarge, match="more than 10000000 bytes"):
        lander(source(RestApi(api.url, limits=limits))).land("run-1", None, None)
    assert time.monotonic() - started < 15


def test_an_answer_that_announces_too_much_is_not_read(api: Any, source: Any, lander: Any) -> None:
    api.answer = lambda call, http: (200, {}, b"[" + b" " * 2000 + b"]")
    with pytest.raises(SourceTooLarge, match="announces 2002 bytes"):
        lander(source(RestApi(api.url, limits=RequestLimits(max_response_bytes=1000)))).land(
            "r", None, None
        )


def test_an_answer_that_breaks_off_is_asked_for_again(api: Any, source: Any, lander: Any) -> None:
    def answer(call: Any, http: Any) -> Any:
        if len(api.calls) > 1:
            return 200, {}, b'[{"id":1}]'
        http.send_response(200)
        http.send_header("Content-Length", "1000")
        http.end_headers()
        http.wfile.write(b'[{"id":')
        return None

    api.answer = answer
    assert lander(source(RestApi(api.url))).land("run-1", None, None).rows == 1


def test_a_selector_that_finds_nothing_says_what_is_there(
    api: Any, source: Any, lander: Any
) -> None:
    api.answer = lambda call, http: (200, {}, b'{"error": "x", "code": 1}')
    with pytest.raises(SourceBadAnswer, match="it has the keys error, code"):
        lander(source(RestApi(api.url, data_selector="result.rows"))).land("run-1", None, None)


def test_a_total_that_is_none_is_told(api: Any, source: Any, lander: Any) -> None:
    api.answer = lambda call, http: (200, {}, b'{"data":[{"a":1}],"total":"many"}')
    style = Paginator("offset", total_path="total")
    with pytest.raises(SourceBadAnswer, match="totalPath 'total'"):
        lander(source(RestApi(api.url, paginator=style))).land("run-1", None, None)


def test_the_pace_is_kept(api: Any, source: Any, lander: Any, clock: Any) -> None:
    style = Paginator("pageNumber")
    api.answer = lambda call, http: (
        200,
        {},
        b"[]" if call.query["page"] == "4" else b'[{"p":%s}]' % call.query["page"].encode(),
    )
    limits = RequestLimits(requests_per_second=2)
    lander(source(RestApi(api.url, paginator=style, limits=limits))).land("run-1", None, None)
    assert clock.slept == [0.5, 0.5, 0.5]


SECRETS = [
    ("${SECRET:absent}", {"absent": "no/such"}, "no such secret"),
    ("${SECRET:foreign}", {}, "not granted"),
    ("${SECRET:plain#key}", {"plain": "t/plain"}, "no JSON object"),
    ("${SECRET:doc#other}", {"doc": "t/doc"}, "no such key"),
]


@pytest.mark.parametrize(("header", "ids", "words"), SECRETS)
def test_a_secret_that_is_missing_is_named_and_never_shown(
    api: Any, aws: Any, source: Any, lander: Any, header: str, ids: Any, words: str, capsys: Any
) -> None:
    manager = aws("secretsmanager")
    for name, text in (("t/plain", "top-secret"), ("t/doc", '{"key": "top-secret"}')):
        try:
            manager.create_secret(Name=name, SecretString=text)
        except manager.exceptions.ResourceExistsException:
            manager.put_secret_value(SecretId=name, SecretString=text)
    config = source(RestApi(api.url, headers={"X": header}), secrets=ids)
    with pytest.raises(SecretMissing, match=words) as caught:
        lander(config).land("run-1", None, None)
    assert header in str(caught.value)
    assert "top-secret" not in str(caught.value) + capsys.readouterr().out
    assert not api.calls


def test_a_typo_in_a_reference_is_an_error_and_not_a_header(
    api: Any, source: Any, lander: Any
) -> None:
    with pytest.raises(ConfigInvalid, match=r"headers\.X"):
        lander(source(RestApi(api.url, headers={"X": "${SECRT:a}"}))).land("run-1", None, None)
    assert not api.calls


def test_loopback_is_refused_where_the_platform_does_not_allow_it(
    api: Any, source: Any, lander: Any
) -> None:
    from weir_contract.sources import Egress

    with pytest.raises(EgressRefused, match="loopback"):
        lander(source(RestApi(api.url), egress=Egress())).land("run-1", None, None)
    assert not api.calls


def test_every_error_says_what_to_do_and_only_transient_ones_are_retried() -> None:
    classes = list(WeirError.__subclasses__())
    assert {c.__name__ for c in classes} <= set(ACTIONS)
    assert {c.__name__ for c in classes if c.retryable} == {
        "SourceRateLimited",
        "SourceUnavailable",
        "LeaseHeld",
        "LoadLost",
        "OutOfTime",
    }


def test_a_failed_job_is_called_by_its_own_word() -> None:
    cause = json.dumps({"ErrorMessage": "SystemExit: QualityFailed: stage check: 1 of 2 rules"})
    failure = failure_of("process", {"Error": "States.TaskFailed", "Cause": cause})
    assert (failure.error, failure.message) == ("QualityFailed", "stage check: 1 of 2 rules")
    assert "onFailure" in failure.action
    other = failure_of("process", {"Error": "States.TaskFailed", "Cause": "OutOfMemory: heap"})
    assert other.error == "States.TaskFailed"
