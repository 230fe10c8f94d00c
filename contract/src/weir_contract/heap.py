"""One heap for all threads of a process.

By default each thread has a heap of its own that keeps for itself what was dropped in it. Where one
thread makes what another drops, or what stays, the process grows though nothing in it does.
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
