"""risjax: learned covariances and near-field localisation for reconfigurable intelligent surfaces.

``import risjax`` sets two environment variables for the process, unless they are set already, because jaxlib and scipy
read them when they are loaded. The times were measured:

* ``OPENBLAS_NUM_THREADS=1``: jaxlib's LAPACK calls run on scipy's OpenBLAS, whose threads compete
  with XLA's pool; a batched ``eigh`` of 32x32 matrices takes 667 ms instead of 6 ms.
* ``PJRT_NPROC``: in jaxlib 0.10.0-0.10.2 a batched LAPACK call occupies a thread of the pool and waits for another.
  As many concurrent calls as threads therefore deadlock: two, on two cores. The compiled programs here have at most
  three concurrent calls, a training step two, so that nine threads suffice for four devices that train at once. More
  threads cost time: with sixteen a training step of width 512 on two cores takes 1.1 times as long.

``RISJAX_NO_ENV=1`` leaves the environment unchanged.
"""

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def _set_environment() -> None:
    """Set the variables of the module's docstring, and warn if they are set too late to have an effect."""
    settings = {"OPENBLAS_NUM_THREADS": "1", "PJRT_NPROC": str(max(9, os.cpu_count() or 1))}
    missing = {name: value for name, value in settings.items() if name not in os.environ}
    late = {name: reason for name, reason in _loaded_already().items() if name in missing}
    os.environ.update(missing)
    if late:
        warnings.warn(
            f"{' and '.join(late.values())} before risjax was imported, without {' and '.join(late)} in the "
            "environment. On a CPU a batched eigh may take a hundred times as long, and jaxlib 0.10 can hang. Import "
            f"risjax first, or set {' '.join(f'{name}={settings[name]}' for name in late)} before Python starts. "
            "RISJAX_NO_ENV=1 turns off these settings and this warning.",
            stacklevel=3,
        )


def _loaded_already() -> dict[str, str]:
    """The variables that have been read, with the reason: importing jax alone reads neither."""
    reasons = {}
    if "scipy.linalg" in sys.modules:
        reasons["OPENBLAS_NUM_THREADS"] = "scipy.linalg was loaded"
    if "jax" in sys.modules:
        from risjax._compat.jax import backends_are_initialized

        if backends_are_initialized():
            reasons["PJRT_NPROC"] = "jax started its backend"
    return reasons


if os.environ.get("RISJAX_NO_ENV") != "1":
    _set_environment()

__version__ = "0.1.0"

_PUBLIC = {"design_codes": "risjax.physics.code_design.known_channels"}
"""Module of each public name, imported when the name is first used, so that ``import risjax`` is fast."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'risjax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


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
