"""Setting of glibc's malloc that keeps freed memory in the process.

A compiled step requests its temporary memory from malloc each time it runs. From 32 MiB on, glibc maps new pages for it
and unmaps them afterwards, and the kernel zeroes tens of thousands of pages in each step. On one core that took 50 of
the 208 ms of a training step at width 128, with 24,000 page faults; with this setting the step takes 164 ms without
faults. A process keeps its peak of memory until it ends; the peak itself is the same.

More than two heaps would not help: those of further threads end at 64 MiB, and larger requests are mapped again (113 ms
of kernel time in a step at width 512, 18 with two heaps). With a single heap the threads wait for each other (40 ms for
a step at width 64, 35 with two or more).

The command line makes this setting; ``import risjax`` does not, because it changes the memory of the whole process.
"""

import ctypes
import os
import platform

# Names and values of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 2**30
_OVERRIDES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "RISJAX_NO_ENV")


def keep_freed_memory() -> bool:
    """Serve allocations of up to 1 GiB from two heaps that are not returned to the system.

    Returns:
        Whether this was set: not without glibc, nor if the environment configures malloc or has RISJAX_NO_ENV.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OVERRIDES):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_ARENA_MAX, 2))
    return all(mallopt(name, value) == 1 for name, value in settings)
