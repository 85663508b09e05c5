"""Decisions from draws of the posterior: the sources with the best expectation of a metric. NumPy, one scene at a time.

The set of sources grows one by one: each is the draw with the largest gain in expected utility given those before it.
Where the draws agree this is the optimum. In general it is a lower bound of the optimum; the difference was not
measured.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from risjax.config import ToleranceConfig
from risjax.metrics.matching import cartesian, pairwise_errors

MAX_CANDIDATES = 384
"""Draws of a source that compete for a place in the set."""
_MEAN_ROUNDS = 3


class Ranked(NamedTuple):
    """Sources in the order of their gain, for a metric that counts matches.

    Attributes:
        position: (azimuth, elevation, range), [K, 3].
        probability: that the source is matched, given those before it, [K].
        expected_count: posterior mean of the number of sources, [].
    """

    position: Float[np.ndarray, "K 3"]
    probability: Float[np.ndarray, " K"]
    expected_count: float


def _candidates(position: np.ndarray, active: np.ndarray) -> np.ndarray:
    drawn = position[active]
    return drawn[np.linspace(0, len(drawn) - 1, min(len(drawn), MAX_CANDIDATES)).astype(int)]


def rank_by_matches(
    position: Float[np.ndarray, "P K 3"],
    active: Bool[np.ndarray, "P K"],
    tolerance: ToleranceConfig,
    *,
    gate_range: bool,
) -> Ranked:
    """K sources, each the likeliest to match a true source that those before it have left.

    Args:
        position: draws of (azimuth, elevation, range).
        active: which of them are sources.
        tolerance: the gate.
        gate_range: whether the gate limits the range, too.
    """
    gate = np.array([np.radians(tolerance.azimuth_deg), np.radians(tolerance.elevation_deg), tolerance.range_m])
    width = 3 if gate_range else 2
    candidates = _candidates(position, active)
    scaled = (
        np.abs(pairwise_errors(np.broadcast_to(candidates, (len(position), *candidates.shape)), position))[..., :width]
        / gate[:width]
    )  # [P, K, C, .]
    free = np.where((scaled <= 1).all(-1) & active[:, :, None], (scaled**2).sum(-1), np.inf)
    chosen, probability = [], []
    for _ in range(position.shape[1]):
        matched = np.isfinite(free.min(1)).mean(0)
        best = int(matched.argmax())
        chosen.append(candidates[best])
        probability.append(float(matched[best]))
        nearest = free[:, :, best].argmin(1)
        hit = np.isfinite(free[:, :, best].min(1))
        free[np.nonzero(hit)[0], nearest[hit]] = np.inf
    return Ranked(np.stack(chosen), np.array(probability), float(active.sum(1).mean()))


def decide_by_f1(ranked: list[Ranked]) -> tuple[list[int], float]:
    """Return the number of reported sources of each scene that maximises the joint F1, and the expected F1.

    The number that maximises the ratio of sums F1 also maximises 2 TP - F (reported + true), F the maximum of F1. So a
    source is reported if its probability is at least F / 2.

    Reference: W. Dinkelbach, "On nonlinear fractional programming", Management Science 13 (1967),
    doi:10.1287/mnsc.13.7.492.
    """
    true = sum(scene.expected_count for scene in ranked)
    value, counts = 0.5, [0] * len(ranked)
    for _ in range(50):
        counts = [_count_above(scene.probability, value / 2) for scene in ranked]
        matched = sum(float(scene.probability[:count].sum()) for scene, count in zip(ranked, counts, strict=True))
        new = 2 * matched / (sum(counts) + true)
        if abs(new - value) < 1e-9:
            break
        value = new
    return counts, value


def _count_above(probability: np.ndarray, threshold: float) -> int:
    return int(np.concatenate([[0.0], np.cumsum(probability - threshold)]).argmax())


def decide_by_gospa(
    position: Float[np.ndarray, "P K 3"], active: Bool[np.ndarray, "P K"], tolerance: ToleranceConfig
) -> tuple[Float[np.ndarray, "Kd 3"], float]:
    """The sources of the least expected GOSPA, and that expectation in metres.

    Each new source is a draw or the mean of the draws that it would be paired with.
    """
    cutoff, order = tolerance.gospa_cutoff_m, tolerance.gospa_order
    half = cutoff**order / 2
    sources = np.where(active[..., None], cartesian(position), np.inf)
    free, cost = active.copy(), active.sum(1) * half
    chosen: list[np.ndarray] = []
    expected = float(np.mean(cost ** (1 / order)))

    def distances(points: np.ndarray) -> np.ndarray:
        """Return the distance of each draw's sources from each point, [P, K, C]."""
        return np.linalg.norm(points[None, None] - sources[:, :, None], axis=-1)

    def costs_with(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cost of every draw with each further point [P, C], the slot it would be paired with, and whether."""
        distance = np.where(free[:, :, None], distance, np.inf)
        slot = distance.argmin(1)
        nearest = distance.min(1)
        paired = nearest < cutoff
        change = np.where(paired, np.minimum(nearest, cutoff) ** order - half, half)
        return cost[:, None] + change, slot, paired

    candidates = cartesian(_candidates(position, active))
    of_candidates = distances(candidates)
    for _ in range(position.shape[1]):
        trial, slot, paired = costs_with(of_candidates)
        best = int(np.mean(np.maximum(trial, 0) ** (1 / order), axis=0).argmin())
        point = candidates[best]
        for _ in range(_MEAN_ROUNDS):
            _, slot, paired = costs_with(distances(point[None]))
            if not paired.any():
                break
            rows = np.nonzero(paired[:, 0])[0]
            mean = sources[rows, slot[rows, 0]].mean(0)
            values = np.mean(np.maximum(costs_with(distances(np.stack([point, mean])))[0], 0) ** (1 / order), axis=0)
            if values[1] >= values[0]:
                break
            point = mean
        trial, slot, paired = costs_with(distances(point[None]))
        value = float(np.mean(np.maximum(trial[:, 0], 0) ** (1 / order)))
        if value >= expected:
            break
        expected, cost = value, trial[:, 0]
        rows = np.nonzero(paired[:, 0])[0]
        free[rows, slot[rows, 0]] = False
        chosen.append(point)
    return polar(np.array(chosen).reshape(-1, 3)), expected


def polar(point: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """(horizontal, vertical, boresight) in metres to (azimuth [rad], elevation [rad], range [m])."""
    range_m = np.linalg.norm(point, axis=-1)
    elevation = np.arcsin(np.clip(point[..., 1] / np.where(range_m > 0, range_m, 1), -1, 1))
    return np.stack([np.arctan2(point[..., 0], point[..., 2]), elevation, range_m], axis=-1)
