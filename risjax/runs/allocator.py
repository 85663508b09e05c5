"""Freed memory stays with the process, where the C library is glibc.

A compiled step asks malloc for its temporary memory anew each time it runs. From 32 MiB on glibc maps fresh pages for
it and gives them back afterwards, and the kernel zeroes tens of thousands of pages a step. On one core that was 50 ms
of the 208 ms of a training step at width 128, with 24,000 page faults; as set here, it is 164 ms and no faults. A
process keeps its peak of memory until it ends; the peak itself is the same.

More than two heaps would not help: those of further threads end at 64 MiB, and what is larger is mapped again (113 ms
of the kernel's time a step at width 512, 18 with two). With a single one the threads wait for one another (40 ms a
step at width 64, 35 with two or more).
"""

import ctypes
import os
import platform

# Names and values of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 2**30
_OVERRIDES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")


def keep_freed_memory() -> bool:
    """Allocations of up to 1 GiB come from two heaps that are not given back.

    Returns:
        Whether it was done: not without glibc, nor where the environment sets malloc up itself.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OVERRIDES):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_ARENA_MAX, 2))
    return all(mallopt(name, value) == 1 for name, value in settings)
