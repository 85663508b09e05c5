"""Matching of estimates with true sources by optimal assignment, for all metrics.

All metrics run on the host in float64 NumPy, on batches of scenes: `Sources` and `Estimates` have a leading axis S.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from risjax.config import ToleranceConfig

_FORBIDDEN = 1.0e6


class Matches(NamedTuple):
    """Pairs of true sources and estimates.

    Attributes:
        estimate: slot of the estimate matched with each slot of the truth, or -1, [S, K].
    """

    estimate: Int[np.ndarray, "S K"]

    @property
    def matched(self) -> Bool[np.ndarray, "S K"]:
        """Slots of the truth with a matched estimate."""
        return self.estimate >= 0

    def taken(self, num_estimates: int) -> Bool[np.ndarray, "S Ke"]:
        """Slots of the estimates with a matched source."""
        return (self.estimate[:, :, None] == np.arange(num_estimates)).any(1)

    def gather(self, values: np.ndarray) -> np.ndarray:
        """``values`` of the estimates [S, K', ...] in the order of the truth [S, K, ...]; arbitrary where unmatched."""
        index = np.maximum(self.estimate, 0).reshape(self.estimate.shape + (1,) * (values.ndim - 2))
        return np.take_along_axis(values, index, axis=1)


def cartesian(position: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """(horizontal, vertical, boresight) coordinates in metres of (azimuth [rad], elevation [rad], range [m])."""
    azimuth, elevation, range_m = np.moveaxis(np.asarray(position, np.float64), -1, 0)
    return np.stack(
        [
            range_m * np.sin(azimuth) * np.cos(elevation),
            range_m * np.sin(elevation),
            range_m * np.cos(azimuth) * np.cos(elevation),
        ],
        axis=-1,
    )


def pairwise_errors(
    estimated: Float[np.ndarray, "*S Kt 3"], true: Float[np.ndarray, "*S Ks 3"]
) -> Float[np.ndarray, "*S Ks Kt 3"]:
    """Estimate minus truth in (azimuth, elevation, range) for every pair, azimuth wrapped to [-pi, pi)."""
    error = np.asarray(estimated, np.float64)[..., None, :, :] - np.asarray(true, np.float64)[..., :, None, :]
    error[..., 0] = (error[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return error


def assign(cost: Float[np.ndarray, "S Ks Kt"], allowed: Bool[np.ndarray, "S Ks Kt"]) -> Int[np.ndarray, "S Ks"]:
    """Assignment of rows to columns with the largest number of allowed pairs and, among those, the least cost.

    Returns:
        Column of each row, or -1, for each scene.

    Example:
        The nearest pair is not always part of the cheapest assignment; a forbidden pair never is:

        >>> assign(np.array([[[1.0, 2.0], [1.5, 9.0]]]), np.ones((1, 2, 2), bool)).tolist()
        [[1, 0]]
        >>> assign(np.array([[[1.0, 2.0], [1.5, 9.0]]]), np.array([[[True, False], [True, False]]])).tolist()
        [[0, -1]]
    """
    partner = np.full(cost.shape[:2], -1)
    single = allowed.sum((1, 2)) == 1
    scene, row, column = np.nonzero(allowed & single[:, None, None])
    partner[scene, row] = column
    for index in np.nonzero(allowed.any((1, 2)) & ~single)[0]:
        rows, columns = linear_sum_assignment(np.where(allowed[index], cost[index], _FORBIDDEN))
        kept = allowed[index, rows, columns]
        partner[index, rows[kept]] = columns[kept]
    return partner


def match(
    estimated: Float[np.ndarray, "S Kt 3"],
    estimated_active: Bool[np.ndarray, "S Kt"],
    true: Float[np.ndarray, "S Ks 3"],
    true_active: Bool[np.ndarray, "S Ks"],
    tolerance: ToleranceConfig,
    *,
    gate_range: bool,
) -> Matches:
    """Match estimates with sources inside the gate: as many pairs as possible, then the least error.

    A pair is allowed within ``azimuth_deg`` and ``elevation_deg`` and, with ``gate_range``, ``range_m``; its cost
    is the sum of squared errors in units of the gate.
    """
    error = np.abs(pairwise_errors(estimated, true))
    gate = np.array([np.radians(tolerance.azimuth_deg), np.radians(tolerance.elevation_deg), tolerance.range_m])
    width = 3 if gate_range else 2
    scaled = error[..., :width] / gate[:width]
    allowed = (scaled <= 1.0).all(-1) & true_active[:, :, None] & estimated_active[:, None, :]
    return Matches(assign((scaled**2).sum(-1), allowed))
