"""risjax: learned covariances and near-field localisation for reconfigurable intelligent surfaces.

The settings below must stand before anything loads jaxlib or scipy, so before every other import of the package
(measured, not believed):

* ``OPENBLAS_NUM_THREADS=1``: jaxlib's LAPACK calls run on scipy's OpenBLAS, whose threads spin
  against XLA's own pool; a batched ``eigh`` of 32x32 matrices takes 667 ms instead of 6 ms.
* ``PJRT_NPROC``: in jaxlib 0.10.0-0.10.2 every batched LAPACK call waits inside a thread of the pool whose threads it
  waits for, so that as many calls at a time as there are threads deadlock: two, on two cores. The compiled programs
  here have at most three such calls in flight, a training step two: nine threads do for four devices that train at
  once. More than needed are not free: with sixteen a training step of width 512 on two cores takes 1.1 times as long.
* malloc keeps what is freed (`risjax.runs.allocator`): a fifth of a training step on a CPU was page faults.
"""

import os
from pathlib import Path

from risjax.runs.allocator import keep_freed_memory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("PJRT_NPROC", str(max(9, os.cpu_count() or 1)))
keep_freed_memory()

__version__ = "0.1.0"


def load(name: str | Path = "original"):
    """A trained network, ready to localise: ``risjax.load("original").localise(y, H, codes)``.

    See `risjax.inference.predict.Model`; what it needs is imported here, so that ``import risjax`` stays light.

    Args:
        name: of a released network, a folder that the stage ``release`` wrote, or a run directory.

    Raises:
        FileNotFoundError: there is none; the message names those that there are.
    """
    from risjax.inference.predict.model import load as load_model

    return load_model(name)
