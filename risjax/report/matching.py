"""Which estimate belongs to which source, for pictures.

The metrics proper are made in `risjax.metrics` and read from ``metrics.json``; a report imports no room but the
run directory, so the two things that a picture needs scene by scene (pairs within the angular gate, and GOSPA
to tell good scenes from bad) are made again here. A test holds them equal to `risjax.metrics`.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

_FORBIDDEN = 1.0e6


def cartesian(position: np.ndarray) -> np.ndarray:
    """(azimuth, elevation, range) [..., 3] to (horizontal, vertical, boresight) in metres."""
    azimuth, elevation, range_m = np.moveaxis(np.asarray(position, np.float64), -1, 0)
    return np.stack(
        [
            range_m * np.sin(azimuth) * np.cos(elevation),
            range_m * np.sin(elevation),
            range_m * np.cos(azimuth) * np.cos(elevation),
        ],
        axis=-1,
    )


def angle_pairs(
    true: np.ndarray, estimated: np.ndarray, *, azimuth_deg: float = 5.0, elevation_deg: float = 5.0
) -> list[tuple[int, int]]:
    """Pairs (source, estimate) of one scene within the angular gate: as many as possible, then the closest.

    Args:
        true: positions of the sources, [n, 3].
        estimated: positions of the estimates, [m, 3].
    """
    if not len(true) or not len(estimated):
        return []
    error = np.degrees(np.abs(_wrapped(estimated[None, :, :2] - true[:, None, :2])))
    scaled = error / np.array([azimuth_deg, elevation_deg])
    allowed = np.all(scaled <= 1.0, axis=-1)
    rows, columns = linear_sum_assignment(np.where(allowed, (scaled**2).sum(-1), _FORBIDDEN))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]


def gospa_m(true: np.ndarray, estimated: np.ndarray, *, cutoff_m: float = 2.0, order: float = 2.0) -> float:
    """GOSPA (alpha = 2) of one scene, in metres."""
    unpaired = cutoff_m**order / 2
    total = unpaired * (len(true) + len(estimated))
    if len(true) and len(estimated):
        distance = np.linalg.norm(cartesian(true)[:, None] - cartesian(estimated)[None], axis=-1)
        saving = np.minimum(distance**order - cutoff_m**order, 0.0)
        rows, columns = linear_sum_assignment(saving)
        total += saving[rows, columns].sum()
    return float(total ** (1 / order))


def _wrapped(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
