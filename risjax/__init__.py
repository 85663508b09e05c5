"""risjax: learned covariances and near-field localisation for reconfigurable intelligent surfaces.

These settings must be made before jaxlib or scipy is loaded, therefore before every other import of the package. The
times were measured:

* ``OPENBLAS_NUM_THREADS=1``: jaxlib's LAPACK calls run on scipy's OpenBLAS, whose threads compete
  with XLA's pool; a batched ``eigh`` of 32x32 matrices takes 667 ms instead of 6 ms.
* ``PJRT_NPROC``: in jaxlib 0.10.0-0.10.2 a batched LAPACK call occupies a thread of the pool and waits for another.
  As many concurrent calls as threads therefore deadlock: two, on two cores. The compiled programs here have at most
  three concurrent calls, a training step two, so that nine threads suffice for four devices that train at once. More
  threads cost time: with sixteen a training step of width 512 on two cores takes 1.1 times as long.
* malloc keeps freed memory (`risjax.runs.allocator`): page faults took a fifth of a training step on a CPU.
"""

import os
from pathlib import Path

from risjax.runs.allocator import keep_freed_memory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("PJRT_NPROC", str(max(9, os.cpu_count() or 1)))
keep_freed_memory()

__version__ = "0.1.0"


def load(name: str | Path = "original"):
    """Return a trained network that localises: ``risjax.load("original").localise(y, H, codes)``.

    See `risjax.inference.predict.Model`; its imports are made here, so that ``import risjax`` is fast.

    Args:
        name: of a released network, a folder that the stage ``release`` wrote, or a run directory.

    Raises:
        FileNotFoundError: no such network; the message lists the available ones.
    """
    from risjax.inference.predict.model import load as load_model

    return load_model(name)
