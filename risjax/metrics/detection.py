"""Detection counts and GOSPA: what is found, what is missed, what is invented."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from risjax.config import ToleranceConfig
from risjax.metrics.matching import assign, cartesian


class Gospa(NamedTuple):
    """GOSPA with alpha = 2 and its three parts, one value a scene.

    d = (localisation + missed + false)^(1/p) with localisation = sum over pairs of distance^p, and missed and
    false = c^p / 2 for each unpaired source and estimate (Rahmathullah, Garcia-Fernandez, Svensson 2017).

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
    """GOSPA of the cartesian positions, cut-off ``gospa_cutoff_m``, order ``gospa_order``."""
    cutoff, order = tolerance.gospa_cutoff_m, tolerance.gospa_order
    distance = np.linalg.norm(cartesian(estimated)[:, None, :, :] - cartesian(true)[:, :, None, :], axis=-1)
    allowed = (distance < cutoff) & true_active[:, :, None] & estimated_active[:, None, :]
    # A pair saves cutoff^p of unpaired penalties, so the best assignment minimises distance^p - cutoff^p; a pair
    # beyond the cut-off never helps. With that cost "most pairs first" of `assign` is not the optimum, hence the
    # saving is capped at zero and every pair of active slots is permitted.
    saving = np.where(allowed, distance**order - cutoff**order, 0.0)
    partner = assign(saving, true_active[:, :, None] & estimated_active[:, None, :])
    gained = np.take_along_axis(saving, np.maximum(partner, 0)[..., None], axis=2)[..., 0]
    paired = (partner >= 0) & (gained < 0)
    localisation = np.where(paired, gained + cutoff**order, 0.0).sum(1)
    count = paired.sum(1)
    missed = (true_active.sum(1) - count) * cutoff**order / 2
    false = (estimated_active.sum(1) - count) * cutoff**order / 2
    return Gospa((localisation + missed + false) ** (1 / order), localisation, missed, false)
