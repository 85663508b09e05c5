"""Linear algebra with finite values and derivatives at degenerate inputs, in float32 and float64 only.

The folder imports nothing else of risjax and assumes nothing about the scale of its inputs.
"""

from risjax.linalg.distance import subspace_distance
from risjax.linalg.eigenvalues import safe_eigh
from risjax.linalg.factored import LowRankCovariance
from risjax.linalg.gap import Eigengap, eigengap
from risjax.linalg.low_rank import low_rank_signal_projector, orthonormal_basis, signal_overlap
from risjax.linalg.matrix_function import spectral_function
from risjax.linalg.projector import signal_projector, soft_signal_projector
from risjax.linalg.safe import safe_angle, safe_log, safe_norm, safe_sqrt
from risjax.linalg.scale import normalise_trace
from risjax.linalg.solve import cholesky_solve
from risjax.linalg.woodbury import inverse_quadratic_form, log_determinant, woodbury_solve

__all__ = [
    "Eigengap",
    "LowRankCovariance",
    "cholesky_solve",
    "eigengap",
    "inverse_quadratic_form",
    "log_determinant",
    "low_rank_signal_projector",
    "normalise_trace",
    "orthonormal_basis",
    "safe_angle",
    "safe_eigh",
    "safe_log",
    "safe_norm",
    "safe_sqrt",
    "signal_overlap",
    "signal_projector",
    "soft_signal_projector",
    "spectral_function",
    "subspace_distance",
    "woodbury_solve",
]
