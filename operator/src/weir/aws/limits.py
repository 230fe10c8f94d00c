"""One limiter for each account, region and service, however many sessions lead there.

AWS counts calls by account, region and service, so a Platform that is throttled must slow the
others that lead to the same place too. The limiter is botocore's adaptive one (AWS SDKs and Tools
Reference Guide, "Retry behavior": a token bucket whose rate follows the answers), which botocore
itself gives each client for itself.
"""

from __future__ import annotations

import threading
from typing import Any

from botocore.retries import bucket, throttling
from botocore.retries.adaptive import ClientRateLimiter, RateClocker

from weir.aws.errors import Throttled, outcome_of

Place = tuple[str, str, str, str]
"""Endpoint, account, region and service."""


class _Detector:
    """Whether an answer says that there were too many calls, in any spelling of the table's."""

    def __init__(self, service: str) -> None:
        self._service = service

    def is_throttling_error(
        self, *, response: tuple[Any, dict[str, Any]] | None = None, **_: Any
    ) -> bool:
        """Of the event ``needs-retry``."""
        if response is None:
            return False
        http, parsed = response
        if http.status_code < 400:
            return (
                False  # Answers may have an Error of their own, such as DescribeStatement's text.
            )
        error = parsed.get("Error", {})
        code, text = str(error.get("Code", "")), str(error.get("Message", ""))
        return outcome_of(self._service, code, text, http.status_code).outcome is Throttled


class Limits:
    """The limiters of a process. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limiters: dict[Place, ClientRateLimiter] = {}

    def attach(self, place: Place, client: Any) -> None:
        """Hold a new client's tries to the rate of its place.

        Parameters
        ----------
        client
            A boto3 client in retry mode ``standard``: which has no limiter of its own.
        """
        limiter = self.of(place)
        client.meta.events.register("before-send", limiter.on_sending_request)
        client.meta.events.register("needs-retry", limiter.on_receiving_response)

    def of(self, place: Place) -> ClientRateLimiter:
        """The limiter of a place, made at its first use."""
        with self._lock:
            if place not in self._limiters:
                clock = bucket.Clock()
                self._limiters[place] = ClientRateLimiter(
                    rate_adjustor=throttling.CubicCalculator(
                        starting_max_rate=0, start_time=clock.current_time()
                    ),
                    rate_clocker=RateClocker(clock),
                    token_bucket=bucket.TokenBucket(max_rate=1, clock=clock),
                    throttling_detector=_Detector(place[3]),
                    clock=clock,
                )
            return self._limiters[place]


LIMITS = Limits()
"""Those of this process."""
