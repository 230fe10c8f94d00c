"""How fast a source may be asked: one budget for all threads of a run, in step with other runs."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from weir_contract.sources import RequestLimits
from weir_lambdas.api_ingestion.pace import Pace
from weir_lambdas.common.clock import Clock

FIRST_WINDOW = 4
"""Requests under way at first, before the source has shown that it takes more."""

MAX_PAUSE_SECONDS = 300.0
"""No rate-limit header makes us wait longer."""

SAME_SECONDS = 0.1
"""Two pauses that end within it are one."""

EPOCH_FLOOR = 1_000_000_000
"""A reset above this is a moment in seconds since 1970, below it a number of seconds."""

BUFFER_BYTES = 64 * 1024 * 1024
"""Bytes of answers that may wait to be read, all threads together."""

STRETCH_SECONDS = 1.0
"""Seconds of the source's pace that a run takes at a time at most, or one request's."""

MILLIS_FLOOR = 100_000_000_000
"""A reset above this is in milliseconds since 1970."""

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
"""A fraction is none of RFC 9110's, but is sent all the same."""

_DRAFT = re.compile(r"(?:^|[;,\s])([a-z]+)\s*=\s*(\d+)")


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    None where it is missing or can't be read; a date in the past is 0.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max(0.0, (moment - now).total_seconds())


def exhausted(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until a source that says it has no calls left has some again, or None.

    Read are ``RateLimit`` and ``RateLimit-Remaining`` / ``-Reset`` (draft-ietf-httpapi-ratelimit-
    headers) and the ``X-RateLimit-`` and ``X-Rate-Limit-`` forms that came before.
    """
    found = {
        name.lower().replace("x-", "").replace("rate-limit", "ratelimit"): value
        for name, value in headers.items()
    }
    combined = dict(_DRAFT.findall(found.get("ratelimit", "")))
    remaining = found.get("ratelimit-remaining") or combined.get("remaining") or combined.get("r")
    reset = found.get("ratelimit-reset") or combined.get("reset") or combined.get("t")
    if remaining is None or reset is None or remaining.strip() not in ("0", "0.0"):
        return None
    try:
        seconds = float(reset)
    except ValueError:
        return retry_after(reset, now)
    if seconds > MILLIS_FLOOR:
        seconds /= 1000
    if seconds > EPOCH_FLOOR:
        seconds -= now.timestamp()
    return max(0.0, seconds)


class Budget:
    """Pace, pauses and width, shared by all threads.

    Parameters
    ----------
    limits
        ``requests_per_second`` and ``concurrency``.
    pace
        What other runs of the source go by too; None: there are none. How many of the requests are
        this run's is told by :class:`weir_lambdas.api_ingestion.company.Company`.
    """

    def __init__(self, limits: RequestLimits, clock: Clock, pace: Pace | None = None) -> None:
        self._rate, self.most = limits.requests_per_second, max(1, limits.concurrency)
        self._allotted, self._held_until, self._under_way = self.most, math.inf, 0
        self._failure: Exception | None = None
        self._pace, self._ours_until = pace, 0.0
        self._taken, self._used = 1, 0
        self._clock, self._lock = clock, threading.Condition()
        self._next_at = self._open_at = 0.0
        self._window = min(FIRST_WINDOW, self.most)
        self._largest, self._latency = 1, 0.0

    @property
    def width(self) -> int:
        """Requests that may be under way now."""
        with self._lock:
            width = min(self._window, self._allotted, BUFFER_BYTES // self._largest)
            if self._rate:
                # More at once would only wait for its turn (Little's law).
                width = min(width, math.ceil(self._rate * self._latency))
            return max(1, width)

    def begin(self, seconds: float) -> bool:
        """Wait until one more request may be under way; :meth:`end` it then.

        Parameters
        ----------
        seconds
            How long to wait at most.

        Returns
        -------
        bool
            False where other runs of the source had all requests for that long.

        Raises
        ------
        Exception
            What :meth:`give_up` was told.
        """
        with self._lock:
            if not self._may_begin():
                self._lock.wait_for(self._may_begin, seconds)
            if self._failure is not None:
                raise self._failure
            begins = self._may_begin()
            self._under_way += begins
            return begins

    def _may_begin(self) -> bool:
        if self._failure is not None:
            return True
        held = self._held_until == math.inf or self._clock.monotonic() < self._held_until
        return held and self._under_way < self._allotted

    def end(self) -> None:
        """A request is no longer under way."""
        with self._lock:
            self._under_way -= 1
            self._lock.notify()

    def narrow(self, requests: int) -> int:
        """No request begins while that many are under way. Returns how many are."""
        with self._lock:
            self._allotted = min(self._allotted, requests)
            return self._under_way

    def allot(self, requests: int, seconds: float) -> None:
        """That many may be under way from now on, and none begins after so many seconds."""
        with self._lock:
            self._allotted = requests
            self._held_until = self._clock.monotonic() + seconds
            self._lock.notify_all()

    def give_up(self, error: Exception) -> None:
        """Whoever asks next gets this error."""
        with self._lock:
            self._failure = error
            self._lock.notify_all()

    def take(self) -> float:
        """Seconds to wait before the next request; the place in the queue is taken."""
        with self._lock:
            now = self._clock.monotonic()
            at = max(now, self._open_at, self._next_at)
            if self._rate:
                if self._pace is not None and at >= self._ours_until:
                    at = self._stretch(self._pace, at, 1 / self._rate)
                self._used += 1
                self._next_at = at + 1 / self._rate
            return at - now

    def _stretch(self, pace: Pace, at: float, each: float) -> float:
        """Take the next stretch of the source's time, for as many requests as were made in the one
        before, or twice as many where that was all of it. What is left of the one before is given up:
        it would be used beside somebody else's. Returns when it begins."""
        most = max(1, int(STRETCH_SECONDS / each))
        self._taken = min(
            most, 2 * self._taken if self._used >= self._taken else max(1, self._used)
        )
        self._used = 0
        apart = self._clock.now().timestamp() - self._clock.monotonic()
        begins = pace.reserve(at + apart, self._taken * each) - apart
        # Half a request's time before its end none fits in any more.
        self._ours_until = begins + (self._taken - 0.5) * each
        return max(at, begins)

    @property
    def closed(self) -> bool:
        """Whether the source is to be left alone now."""
        with self._lock:
            return self._open_at > self._clock.monotonic() + 0.001

    def pause(self, seconds: float) -> None:
        """Nobody asks for that long, in no run of the source."""
        if self.hold(seconds) and self._pace is not None:
            self._pace.shut(self._clock.now().timestamp() + min(seconds, MAX_PAUSE_SECONDS))

    def hold(self, seconds: float) -> bool:
        """No thread asks for that long; returns whether that is longer than was known."""
        with self._lock:
            until = self._clock.monotonic() + min(seconds, MAX_PAUSE_SECONDS)
            # Answers that came together ask for the same moment, give or take their way.
            longer = until > self._open_at + SAME_SECONDS
            self._open_at = max(self._open_at, until)
            return longer and seconds > 0

    def went_well(self, size: int, seconds: float, headers: Mapping[str, str]) -> None:
        """An answer of that many bytes came: the window opens, or the source's headers close it."""
        with self._lock:
            self._latency = max(seconds, self._latency * 0.9)
            self._window = min(self.most, self._window * 2)
            self._largest = max(self._largest, size)
        wait = exhausted(headers, self._clock.now())
        if wait:
            self.pause(wait)

    def went_badly(self) -> None:
        """The source is overloaded: half as many at once."""
        with self._lock:
            self._window = max(1, self._window // 2)
