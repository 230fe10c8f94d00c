"""Structured logs: one JSON object a line, with what is secret taken out before it is written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO
from urllib.parse import quote

REDACTED = "***"
SECRET_KEYS = re.compile(r"authorization|cookie|password|passwd|secret|token|api[_-]?key", re.I)
"""Names of fields and headers whose values are never written."""

MAX_TEXT = 2_000
"""Characters of one logged text; a longer one is cut."""


class Redactor:
    """Knows the secret values that were resolved, and takes them out of any text."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def learn(self, value: str) -> None:
        """Remember a secret value. Very short ones are left: they would blot out plain words."""
        if len(value) >= 4:
            forms = (value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1])
            self._values.update(forms)

    def text(self, text: str) -> str:
        """The text without any known secret value, as it is or as a URL or JSON writes it; a host's
        name is in small letters."""
        if not self._values:
            return text
        longest_first = sorted(self._values, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), REDACTED, text, flags=re.I)

    def value(self, value: Any, key: str = "") -> Any:
        """Any JSON value without secrets: by the name of its key, and by known values."""
        if key and SECRET_KEYS.search(key):
            return REDACTED
        if isinstance(value, str):
            return self.text(value)[:MAX_TEXT]
        if isinstance(value, dict):
            return {str(name): self.value(item, str(name)) for name, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, bytes):
            return [self.value(item) for item in value]
        return value


REDACTOR = Redactor()
"""The process's redactor: a Lambda serves one configuration."""


def log(level: str, message: str, *, stream: TextIO | None = None, **fields: Any) -> None:
    """Write one line.

    Parameters
    ----------
    level
        ``INFO``, ``WARNING`` or ``ERROR``.
    message
        What happened, in words that do not vary; what varies goes into ``fields``.
    """
    entry = {"level": level, "message": message} | fields
    print(
        json.dumps(REDACTOR.value(entry), default=str, ensure_ascii=False),
        file=stream or sys.stdout,
        flush=True,
    )
