"""Records that can't be read at landing, as quarantine keeps them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reject:
    """One record that can't be read: where it was and why, and its text."""

    reason: str
    record: str


def quarantine_body(rejects: Iterable[Reject], run: str, source: str) -> bytes:
    """Rejected records as gzip JSON lines, with the columns that a pipeline's quarantine has."""
    lines = [
        {
            "run": run,
            "stage": "land",
            "source": source,
            "sequence": None,
            "reason": one.reason,
            "record": one.record,
        }
        for one in rejects
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return gzip.compress(text.encode("utf-8", "replace"), mtime=0)
