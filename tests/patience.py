"""Waiting for what becomes true by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 120.0
"""Much more than anything takes: how long it may take is for benchmarks to say."""


def until(what: Callable[[], Any], seconds: float = PATIENCE_SECONDS, *, pause: float = 0.1) -> Any:
    """Ask until the answer is true, and give it.

    :param seconds: the most time to spend
    :param pause: seconds between two questions
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(pause)
