"""How the runs of one source share out the requests that it takes at once.

Each run notes, in one item that all of them read, how many it may have under way. A run takes no
more than the others have left, and lets none go while its own requests need it: so the sum never
exceeds the limit, whatever the order in which they look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOLD_SECONDS = 15.0
"""A run that has not looked for that long is dead, and its requests are given to others."""

TURN_SECONDS = 10.0
"""Where there are more runs than requests, a run lets another one ask after that long."""


@dataclass(frozen=True)
class Share:
    """What one run may have under way.

    Parameters
    ----------
    requests
        How many; 0 while it waits for its turn.
    until
        When it counts as dead unless it looks again, seconds since 1970.
    since
        Its place in the line: when it joined, or let another one ask.
    began
        When it was given its first request of this turn; 0 while it waits.
    """

    requests: int
    until: float
    since: float
    began: float = 0.0


def living(shares: Mapping[str, Share], now: float) -> dict[str, Share]:
    """The shares of the runs that are not dead."""
    return {name: share for name, share in shares.items() if share.until > now}


def wanted(others: Mapping[str, Share], mine: Share, name: str, most: int, now: float) -> Share:
    """A run's own share as it should be: an equal part, or a turn where there are too many runs.

    Parameters
    ----------
    others
        Of the other living runs.
    mine, name
        The run's own as it is, and its name.
    most
        Requests under way at once, of all of them.
    """
    if len(others) >= most and mine.began and now - mine.began >= TURN_SECONDS:
        mine = Share(mine.requests, mine.until, now)
    line = sorted([*((share.since, one) for one, share in others.items()), (mine.since, name)])
    place = line.index((mine.since, name))
    each, left = divmod(most, len(line))
    return Share(each + (place < left), now + HOLD_SECONDS, mine.since, mine.began)


def granted(
    others: Mapping[str, Share], wish: Share, most: int, under_way: int, now: float
) -> Share:
    """The share that can be had now.

    Parameters
    ----------
    wish
        As :func:`wanted` gave it.
    under_way
        The run's requests that are under way and can't be taken back.
    """
    free = most - sum(share.requests for share in others.values())
    requests = max(0, under_way, min(wish.requests, free))
    began = (wish.began or now) if requests and wish.requests else 0.0
    return Share(requests, wish.until, wish.since, began)
