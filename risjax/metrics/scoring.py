"""Metrics of a method on a set of scenes, as quotients of sums over scenes. All definitions are in this table.

============================ =========================================================================
metric                       definition
============================ =========================================================================
precision_*, recall_*, f1_*  over all scenes together; a hit is a pair of `risjax.metrics.matching.match`, gated in
                             azimuth, elevation and range (``_3d``) or in the angles alone (``_angle``)
gospa_m                      mean over scenes of the GOSPA distance, metres
gospa_localisation, _missed, mean over scenes of its three parts, metres^p
_false
k_accuracy, k_bias           share of scenes with the right K; mean of estimated minus true K
rmse_*                       over angle-matched pairs (a gate in range would bias it): azimuth and elevation in
                             degrees, range and position in metres
crb_*                        root of the mean Cramér–Rao bound over the same sources
rmse_over_bound_*            sqrt(mean e^2 / mean CRB) over the same sources
median_ratio_*               median of |e| / (0.6745 sigma_CRB) over the same sources; 1 for an efficient method
coverage_Nsigma_*            share of |e| <= N std with the method's std, over angle-matched pairs, in azimuth,
                             elevation and 1/r
calibration_unmatched        share of the true sources that are unmatched and not part of the coverage
ece                          expected calibration error of ``existence`` over all slots of positive probability,
                             active or not, in 10 bins of equal size; the event is a match with a source in angle
============================ =========================================================================

The bound applies to methods that are given K. Metrics with an empty denominator are absent.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from risjax.config import ToleranceConfig
from risjax.metrics.bootstrap import Ratio
from risjax.metrics.detection import gospa
from risjax.metrics.matching import Matches, cartesian, match
from risjax.types import Estimates, Sources

_MEDIAN_OF_NORMAL = 0.6745
_PARAMETERS = ("azimuth", "elevation", "range")
_UNITS = {"azimuth": "azimuth_deg", "elevation": "elevation_deg", "range": "range_m"}


class Scores(NamedTuple):
    """Metrics of a method as terms for each scene and source, before summation.

    Attributes:
        ratios: metrics of whole scenes [S] and of true sources [S, K].
        medians: metrics that are medians over sources: (values [S, K], counts [S, K]).
        existence: (probability, happened, counted) of the candidates, each [S, K]; None without probabilities.
    """

    ratios: dict[str, Ratio]
    medians: dict[str, tuple[np.ndarray, np.ndarray]]
    existence: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def score(
    estimates: Estimates,
    sources: Sources,
    tolerance: ToleranceConfig,
    *,
    bound_std: Float[np.ndarray, "S K 3"] | None = None,
    per_scene: dict[str, np.ndarray] | None = None,
) -> Scores:
    """All metrics of a method on a batch of scenes.

    Args:
        estimates: leading axis S, host arrays.
        sources: the truth, leading axis S.
        tolerance: gates and GOSPA's constants.
        bound_std: Cramér–Rao standard deviations of (azimuth, elevation, range) in rad, rad, m; not finite where
            unknown. None leaves the bound's metrics out.
        per_scene: further metrics that are plain means over scenes, e.g. ``nmse``.
    """
    position, active = np.asarray(estimates.position, np.float64), np.asarray(estimates.active)
    true, present = np.asarray(sources.position, np.float64), np.asarray(sources.active)
    scenes = np.ones(len(active))
    ratios: dict[str, Ratio] = {}
    claimed, existing = active.sum(1), present.sum(1)
    by_angle = match(position, active, true, present, tolerance, gate_range=False)
    by_position = match(position, active, true, present, tolerance, gate_range=True)
    for name, matches in (("3d", by_position), ("angle", by_angle)):
        hits = matches.matched
        ratios[f"f1_{name}"] = Ratio(2.0 * hits.sum(1), claimed + existing)
        ratios[f"precision_{name}"] = Ratio(hits.sum(1), claimed)
        ratios[f"recall_{name}"] = Ratio(hits, present)
    parts = gospa(position, active, true, present, tolerance)
    for name, values in zip(("gospa_m", "gospa_localisation", "gospa_missed", "gospa_false"), parts, strict=True):
        ratios[name] = Ratio(values, scenes)
    ratios["k_accuracy"] = Ratio(claimed == existing, scenes)
    ratios["k_bias"] = Ratio(claimed - existing, scenes)
    for name, values in (per_scene or {}).items():
        known = np.isfinite(values)
        ratios[name] = Ratio(np.where(known, values, 0.0), known)
    errors = _errors(by_angle, position, true)
    ratios |= _error_ratios(by_angle.matched, errors, by_angle.gather(position), true)
    medians: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if bound_std is not None:
        extra, medians = _against_bound(by_angle.matched, errors, bound_std)
        ratios |= extra
    ratios |= _coverage(by_angle, np.asarray(estimates.std, np.float64), position, true, present)
    return Scores(ratios, medians, _existence(estimates, sources, tolerance))


def _existence(
    estimates: Estimates, sources: Sources, tolerance: ToleranceConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    probability = np.nan_to_num(np.asarray(estimates.existence, np.float64))
    counted = probability > 0
    if not counted.any():
        return None
    position, true = np.asarray(estimates.position, np.float64), np.asarray(sources.position, np.float64)
    partners = match(position, counted, true, np.asarray(sources.active), tolerance, gate_range=False)
    return probability, partners.taken(counted.shape[1]), counted


def _errors(matches: Matches, position: np.ndarray, true: np.ndarray) -> Float[np.ndarray, "S K 3"]:
    error = matches.gather(position) - true
    error[..., 0] = (error[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return np.where(matches.matched[..., None], error, 0.0)


def _error_ratios(
    matched: Bool[np.ndarray, "S K"], errors: np.ndarray, estimated: np.ndarray, true: np.ndarray
) -> dict[str, Ratio]:
    scaled = errors * np.array([180 / np.pi, 180 / np.pi, 1.0])
    ratios = {f"rmse_{_UNITS[name]}": Ratio(scaled[..., i] ** 2, matched, True) for i, name in enumerate(_PARAMETERS)}
    squared = ((cartesian(estimated) - cartesian(true)) ** 2).sum(-1)
    ratios["rmse_position_m"] = Ratio(np.where(matched, squared, 0.0), matched, True)
    return ratios


def _against_bound(
    matched: np.ndarray, errors: np.ndarray, bound_std: np.ndarray
) -> tuple[dict[str, Ratio], dict[str, tuple[np.ndarray, np.ndarray]]]:
    ratios, medians = {}, {}
    for i, name in enumerate(_PARAMETERS):
        std = np.asarray(bound_std[..., i], np.float64)
        known = matched & np.isfinite(std) & (std > 0)
        std = np.where(known, std, 1.0)
        error = np.where(known, errors[..., i], 0.0)
        variance = np.where(known, std**2, 0.0)
        unit = 1.0 if name == "range" else 180 / np.pi
        ratios[f"crb_{_UNITS[name]}"] = Ratio(variance * unit**2, known, True)
        ratios[f"rmse_over_bound_{name}"] = Ratio(error**2, variance, True, known)
        medians[f"median_ratio_{name}"] = (np.abs(error) / (_MEDIAN_OF_NORMAL * std), known)
    return ratios, medians


def _coverage(
    matches: Matches, std: np.ndarray, position: np.ndarray, true: np.ndarray, present: np.ndarray
) -> dict[str, Ratio]:
    """Coverage in azimuth, elevation and 1/r; a range's std is carried over by the delta method."""
    estimated, deviation = matches.gather(position), matches.gather(std)
    known = matches.matched & np.isfinite(deviation).all(-1)
    if not known.any():
        return {}
    safe = np.where(known[..., None], estimated, 1.0)
    real = np.where(known[..., None], true, 1.0)
    errors = np.abs(
        np.stack([safe[..., 0] - real[..., 0], safe[..., 1] - real[..., 1], 1 / safe[..., 2] - 1 / real[..., 2]])
    )
    widths = np.stack([deviation[..., 0], deviation[..., 1], deviation[..., 2] / safe[..., 2] ** 2])
    ratios = {
        f"coverage_{level}sigma_{name}": Ratio(known & (errors[i] <= level * np.where(known, widths[i], 0.0)), known)
        for level in (1, 2, 3)
        for i, name in enumerate(("azimuth", "elevation", "inverse_range"))
    }
    return ratios | {"calibration_unmatched": Ratio(present & ~known, present)}
