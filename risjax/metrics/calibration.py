"""Whether probabilities of existence mean what they say."""

import numpy as np
from jaxtyping import Bool, Float

NUM_BINS = 10


def expected_calibration_error(
    probability: Float[np.ndarray, " n"], happened: Bool[np.ndarray, " n"], *, num_bins: int = NUM_BINS
) -> float:
    """Mean over equal-mass bins of |mean probability - share that happened|, weighted by the bins' masses.

    Args:
        probability: claimed, in [0, 1].
        happened: whether the claim was right (the estimate matched a source).
        num_bins: bins of equal mass; fewer where there are fewer claims.

    Returns:
        In [0, 1]; NaN without claims.
    """
    if probability.size == 0:
        return float("nan")
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(num_bins, probability.size))
    gaps = [len(part) * abs(probability[part].mean() - happened[part].mean()) for part in bins]
    return float(np.sum(gaps) / probability.size)
