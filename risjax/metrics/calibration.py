"""Expected calibration error of probabilities of existence."""

import numpy as np
from jaxtyping import Bool, Float

from risjax.metrics.bootstrap import Drawn

NUM_BINS = 10


def expected_calibration_error(
    probability: Float[np.ndarray, " n"], happened: Bool[np.ndarray, " n"], *, num_bins: int = NUM_BINS
) -> float:
    """Mean over bins of |mean probability - share of events|, weighted by the number of candidates in each bin.

    Args:
        probability: stated probabilities, in [0, 1].
        happened: whether the event occurred (the candidate matched a source).
        num_bins: number of bins of equal size; at most the number of candidates.

    Returns:
        In [0, 1]; NaN without candidates.
    """
    if probability.size == 0:
        return float("nan")
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(num_bins, probability.size))
    gaps = [len(part) * abs(probability[part].mean() - happened[part].mean()) for part in bins]
    return float(np.sum(gaps) / probability.size)


def draw_calibration_error(
    probability: Float[np.ndarray, "S K"],
    happened: Bool[np.ndarray, "S K"],
    counted: Bool[np.ndarray, "S K"],
    weights: Float[np.ndarray, "D S"],
    *,
    num_bins: int = NUM_BINS,
) -> Drawn:
    """`expected_calibration_error` of the counted entries, and of every draw of scenes with the same bins.

    Args:
        probability: stated probability of every candidate.
        happened: whether it matched a source.
        counted: which entries are candidates.
        weights: from `risjax.metrics.bootstrap.scene_weights`.
    """
    scene, slot = np.nonzero(counted)
    claimed, right = probability[scene, slot].astype(np.float64), happened[scene, slot]
    value = expected_calibration_error(claimed, right, num_bins=num_bins)
    if not claimed.size:
        return Drawn(value, np.full(len(weights), np.nan), 0)
    bins = np.array_split(np.argsort(claimed, kind="stable"), min(num_bins, claimed.size))
    surplus = np.zeros((len(probability), len(bins)))
    for number, part in enumerate(bins):
        np.add.at(surplus[:, number], scene[part], claimed[part] - right[part])
    drawn = weights.astype(np.float64) @ np.concatenate([surplus, counted.sum(1, dtype=float)[:, None]], axis=1)
    total = drawn[:, -1]
    error = np.abs(drawn[:, :-1]).sum(1) / np.where(total > 0, total, 1.0)
    return Drawn(value, np.where(total > 0, error, np.nan), claimed.size)
