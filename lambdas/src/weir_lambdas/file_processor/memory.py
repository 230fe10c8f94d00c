"""Where the memory of files comes from, so that one of any size is read in the same.

Blocks of some MB are made by one thread and dropped by another. By default each thread has a heap of
its own that keeps what was dropped for itself, so that the process grows for as long as it reads.
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""glibc's ``malloc.h``."""


def share_heap() -> bool:
    """Have all threads use one heap of glibc's (mallopt(3)); to be called before there are any.

    Returns
    -------
    bool
        False where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_ARENA_MAX, 1) == 1


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
