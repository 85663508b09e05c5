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
from typing import TYPE_CHECKING, Any


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

if TYPE_CHECKING:
    from risjax.api.adaptive_codes import adapt_codes as adapt_codes
    from risjax.api.bounds import crb as crb
    from risjax.api.estimation import localise as localise
    from risjax.api.pipeline import make_pipeline as make_pipeline
    from risjax.api.scenes import simulate as simulate
    from risjax.api.scoring import score as score
    from risjax.api.training import fit as fit
    from risjax.config import Config as Config
    from risjax.config import PhysicsConfig as PhysicsConfig
    from risjax.config.io import load_config as load_config
    from risjax.data.files import read_scenes as read_scenes
    from risjax.estimators import count_by_aic as count_by_aic
    from risjax.estimators import count_by_mdl as count_by_mdl
    from risjax.estimators import count_by_sorte as count_by_sorte
    from risjax.inference.predict import Localization as Localization
    from risjax.inference.predict import MeasurementError as MeasurementError
    from risjax.inference.predict import Model as Model
    from risjax.inference.predict import load as load
    from risjax.physics.code_design.known_channels import design_codes as design_codes
    from risjax.types import Estimates as Estimates
    from risjax.types import Geometry as Geometry
    from risjax.types import Observation as Observation
    from risjax.types import Scene as Scene
    from risjax.types import Sources as Sources
    from risjax.types import Truth as Truth


_PUBLIC = {
    "Config": "risjax.config",
    "Estimates": "risjax.types",
    "Geometry": "risjax.types",
    "Localization": "risjax.inference.predict",
    "MeasurementError": "risjax.inference.predict",
    "Model": "risjax.inference.predict",
    "Observation": "risjax.types",
    "PhysicsConfig": "risjax.config",
    "Scene": "risjax.types",
    "Sources": "risjax.types",
    "Truth": "risjax.types",
    "adapt_codes": "risjax.api.adaptive_codes",
    "count_by_aic": "risjax.estimators",
    "count_by_mdl": "risjax.estimators",
    "count_by_sorte": "risjax.estimators",
    "crb": "risjax.api.bounds",
    "design_codes": "risjax.physics.code_design.known_channels",
    "fit": "risjax.api.training",
    "load": "risjax.inference.predict",
    "load_config": "risjax.config.io",
    "localise": "risjax.api.estimation",
    "make_pipeline": "risjax.api.pipeline",
    "read_scenes": "risjax.data.files",
    "score": "risjax.api.scoring",
    "simulate": "risjax.api.scenes",
}
"""Module of each public name, imported when the name is first used, so that ``import risjax`` is fast."""

__all__ = [
    "Config",
    "Estimates",
    "Geometry",
    "Localization",
    "MeasurementError",
    "Model",
    "Observation",
    "PhysicsConfig",
    "Scene",
    "Sources",
    "Truth",
    "adapt_codes",
    "count_by_aic",
    "count_by_mdl",
    "count_by_sorte",
    "crb",
    "design_codes",
    "fit",
    "load",
    "load_config",
    "localise",
    "make_pipeline",
    "read_scenes",
    "score",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'risjax' has no attribute {name!r}")
    found = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
