"""Are records at or below a partition's position repeats, or those of a topic that was made anew?

A topic that is deleted and made anew counts its offsets from 0 again, and so does another cluster's
topic of the same name; a log that lost its end (an unclean election) counts a part of them again. A
record that comes again has the time that it had before. So each committed range keeps the least and
the greatest time of its records: one in its place with another time is another record. A place that no
range has (its records were given up, or are older than the source) is judged by when the next range
above it was committed: what was in the log then was written before, but for clocks that are wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta

from weir_lambdas.stream_processor.events import Entry
from weir_lambdas.stream_processor.positions import Range

CLOCKS_DIFFER = timedelta(hours=1)
"""How far a producer's clock may be ahead."""


def first_of_another(
    entries: Sequence[Entry], ranges: Sequence[Range], last_commit: float | None
) -> int | None:
    """The offset of the first record that can't be a repeat, or None where all may be.

    Parameters
    ----------
    entries
        Records at or below the position, in order.
    ranges
        Committed ranges from the first record on, in order, up to one above the last record.
    last_commit
        When anything was committed last, seconds since 1970, for what is above all ranges (they
        expire); None: never.
    """
    ends = [one.last for one in ranges]
    for entry in entries:
        if entry.at is None:
            continue
        found = bisect_left(ends, entry.place)
        above = ranges[found] if found < len(ranges) else None
        if above is not None and above.first <= entry.place:
            if above.times and not above.times[0] <= round(entry.at * 1000) <= above.times[1]:
                return entry.place
            continue
        known = above.committed if above else last_commit
        if known is not None and entry.at > known + CLOCKS_DIFFER.total_seconds():
            return entry.place
    return None
