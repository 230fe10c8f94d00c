"""Waiting for what becomes true by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 120.0
"""Much more than anything takes: how long it may take is for benchmarks to say."""


def until(what: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask until the answer is true, and give it.

    :param seconds: the most time to spend
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.1)
