"""Subsets of scenes (by SNR, K, separation, near-far ratio) and of sources (by range) for the breakdowns of metrics.

The name of a subset contains its axis and its bounds, such as ``snr_db:-5..0`` or ``k:3``. The lower bound belongs to
the subset, the upper bound to the next one; the last subset includes both.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float

from risjax.types import Sources

SNR_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
RANGE_M = (0.5, 2.0, 4.0, 6.0, 8.0, 10.0)
SEPARATION_DEG = (0.0, 10.0, 20.0, 40.0, 180.0)
NEAR_FAR_DB = (0.0, 5.0, 10.0, 20.0, 60.0)


def scene_breakdowns(sources: Sources, snr_db: Float[np.ndarray, " S"] | None) -> dict[str, Bool[np.ndarray, " S"]]:
    """Scenes of each subset, by name; ``overall`` holds all of them. Empty subsets are left out."""
    present = np.asarray(sources.active)
    count = present.sum(1)
    slices = {"overall": np.ones(len(count), bool)}
    if snr_db is not None:
        slices |= _bins("snr_db", np.asarray(snr_db), SNR_DB)
    slices |= {f"k:{k}": count == k for k in range(present.shape[1] + 1)}
    slices |= _bins("separation_deg", closest_pair_deg(sources), SEPARATION_DEG)
    slices |= _bins("near_far_db", near_far_ratio_db(sources), NEAR_FAR_DB)
    return {name: scenes for name, scenes in slices.items() if scenes.any()}


def source_breakdowns(sources: Sources) -> dict[str, Bool[np.ndarray, "S K"]]:
    """True sources of each interval of range, by name. Empty subsets are left out."""
    present = np.asarray(sources.active)
    slices = _bins("range_m", np.asarray(sources.position)[..., 2], RANGE_M)
    return {name: chosen & present for name, chosen in slices.items() if (chosen & present).any()}


def closest_pair_deg(sources: Sources) -> Float[np.ndarray, " S"]:
    """Angle between the two closest directions of each scene; NaN with fewer than two sources."""
    position, present = np.asarray(sources.position, np.float64), np.asarray(sources.active)
    azimuth, elevation = position[..., 0], position[..., 1]
    cosine = np.cos(elevation)
    unit = np.stack([np.sin(azimuth) * cosine, np.sin(elevation), np.cos(azimuth) * cosine], axis=-1)
    chord = np.linalg.norm(unit[:, :, None, :] - unit[:, None, :, :], axis=-1)
    pair = present[:, :, None] & present[:, None, :] & ~np.eye(present.shape[1], dtype=bool)[None]
    closest = np.where(pair, chord, np.inf).min((1, 2))
    angle = np.degrees(2 * np.arcsin(np.minimum(closest, 2.0) / 2))
    return np.where(np.isfinite(closest), angle, np.nan)


def near_far_ratio_db(sources: Sources) -> Float[np.ndarray, " S"]:
    """Power of the strongest source over that of the weakest, in dB; NaN with fewer than two sources or unknown
    amplitudes."""
    present = np.asarray(sources.active)
    power = np.abs(np.asarray(sources.amplitude)).astype(np.float64) ** 2
    power = np.where(present & (power > 0), power, np.nan)
    complete = (np.isfinite(power) == present).all(1) & (present.sum(1) > 1)
    power = np.where(complete[:, None], power, 1.0)
    most, least = np.nanmax(power, axis=1), np.nanmin(power, axis=1)
    return np.where(complete, 10 * np.log10(most / least), np.nan)


def _bins(axis: str, values: np.ndarray, edges: tuple[float, ...]) -> dict[str, np.ndarray]:
    last = len(edges) - 2
    return {
        f"{axis}:{low:g}..{high:g}": (values >= low) & ((values <= high) if i == last else (values < high))
        for i, (low, high) in enumerate(itertools.pairwise(edges))
    }
