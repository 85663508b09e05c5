"""GOSPA: localisation error, missed sources and false estimates in one distance.

References:
    A. S. Rahmathullah, Á. F. García-Fernández, L. Svensson, "Generalized optimal sub-pattern assignment metric",
    International Conference on Information Fusion (2017), doi:10.23919/ICIF.2017.8009645, arXiv:1601.05585.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from risjax.config import ToleranceConfig
from risjax.metrics.matching import assign, cartesian


class Gospa(NamedTuple):
    """GOSPA with alpha = 2 and its three parts, one value a scene.

    d = (localisation + missed + false)^(1/p), where localisation is the sum over pairs of distance^p, and missed and
    false are c^p / 2 for each unpaired source and estimate.

    Attributes:
        distance_m: d.
        localisation: [S], metres^p.
        missed: [S], metres^p.
        false: [S], metres^p.
    """

    distance_m: Float[np.ndarray, " S"]
    localisation: Float[np.ndarray, " S"]
    missed: Float[np.ndarray, " S"]
    false: Float[np.ndarray, " S"]


def gospa(
    estimated: Float[np.ndarray, "S Kt 3"],
    estimated_active: Bool[np.ndarray, "S Kt"],
    true: Float[np.ndarray, "S Ks 3"],
    true_active: Bool[np.ndarray, "S Ks"],
    tolerance: ToleranceConfig,
) -> Gospa:
    """GOSPA of the Cartesian positions, with cut-off c = ``gospa_cutoff_m`` and order p = ``gospa_order``."""
    cutoff, order = tolerance.gospa_cutoff_m, tolerance.gospa_order
    distance = np.linalg.norm(cartesian(estimated)[:, None, :, :] - cartesian(true)[:, :, None, :], axis=-1)
    allowed = (distance < cutoff) & true_active[:, :, None] & estimated_active[:, None, :]
    # A pair replaces penalties of cutoff^p, so the best assignment minimises the sum of distance^p - cutoff^p. `assign`
    # maximises the number of pairs first, so pairs beyond the cut-off are allowed at cost 0 and discarded afterwards.
    saving = np.where(allowed, distance**order - cutoff**order, 0.0)
    partner = assign(saving, true_active[:, :, None] & estimated_active[:, None, :])
    gained = np.take_along_axis(saving, np.maximum(partner, 0)[..., None], axis=2)[..., 0]
    paired = (partner >= 0) & (gained < 0)
    localisation = np.where(paired, gained + cutoff**order, 0.0).sum(1)
    count = paired.sum(1)
    missed = (true_active.sum(1) - count) * cutoff**order / 2
    false = (estimated_active.sum(1) - count) * cutoff**order / 2
    return Gospa((localisation + missed + false) ** (1 / order), localisation, missed, false)
