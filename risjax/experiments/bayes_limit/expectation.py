"""Posterior expectation of the metrics of any set of sources: metrics without the chance of the true draw.

The truth of a scene is one draw of its posterior. The mean of a metric over all draws has the same expectation as the
metric of the truth, and a much smaller variance. The limit is enclosed between two values. A decision judged by the
draws from which it was made profits from their noise, so its metric is better than that of any estimator. A decision
made from one half of the runs and judged by the other half does not, and its metric is at most that of the best
estimator.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from risjax.config import ToleranceConfig
from risjax.experiments.bayes_limit.limit_tables import BOUNDS, DECISIONS, OVERLAP
from risjax.experiments.bayes_limit.subspace import Overlaps
from risjax.metrics.bootstrap import Drawn, Ratio, difference, draw_ratios
from risjax.metrics.scoring import score
from risjax.types import Estimates, Sources

METRICS = tuple(DECISIONS.values())


def expected_ratios(
    estimates: Estimates,
    position: Float[np.ndarray, "S P K 3"],
    active: Bool[np.ndarray, "S P K"],
    tolerance: ToleranceConfig,
    advance: Callable[[], None],
) -> dict[str, Ratio]:
    """The metrics of `DECISIONS`, every scene's numerator and denominator averaged over its draws.

    Args:
        estimates: leading axis S, host arrays.
        position: draws of (azimuth, elevation, range) from each scene's posterior.
        active: which of them are sources.
        tolerance: gates and GOSPA's constants.
        advance: called after every scene.
    """
    sums = {metric: np.zeros((2, len(active))) for metric in METRICS}
    for scene, (drawn, present) in enumerate(zip(position, active, strict=True)):
        said = Estimates(*(np.repeat(np.asarray(leaf)[scene][None], len(drawn), axis=0) for leaf in estimates))  # pyright: ignore[reportArgumentType]
        truth = Sources(drawn, np.ones(present.shape, complex), present)  # pyright: ignore[reportArgumentType]
        ratios = score(said, truth, tolerance).ratios
        for metric, both in sums.items():
            both[:, scene] = np.mean(ratios[metric].numerator), np.mean(ratios[metric].denominator)
        advance()
    return {metric: Ratio(both[0], both[1]) for metric, both in sums.items()}


def expectations(
    methods: Mapping[str, Estimates],
    pooled: Mapping[str, Estimates],
    alone: Sequence[Mapping[str, Estimates]],
    position: Float[np.ndarray, "S R P K 3"],
    active: Bool[np.ndarray, "S R P K"],
    tolerance: ToleranceConfig,
    weights: Float[np.ndarray, "D S"],
    spans: Overlaps,
    advance: Callable[[], None],
) -> dict[str, Any]:
    """Methods and limit, as the posterior expects them.

    Args:
        methods: estimates by method.
        pooled: decisions made from the draws of all R replicates.
        alone: decisions made from each of the `halves` of the replicates.
        position: draws of all replicates.
        active: which of them are sources.
        tolerance: gates and GOSPA's constants.
        weights: of the resampled scenes.
        spans: the overlap of subspaces, of the same draws and of what methods fitted, those of them that did.
        advance: called after every scene of every one of the ``methods``, the ``pooled`` and the ``alone``.

    Returns:
        ``{"methods": {name: {metric: interval}}, "limit": {metric: {"above", "below"}}, "minus_limit": {name: {metric:
        {"above", "below"}}}}``; ``above`` is what bounds the limit from its better side.
    """
    every = pool(position), pool(active)
    drawn = {
        name: draw_ratios(expected_ratios(estimates, *every, tolerance, advance) | spans.of_method(name), weights)
        for name, estimates in methods.items()
    }
    limit: dict[str, dict[str, Drawn]] = {OVERLAP: draw_ratios(spans.limit, weights)}
    for name, metric in DECISIONS.items():
        above = expected_ratios(pooled[name], *every, tolerance, advance)[metric]
        others = zip(alone, reversed(halves(position)), reversed(halves(active)), strict=True)
        below = _mean(
            [
                expected_ratios(decisions[name], pool(drawn), pool(present), tolerance, advance)[metric]
                for decisions, drawn, present in others
            ]
        )
        limit[metric] = draw_ratios(dict(zip(BOUNDS, (above, below), strict=True)), weights)
    return {
        "methods": {name: _intervals(figures) for name, figures in drawn.items()},
        "limit": {metric: _intervals(ends) for metric, ends in limit.items()},
        "minus_limit": {
            name: {
                metric: {end: difference(figures[metric], end_value) for end, end_value in ends.items()}
                for metric, ends in limit.items()
                if metric in figures
            }
            for name, figures in drawn.items()
        },
    }


def _intervals(figures: Mapping[str, Drawn]) -> dict[str, dict[str, float | int | None]]:
    return {name: figure.interval() for name, figure in figures.items()}


def _mean(ratios: Sequence[Ratio]) -> Ratio:
    return Ratio(
        np.mean([ratio.numerator for ratio in ratios], axis=0), np.mean([ratio.denominator for ratio in ratios], axis=0)
    )


def pool(values: np.ndarray) -> np.ndarray:
    """The draws of all replicates one after another, [S, R P, ...]."""
    return values.reshape(len(values), -1, *values.shape[3:])


def halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first half of the replicates and the others, of [S, R, ...]."""
    middle = values.shape[1] // 2
    return values[:, :middle], values[:, middle:]
