"""Metrics of estimates against the truth, with intervals."""

from collections.abc import Mapping
from typing import TypeVar

import jax
import numpy as np

from risjax.config import EvaluateConfig
from risjax.config.io import read_section
from risjax.inference.predict.localization import Localization
from risjax.metrics.summary import summarise
from risjax.physics.received_arrays import positions_problem
from risjax.types import Estimates, Sources, Truth

Found = TypeVar("Found", Estimates, Sources)


def score(
    estimates: Localization | Estimates,
    truth: Truth | Sources,
    *,
    tolerance: Mapping[str, float] | None = None,
    bound_std: np.ndarray | jax.Array | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Return the metrics of estimates, with 95 % intervals by resampling of scenes.

    `risjax.metrics.scoring` defines them: F1, precision and recall in 3-D and in angle, GOSPA, accuracy of
    the number of sources, RMSE, calibration of existence and coverage of intervals.

    Args:
        estimates: of S scenes, as `risjax.localise` returns them, or of one.
        truth: of the same scenes, ``scenes.truth`` of `risjax.simulate`, or its sources.
        tolerance: largest errors of a match, as ``{"azimuth_deg": 5.0, "elevation_deg": 5.0, "range_m": 1.0}``, and the
            parameters of GOSPA (``evaluate.tolerance`` of a configuration).
        bound_std: standard deviations of a bound, ``risjax.crb(...).std``, [S, K, 3], or [K, 3] of one scene, to
            compare the errors with.
        draws: resamplings behind each interval.
        seed: of the resamplings.

    Returns:
        ``{metric: {"value", "low", "high", "count"}}``: the metric, its interval, and the number of sources or scenes
        behind it. Metrics are ``f1_3d``, ``precision_3d``, ``recall_3d``, ``f1_angle``, ``gospa_m``, ``k_accuracy``,
        ``rmse_azimuth_deg``, ``rmse_range_m``, ``coverage_2sigma_azimuth`` and more; with ``bound_std`` also
        ``crb_azimuth_deg`` and ``rmse_over_bound_azimuth``. Metrics that are not defined, such as an error without a
        match, are absent.

    Raises:
        ConfigError: an invalid tolerance.
        TypeError: estimates or a truth of another type.
        ValueError: numbers of scenes that differ, positions in other units, or a bound of another shape.

    Example:
        >>> import risjax
        >>> scenes = risjax.simulate({"scene": {"snr_db": [20, 20]}}, 4, key=0)
        >>> f1 = risjax.score(risjax.localise(*scenes.observation), scenes.truth)["f1_angle"]
        >>> 0.5 < f1["low"] <= f1["value"] <= f1["high"] <= 1.0
        True
    """
    _check_type("truth", truth, (Truth, Sources), "a Truth or its sources", "score(estimates, scenes.truth)")
    example = "score(risjax.localise(...), scenes.truth)"
    _check_type("estimates", estimates, (Localization, Estimates), "a Localization", example)
    sources = _batched(truth.sources if isinstance(truth, Truth) else truth)
    problem = positions_problem(np.asarray(sources.position)[np.asarray(sources.active)])
    if problem:
        raise ValueError(f"truth {problem}")
    found = _batched(Estimates(*(getattr(estimates, name) for name in Estimates._fields)))
    if len(found.active) != len(sources.active):
        raise ValueError(
            f"got estimates of {len(found.active)} scenes and the truth of {len(sources.active)}, expected as many"
        )
    shape = sources.position.shape
    bound = None if bound_std is None else np.asarray(bound_std)
    if bound is not None and bound.ndim == 2:
        bound = bound[None]
    if bound is not None and not (bound.shape == shape and (bound >= 0).all()):
        raise ValueError(
            f"got bound_std of shape {list(bound.shape)}, expected standard deviations >= 0 of the shape of "
            f"the true positions, {list(shape)}"
        )
    limits = read_section(EvaluateConfig, {"tolerance": tolerance or {}}, "evaluate").tolerance
    summary = summarise({"method": found}, sources, limits, bound_std=bound, draws=draws, seed=seed)
    return summary["methods"]["method"]["overall"]


def _check_type(name: str, value: object, types: tuple[type, ...], expected: str, example: str) -> None:
    if not isinstance(value, types):
        raise TypeError(f"got {name} of type {type(value).__name__}, expected {expected}: {example}")


def _batched(scenes: Found) -> Found:
    """Arrays on the host with a leading axis of scenes."""
    scenes = jax.tree.map(np.asarray, scenes)
    return jax.tree.map(lambda leaf: leaf[None], scenes) if scenes.active.ndim == 1 else scenes
