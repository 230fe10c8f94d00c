"""A record that can't be read."""

from __future__ import annotations


class Rejected(ValueError):
    """The record goes to quarantine for this reason, which never holds its content."""


Object = bytes | Rejected
"""A JSON object without a line feed, or why there is none."""
