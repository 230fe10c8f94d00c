"""One call of the source: tried again where that can help, and told apart where it can't."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from weir_contract.sources import RequestLimits
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Request, without_query
from weir_lambdas.common.errors import (
    OutOfTime,
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceRateLimited,
    SourceTooLarge,
    SourceUnauthorized,
    SourceUnavailable,
    WeirError,
)
from weir_lambdas.landing.records import parse

FINAL: Mapping[int, tuple[type[WeirError], str]] = {
    401: (SourceUnauthorized, "does not accept the credential"),
    403: (SourceForbidden, "forbids this call"),
    404: (SourceNotFound, "has nothing at this address"),
    410: (SourceNotFound, "has nothing at this address any more"),
}
"""Status -> error, where another try gives the same answer."""

AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
"""Statuses that may be better at the next try."""

BASE_SECONDS, MAX_SECONDS = 0.5, 60.0
MAX_RETRY_AFTER_SECONDS = 300.0
CHUNK_BYTES = 64 * 1024
BODY_TIMEOUTS = 10
"""A body may take this many request timeouts in all: a source that drips for ever is cut."""


@dataclass(frozen=True)
class Answer:
    """A parsed answer: where it came from, its headers, its JSON."""

    url: str
    headers: Mapping[str, str]
    data: Any
    bytes: int


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    None where it is missing or can't be read; a date in the past is 0.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - now).total_seconds())


def backoff(attempt: int, jitter: Callable[[], float]) -> float:
    """Seconds to wait after attempt n (from 1): exponential with full jitter, 60 at most."""
    return float(min(MAX_SECONDS, BASE_SECONDS * 2**attempt) * jitter())


class SourceClient:
    """Calls a source within its limits and the function's time.

    Parameters
    ----------
    egress
        The guarded HTTP client.
    limits
        Attempts, timeouts, sizes, pace.
    clock
        For pauses and dates.
    remaining
        Seconds that the function still may run.
    jitter
        A random number in [0, 1).
    """

    def __init__(
        self,
        egress: EgressClient,
        limits: RequestLimits,
        clock: Clock,
        remaining: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._egress, self._limits, self._clock = egress, limits, clock
        self._remaining, self._jitter = remaining, jitter
        self._next_at = 0.0

    def call(self, request: Request) -> Answer:
        """Send a request until it is answered well.

        Raises
        ------
        SourceUnauthorized, SourceForbidden, SourceNotFound
            The source refuses (401, 403, 404 / 410).
        SourceRateLimited, SourceUnavailable
            429, or 5xx and network failures, on every attempt; or the wait that the source asks
            for is longer than the function may run.
        SourceBadAnswer, SourceTooLarge
            The answer is no JSON, or exceeds ``max_response_bytes``.
        EgressRefused
            The request, or a redirect, leads where the Platform does not allow.
        """
        where = without_query(request.url)
        attempts = self._limits.max_attempts
        for attempt in range(1, attempts + 1):
            self._pace()
            asked: float | None = None
            try:
                answer, url = self._egress.send(request)
            except HTTPError as error:
                failure: WeirError = SourceUnavailable(
                    f"attempt {attempt} of {attempts}: {_network(error)}", where
                )
            else:
                try:
                    outcome = self._read(answer, url)
                finally:
                    answer.close()
                if isinstance(outcome, Answer):
                    return outcome
                failure = outcome
                if not failure.retryable:
                    raise failure
                asked = retry_after(answer.headers.get("Retry-After"), self._clock.now())
            if attempt == attempts:
                raise failure
            self._wait(asked, attempt, failure, where)
        raise OutOfTime("limits.maxAttempts is 0, so nothing was asked", where)

    def _wait(self, asked: float | None, attempt: int, failure: WeirError, where: str) -> None:
        pause = backoff(attempt, self._jitter) if asked is None else asked
        if pause > min(MAX_RETRY_AFTER_SECONDS, self._remaining()):
            raise type(failure)(
                f"{failure.what}; it asks to wait {pause:.0f} s, longer than this run may", where
            ) from failure
        self._clock.sleep(pause)

    def _pace(self) -> None:
        rate = self._limits.requests_per_second
        if not rate:
            return
        now = self._clock.monotonic()
        if now < self._next_at:
            self._clock.sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + 1 / rate

    def _read(self, answer: urllib3.BaseHTTPResponse, url: str) -> Answer | WeirError:
        """The parsed answer, or the error that it is."""
        status, where = answer.status, without_query(url)
        if status in FINAL:
            error, what = FINAL[status]
            return error(f"{status}: the source {what}", where)
        if status == 429:
            return SourceRateLimited("429: the source asks for fewer calls", where)
        if status in AGAIN or status >= 500:
            return SourceUnavailable(f"{status}: the source failed", where)
        if status == 204:
            return Answer(url, dict(answer.headers.items()), [], 0)
        if status != 200:
            return SourceBadAnswer(f"{status}, but 200 was expected", where)
        try:
            body = self._body(answer, where)
        except HTTPError as error:
            return SourceUnavailable(f"the answer broke off: {_network(error)}", where)
        return _parsed(body, answer, url)

    def _body(self, answer: urllib3.BaseHTTPResponse, where: str) -> bytes:
        limit = self._limits.max_response_bytes
        declared = answer.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > limit:
            raise SourceTooLarge(f"announces {declared} bytes, the limit is {limit}", where)
        until = self._clock.monotonic() + min(
            self._limits.timeout_seconds * BODY_TIMEOUTS, max(self._remaining(), 1.0)
        )
        body = bytearray()
        while chunk := answer.read(CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > limit:
                raise SourceTooLarge(
                    f"sent more than {limit} bytes in one answer and was cut off", where
                )
            if self._clock.monotonic() > until:
                raise urllib3.exceptions.ReadTimeoutError(
                    None,  # type: ignore[arg-type]
                    where,
                    f"still sending after {len(body)} bytes",
                )
        return bytes(body)


def _parsed(body: bytes, answer: urllib3.BaseHTTPResponse, url: str) -> Answer | WeirError:
    where = without_query(url)
    if not body.strip():
        return SourceBadAnswer("200 with an empty body, where JSON was expected", where)
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or body.lstrip()[:1] == b"<":
        return SourceBadAnswer(
            "200 with a page of HTML or XML, where JSON was expected: a login page, or the wrong "
            "path",
            where,
        )
    try:
        data = parse(body)
    except ValueError as error:
        return SourceBadAnswer(f"200, but the body is no valid JSON: {error}", where)
    return Answer(url, dict(answer.headers.items()), data, len(body))


def _network(error: HTTPError) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(error).__name__}: {without_query(str(reason))}"[:300]
