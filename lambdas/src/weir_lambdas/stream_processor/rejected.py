"""A record that can't be read."""

from __future__ import annotations


class Rejected(ValueError):
    """The record goes to quarantine for this reason, which never holds its content.

    Parameters
    ----------
    data
        What goes there, where that is a piece of the record.
    """

    def __init__(self, reason: str, data: bytes | None = None) -> None:
        super().__init__(reason)
        self.data = data


Object = bytes | Rejected
"""A JSON object without a line feed, or why there is none."""
