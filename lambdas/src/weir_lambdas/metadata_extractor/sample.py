"""Which parts of a landing are read, where reading all of them would take too long."""

from __future__ import annotations

from collections.abc import Sequence

SAMPLE_BYTES = 64 * 1024 * 1024
"""Stored (compressed) bytes of a landing that are read; of a larger one a sample is."""


def chosen(sizes: Sequence[int], limit: int = SAMPLE_BYTES) -> list[int]:
    """Indices of the parts to read: all, or whole parts evenly spread over the landing.

    Parameters
    ----------
    sizes
        Stored bytes of each part.
    limit
        Bytes that may be read. At least one part is chosen, however large it is: who reads it
        stops at the limit.
    """
    total = sum(sizes)
    if total <= limit:
        return list(range(len(sizes)))
    for count in range(max(1, len(sizes) * limit // total), 0, -1):
        taken = [(2 * number + 1) * len(sizes) // (2 * count) for number in range(count)]
        if sum(sizes[index] for index in taken) <= limit:
            return taken
    return [len(sizes) // 2]
