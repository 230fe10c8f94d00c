"""Which replica works for which Platform: pure decisions that each replica takes for itself.

Every replica reads the same Leases and so comes to the same result. What is held stays where it is
as long as the shares differ by one at most, so that a Platform moves only when it has to:

* a free Platform goes to the replica with the fewest, and among equals to the one that rendezvous
  hashing (Thaler and Ravishankar, 1998) prefers for it;
* a replica gives Platforms up where another has fewer than the fair share, as many as bring the two
  together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping


def preference(platform: str, replica: str) -> int:
    """How much a Platform prefers a replica: the rendezvous weight."""
    return int.from_bytes(hashlib.sha256(f"{platform}\0{replica}".encode()).digest()[:8], "big")


def placed(
    free: Iterable[str], replicas: Collection[str], holders: Mapping[str, str]
) -> dict[str, str]:
    """Free Platform -> the replica that takes it.

    Parameters
    ----------
    free
        Platforms that nobody holds.
    replicas
        Identities of the replicas that are alive.
    holders
        Platform -> its holder, of all that are held.
    """
    counts = _counts(replicas, holders)
    taken = {}
    for platform in sorted(free):
        best = min(
            replicas, key=lambda one: (counts[one], -preference(platform, one), one), default=None
        )
        if best is not None:
            taken[platform] = best
            counts[best] += 1
    return taken


def surplus(me: str, replicas: Collection[str], holders: Mapping[str, str]) -> list[str]:
    """Platforms that a replica gives up, so that another can have its share.

    Parameters
    ----------
    me
        The identity of the replica that asks.
    replicas
        Identities of the replicas that are alive and have been so for a while.
    holders
        Platform -> its holder.
    """
    counts = _counts({*replicas, me}, holders)
    mine = sorted(platform for platform, holder in holders.items() if holder == me)
    given = 0
    # Everybody plays the same moves in mind, and makes those that are its own.
    while True:
        most = max(counts, key=lambda one: (counts[one], one))
        least = min(counts, key=lambda one: (counts[one], one))
        if counts[most] - counts[least] <= 1:
            break
        counts[most] -= 1
        counts[least] += 1
        given += most == me
    return sorted(mine, key=lambda platform: preference(platform, me))[:given]


def _counts(replicas: Collection[str], holders: Mapping[str, str]) -> dict[str, int]:
    counts = dict.fromkeys(replicas, 0)
    for holder in holders.values():
        if holder in counts:
            counts[holder] += 1
    return counts
