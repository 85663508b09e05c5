"""Bootstrap intervals over scenes, for all metrics of a method in one matrix product.

Scenes are drawn independently, so scenes are resampled. A draw gives each scene a multinomial weight, and a metric
that is a quotient of sums over scenes is computed from those weights and sums. Two methods are compared with the same
draws, so their difference is paired.

References:
    B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), doi:10.1201/9780429246593.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

LEVEL = 0.95
"""Coverage of an interval: share of the draws inside."""


class Ratio(NamedTuple):
    """A metric (sum of numerator / sum of denominator), or its square root.

    Attributes:
        numerator: one value a scene, or a scene and slot of the truth, [S] or [S, K].
        denominator: likewise; zero for entries that are not counted.
        root: take the square root (RMSE).
        count: number of cases of each entry, where that is not the denominator.
    """

    numerator: Shaped[np.ndarray, "..."]
    denominator: Shaped[np.ndarray, "..."]
    root: bool = False
    count: Shaped[np.ndarray, "..."] | None = None


class Drawn(NamedTuple):
    """Value of a metric, and its values over the bootstrap draws.

    Attributes:
        value: on all scenes; NaN if nothing is counted.
        draws: values of the draws, [D].
        count: number of scenes, sources or estimates that were counted.
    """

    value: float
    draws: Float[np.ndarray, " D"]
    count: int

    def interval(self) -> dict[str, float | int | None]:
        """``{value, low, high, count}`` for metrics.json; None for undefined numbers."""
        low, high = quantiles(self.draws)
        return {"value": _number(self.value), "low": low, "high": high, "count": self.count}


def scene_weights(num_scenes: int, num_draws: int, seed: int) -> Float[np.ndarray, "D S"]:
    """Number of times that each scene occurs in each draw, in float32 for the matrix products."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(num_scenes, np.full(num_scenes, 1 / num_scenes), num_draws).astype(np.float32)


def quantiles(draws: Float[np.ndarray, " D"]) -> tuple[float | None, float | None]:
    """Ends of the central interval over the draws in which the metric is defined."""
    defined = draws[np.isfinite(draws)]
    if defined.size == 0:
        return None, None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _number(low), _number(high)


def draw_ratios(ratios: dict[str, Ratio], weights: Float[np.ndarray, "D S"]) -> dict[str, Drawn]:
    """Values of every metric under every draw.

    Args:
        ratios: metrics by name; entries over slots are summed over the slots first.
        weights: from `scene_weights`.
    """
    if not ratios:
        return {}
    sums = np.stack(
        [_by_scene(part) for ratio in ratios.values() for part in (ratio.numerator, ratio.denominator)], axis=1
    )
    drawn = weights.astype(np.float64) @ sums if len(sums) < 64 else weights @ sums.astype(np.float32)
    table = np.concatenate([sums.sum(0)[None], drawn])
    result = {}
    for i, (name, ratio) in enumerate(ratios.items()):
        values = _quotient(table[:, 2 * i], table[:, 2 * i + 1], ratio.root)
        counted = ratio.denominator if ratio.count is None else ratio.count
        result[name] = Drawn(float(values[0]), values[1:], round(float(np.sum(counted))))
    return result


def draw_medians(
    values: Float[np.ndarray, "S K"], counts: Shaped[np.ndarray, "S K"], weights: Float[np.ndarray, "D S"]
) -> Drawn:
    """Median of the counted entries (``counts`` 1) under every draw.

    The entries are sorted once. Under a draw, the median is the entry where the cumulative weight passes half of its
    total.
    """
    scene, slot = np.nonzero(counts)
    order = np.argsort(values[scene, slot])
    scene, ordered = scene[order], values[scene, slot][order].astype(np.float64)
    if not ordered.size:
        return Drawn(float("nan"), np.full(len(weights), np.nan), 0)
    draws = np.empty(len(weights))
    for start in range(0, len(weights), 256):
        running = np.cumsum(weights[start : start + 256, scene], axis=1, dtype=np.float64)
        half = running[:, -1:] / 2
        index = np.minimum((running < half).sum(1), ordered.size - 1)
        draws[start : start + 256] = np.where(running[:, -1] > 0, ordered[index], np.nan)
    return Drawn(float(np.median(ordered)), draws, ordered.size)


def difference(first: Drawn, second: Drawn) -> dict[str, float | int | None]:
    """``{value, low, high, count}`` of first minus second, for draws with the same weights."""
    low, high = quantiles(first.draws - second.draws)
    return {
        "value": _number(first.value - second.value),
        "low": low,
        "high": high,
        "count": min(first.count, second.count),
    }


def _by_scene(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values.sum(1) if values.ndim == 2 else values


def _quotient(numerator: np.ndarray, denominator: np.ndarray, root: bool) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), np.nan)
        return np.sqrt(value) if root else value


def _number(value: float) -> float | None:
    """A number rounded to six digits, which keeps metrics.json small; None if it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None
