"""Where Arrow's memory comes from, so that a file of any size is read in the same."""

from __future__ import annotations


def share_arrow_pool() -> bool:
    """Have Arrow use jemalloc, which gives back to the system what it has not used for a second.

    Returns
    -------
    bool
        False where Arrow was built without it: it keeps its own choice.
    """
    import pyarrow as pa

    if "jemalloc" not in pa.supported_memory_backends():
        return False
    pa.set_memory_pool(pa.jemalloc_memory_pool())
    return True
