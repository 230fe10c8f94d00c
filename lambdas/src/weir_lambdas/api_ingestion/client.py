"""One call of the source: tried again where that can help, and told apart where it can't."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import urllib3
from urllib3.exceptions import HTTPError

from weir_contract.rest import RequestLimits, ResponseAction
from weir_lambdas.api_ingestion.budget import MAX_PAUSE_SECONDS, Budget, exhausted, retry_after
from weir_lambdas.api_ingestion.spool import MEMORY_BYTES, Spool, Spooled
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Request, cut_off, without_query
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

FINAL: Mapping[int, tuple[type[WeirError], str]] = {
    401: (SourceUnauthorized, "does not accept the credential"),
    403: (SourceForbidden, "forbids this call"),
    404: (SourceNotFound, "has nothing at this address"),
    410: (SourceNotFound, "has nothing at this address any more"),
}
"""Status -> error, where another try gives the same answer."""

AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
"""Statuses that may be better at the next try."""

TROUBLE_SECONDS = 15.0
"""An error that lasts as long is told, though it is tried again."""

ENDED = "the extraction has ended"
OVERLOADED = {429, 503}
GOOD = {200, 201, 202, 203, 206}
BASE_SECONDS, MAX_SECONDS = 0.5, 60.0
CHUNK_BYTES = 256 * 1024
BODY_TIMEOUTS = 10
"""A body may take this many request timeouts in all: a source that drips for ever is cut."""

MAX_ERROR_BYTES = 64 * 1024
"""What is read of an error's body, where a response action looks for a text in it."""


@dataclass(frozen=True)
class Answer:
    """An answer, not yet read: where it came from, its status, headers and bytes, which are in a
    file where they are many.

    ``ignored``: a response action says that it has no rows and that none follow.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes | Spooled
    status: int = 200
    ignored: bool = False


class Authenticator(Protocol):
    """Puts the credentials onto a request."""

    def apply(self, request: Request) -> Request:
        """The request with the credentials."""

    def renew(self, _request: Request) -> bool:
        """The source did not accept this request's credentials: whether there may be better ones."""


def backoff(attempt: int, jitter: Callable[[], float]) -> float:
    """Seconds to wait after attempt n (from 1): exponential with full jitter, 60 at most."""
    return float(min(MAX_SECONDS, BASE_SECONDS * 2**attempt) * jitter())


def fits(action: ResponseAction, status: int, body: bytes | Spooled) -> bool:
    """Whether a response action is for an answer."""
    wanted = action.status
    if wanted is not None and not re.fullmatch(wanted.lower().replace("x", "[0-9]"), str(status)):
        return False
    if action.content is None:
        return True
    text = action.content.encode()
    return body.contains(text) if isinstance(body, Spooled) else text in body


