"""Has the C library give memory back when it is freed.

glibc learns from large blocks that were freed, of a configuration, say, or an answer, and keeps as much from
then on; and each worker thread gets a heap of its own, of which next to nothing is used. In a daemon that
mostly waits that stays so for days: 4 KB a service (measured with 1,000).
"""

import ctypes

__all__ = ["tighten_heap"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of malloc.h
_KEPT = 64 * 1024
"""Bytes at the end of the heap that stay for what comes next."""
_LARGE = 128 * 1024
"""Bytes from which on a block is a mapping of its own, which goes when it is freed. It is what glibc begins
with."""


def tighten_heap() -> bool:
    """Set up the allocator of this process, before it has threads.

    Returns:
        False where the C library has no such thing: then it does as it sees fit.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(_ARENA_MAX, 1), mallopt(_TRIM_THRESHOLD, _KEPT), mallopt(_MMAP_THRESHOLD, _LARGE)])
