"""``1h30m`` as seconds."""

from __future__ import annotations

import re

DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(duration: str) -> int:
    """``1h30m`` as seconds.

    Raises
    ------
    ValueError
        The text is no duration.
    """
    match = DURATION.fullmatch(duration)
    if not duration or not match:
        raise ValueError(f"{duration!r} is no duration; write 90s, 5m, 1h30m or 7d")
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