class SourceClient:
    """Calls a source within its limits and the function's time, from any number of threads.

    Parameters
    ----------
    egress
        The guarded HTTP client.
    limits
        Attempts, timeouts, sizes.
    budget
        Pace and pauses.
    remaining
        Seconds that the function still may run.
    auth
        Puts the credentials onto each request.
    actions
        What the configuration says of certain answers, in its order.
    jitter
        A random number in [0, 1).
    spool
        Where large answers are kept.
    troubled
        Told once of an error that has lasted for :data:`TROUBLE_SECONDS`, or will, and is tried again.
    """

    def __init__(
        self,
        egress: EgressClient,
        limits: RequestLimits,
        budget: Budget,
        clock: Clock,
        remaining: Callable[[], float],
        auth: Authenticator | None = None,
        actions: Sequence[ResponseAction] = (),
        jitter: Callable[[], float] = random.random,
        spool: Spool | None = None,
        troubled: Callable[[WeirError], None] = lambda _error: None,
    ) -> None:
        self._egress, self._limits, self._budget = egress, limits, budget
        self._clock, self._remaining, self._auth = clock, remaining, auth
        self._actions, self._jitter = tuple(actions), jitter
        self._reads_errors = any(action.content is not None for action in self._actions)
        self._troubled, self._told = troubled, threading.Lock()
        self._closed, self._spool = threading.Event(), spool or Spool()

    def close(self) -> None:
        """No call begins another attempt from here on."""
        self._closed.set()
        self._budget.give_up(OutOfTime(ENDED))

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
            The status is none of these, or the answer exceeds ``max_response_bytes``.
        EgressRefused
            The request, or a redirect, leads where the Platform does not allow.
        """
        where = without_query(request.url)
        attempts, renewed = self._limits.max_attempts, False
        attempt, first = 1, self._clock.monotonic()
        while attempt <= attempts:
            asked: float | None = None
            with self._turn(where):
                signed = self._auth.apply(request) if self._auth else request
                began = self._clock.monotonic()
                try:
                    answer, url = self._egress.send(signed)
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
                        took = self._clock.monotonic() - began
                        self._budget.went_well(len(outcome.body), took, outcome.headers)
                        return outcome
                    failure, asked = self._refused(outcome, answer, where)
            if isinstance(failure, SourceUnauthorized) and self._auth and not renewed:
                renewed = True
                if self._auth.renew(signed):
                    continue
            if not failure.retryable:
                raise failure
            if attempt == attempts or self._closed.is_set():
                raise failure
            lasts = self._clock.monotonic() - first + (asked or 0.0)
            if lasts >= TROUBLE_SECONDS and self._told.acquire(blocking=False):
                self._troubled(failure)
            self._wait(asked, attempt, failure, where)
            attempt += 1
        raise OutOfTime("limits.maxAttempts is 0, so nothing was asked", where)

    def _refused(
        self, failure: WeirError, answer: urllib3.BaseHTTPResponse, where: str
    ) -> tuple[WeirError, float | None]:
        """The error that an answer is, and the seconds that the source asks to wait: everybody does."""
        now = self._clock.now()
        asked, empty = None, exhausted(answer.headers, now)
        if isinstance(failure, SourceForbidden) and empty is not None:
            # GitHub and others refuse so whoever has used up his calls.
            failure = SourceRateLimited(f"{answer.status}: no calls are left", where)
        if failure.retryable:
            asked = retry_after(answer.headers.get("Retry-After"), now)
            asked = empty if asked is None else asked
        if asked is not None:
            self._budget.pause(asked)
        if answer.status in OVERLOADED or isinstance(failure, SourceRateLimited):
            self._budget.went_badly()
        return failure, asked

    @contextmanager
    def _turn(self, where: str) -> Iterator[None]:
        """One of the requests that may be under way, at the moment when it is due."""
        if not self._budget.begin(self._remaining()):
            raise SourceRateLimited(
                "other runs of the source had all limits.concurrency requests under way", where
            )
        try:
            pause = self._budget.take()
            while pause > 0:
                if pause > self._remaining():
                    raise SourceRateLimited(
                        f"the next call is due in {pause:.0f} s, longer than this run may", where
                    )
                self._clock.sleep(pause)
                # Another may have been told to wait, meanwhile.
                pause = self._budget.take() if self._budget.closed else 0.0
            if self._closed.is_set():
                raise OutOfTime(ENDED, where)
            yield
        finally:
            self._budget.end()

    def _wait(self, asked: float | None, attempt: int, failure: WeirError, where: str) -> None:
        pause = backoff(attempt, self._jitter) if asked is None else asked
        if pause > min(MAX_PAUSE_SECONDS, self._remaining()):
            raise type(failure)(
                f"{failure.what}; it asks to wait {pause:.0f} s, longer than this run may", where
            ) from failure
        if asked is None:
            self._clock.sleep(pause)

    def _read(self, answer: urllib3.BaseHTTPResponse, url: str) -> Answer | WeirError:
        """The answer with its body, or the error that it is."""
        status, where = answer.status, without_query(url)
        good = status in GOOD
        body: bytes | Spooled = b""
        try:
            if good:
                seconds = self._body_seconds()
                with cut_off(answer.connection, seconds, f"still sending after {seconds:.0f} s"):
                    body = self._body(answer, where)
            elif self._reads_errors and status != 204:
                body = answer.read(MAX_ERROR_BYTES, decode_content=True)
        except HTTPError as error:
            return SourceUnavailable(f"the answer broke off: {_network(error)}", where)
        headers = dict(answer.headers)  # lines of the same name are joined
        for action in self._actions:
            if fits(action, status, body):
                return self._act(action, Answer(url, headers, body, status), where)
        if good or status == 204:
            return Answer(url, headers, body, status)
        return failure_of(status, where)

    def _act(self, action: ResponseAction, answer: Answer, where: str) -> Answer | WeirError:
        if action.action == "ignore":
            return Answer(answer.url, answer.headers, b"", answer.status, ignored=True)
        said = action.message or (f"a response action says {action.action}")
        if action.action == "retry":
            return SourceUnavailable(f"{answer.status}: {said}", where)
        known = FINAL.get(answer.status, (SourceBadAnswer, ""))[0]
        return known(f"{answer.status}: {said}", where)

    def _body_seconds(self) -> float:
        return min(self._limits.timeout_seconds * BODY_TIMEOUTS, max(self._remaining(), 1.0))

    def _body(self, answer: urllib3.BaseHTTPResponse, where: str) -> bytes | Spooled:
        limit = self._limits.max_response_bytes
        declared = answer.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > limit:
            raise SourceTooLarge(f"announces {declared} bytes, the limit is {limit}", where)
        if (
            declared.isdigit()
            and int(declared) <= CHUNK_BYTES
            and not answer.headers.get("Content-Encoding")
        ):
            return answer.read()  # one chunk: nothing is to be counted or cut off
        until = self._clock.monotonic() + self._body_seconds()
        size = 0

        def received() -> Iterator[bytes]:
            nonlocal size
            while chunk := answer.read(CHUNK_BYTES, decode_content=True):
                yield chunk
                size += len(chunk)
                if size > limit:
                    raise SourceTooLarge(
                        f"sent more than {limit} bytes in one answer and was cut off", where
                    )
                if self._clock.monotonic() > until:
                    raise urllib3.exceptions.ReadTimeoutError(
                        None,  # type: ignore[arg-type]
                        where,
                        f"still sending after {size} bytes",
                    )

        chunks, body = list[bytes](), received()
        for chunk in body:
            chunks.append(chunk)
            if size + len(chunk) > MEMORY_BYTES:
                return self._spool.write(chain(chunks, body), where)
        return b"".join(chunks)


def failure_of(status: int, where: str) -> WeirError:
    """The error that a status is."""
    failure = _failure_of(status, where)
    failure.status = status
    return failure


def _failure_of(status: int, where: str) -> WeirError:
    if status in FINAL:
        error, what = FINAL[status]
        return error(f"{status}: the source {what}", where)
    if status == 429:
        return SourceRateLimited("429: the source asks for fewer calls", where)
    if status in AGAIN or status >= 500:
        return SourceUnavailable(f"{status}: the source failed", where)
    return SourceBadAnswer(f"{status}, but 200 was expected", where)


def _network(error: HTTPError) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(error).__name__}: {without_query(str(reason)).removeprefix('None: ')}"[:300]
