"""Matching, counts and GOSPA against cases worked by hand."""

import numpy as np
import pytest

from risjax.config import ToleranceConfig
from risjax.metrics.detection import gospa
from risjax.metrics.matching import match
from risjax.metrics.quick import quick
from risjax.types import Estimates, Sources

TOLERANCE = ToleranceConfig()


def batch(rows: list[list[tuple[float, float, float]]], slots: int = 3) -> tuple[np.ndarray, np.ndarray]:
    position, active = np.zeros((len(rows), slots, 3), np.float32), np.zeros((len(rows), slots), bool)
    for scene, row in enumerate(rows):
        for slot, (azimuth, elevation, range_m) in enumerate(row):
            position[scene, slot] = np.radians(azimuth), np.radians(elevation), range_m
            active[scene, slot] = True
    return position, active


@pytest.mark.parametrize(
    ("estimates", "truth", "hits_3d", "hits_angle", "gospa_m"),
    [
        ([(0, 0, 5)], [(0, 0, 5)], 1, 1, 0.0),
        ([(0, 0, 6.5)], [(0, 0, 5)], 0, 1, 1.5),
        ([(4.9, -4.9, 5.9)], [(0, 0, 5)], 1, 1, None),
        ([(5.1, 0, 5)], [(0, 0, 5)], 0, 0, None),
        ([], [(0, 0, 5)], 0, 0, np.sqrt(2)),
        ([(0, 0, 5)], [], 0, 0, np.sqrt(2)),
        ([], [], 0, 0, 0.0),
        ([(0, 0, 9)], [(0, 0, 5)], 0, 1, 2.0),
        ([(1, 0, 5), (4, 0, 5)], [(3, 0, 5), (-1, 0, 5)], 2, 2, None),
    ],
)
def test_cases_by_hand(estimates: list, truth: list, hits_3d: int, hits_angle: int, gospa_m: float | None) -> None:
    (position, active), (true, present) = batch([estimates]), batch([truth])
    assert match(position, active, true, present, TOLERANCE, gate_range=True).matched.sum() == hits_3d
    assert match(position, active, true, present, TOLERANCE, gate_range=False).matched.sum() == hits_angle
    result = gospa(position, active, true, present, TOLERANCE)
    parts = result.localisation + result.missed + result.false
    np.testing.assert_allclose(result.distance_m**2, parts)
    if gospa_m is not None:
        np.testing.assert_allclose(result.distance_m, gospa_m, atol=1e-6)


def test_quick_pools_counts_over_scenes() -> None:
    (position, active), (true, present) = (
        batch([[(0, 0, 5)], [(9, 0, 3), (20, 0, 3)]]),
        batch([[(0, 0, 5)], [(9, 0, 3)]]),
    )
    zeros, unknown_std = np.zeros(active.shape), np.full(position.shape, np.inf)
    estimates = Estimates._make((position, zeros, active, unknown_std, zeros, np.full(active.shape, np.nan)))
    figures = quick(estimates, Sources._make((true, np.zeros(present.shape), present)), TOLERANCE)
    assert figures["precision_3d"] == pytest.approx(2 / 3)
    assert figures["recall_3d"] == 1.0
    assert figures["f1_3d"] == pytest.approx(0.8)
    assert figures["k_accuracy"] == 0.5
