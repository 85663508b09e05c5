"""Decisions from draws whose best decision is known."""

import numpy as np
import pytest

from risjax.config import ToleranceConfig
from risjax.experiments.bayes_limit.decide import decide_by_f1, decide_by_gospa, polar, rank_by_matches
from risjax.metrics.matching import cartesian

TOLERANCE = ToleranceConfig()


def draws(*rows):
    """Draws of up to two sources each, (azimuth [deg], range [m]) or None."""
    position = np.zeros((len(rows), 2, 3))
    position[..., 2] = 1.0
    active = np.zeros((len(rows), 2), bool)
    for row, sources in enumerate(rows):
        for slot, (azimuth_deg, range_m) in enumerate(sources):
            position[row, slot], active[row, slot] = (np.radians(azimuth_deg), 0.0, range_m), True
    return position, active


def test_matches_are_ordered_by_probability_and_each_source_is_matched_once():
    position, active = draws([(0, 2)], [(1, 2), (40, 5)], [(0, 2), (40, 5)], [(40, 5)])
    ranked = rank_by_matches(position, active, TOLERANCE, gate_range=True)
    np.testing.assert_allclose(ranked.probability, [0.75, 0.75])
    assert {round(np.degrees(azimuth)) // 10 for azimuth in ranked.position[:, 0]} == {0, 4}
    assert ranked.expected_count == 1.5


def test_two_sources_in_one_gate_are_two_matches():
    position, active = draws([(0, 2), (2, 2)], [(0, 2), (2, 2)])
    ranked = rank_by_matches(position, active, TOLERANCE, gate_range=True)
    np.testing.assert_allclose(ranked.probability, [1.0, 1.0])


def test_range_counts_in_three_dimensions_only():
    position, active = draws([(0, 2)], [(0, 5)], [(0, 8)], [(0, 5)])
    assert rank_by_matches(position, active, TOLERANCE, gate_range=True).probability[0] == 0.5
    assert rank_by_matches(position, active, TOLERANCE, gate_range=False).probability[0] == 1.0


def test_the_optimal_threshold_is_half_the_f1():
    """One sure source, and one of probability p: worth it from p = F / 2 on, here 2 / 3 / 2 with F = 2 / (1 + 2)."""
    for p, count in ((0.2, 1), (0.9, 2)):
        hits = int(10 * p)
        position, active = draws(*([[(0, 2), (40, 5)]] * hits + [[(0, 2)]] * (10 - hits)))
        ranked = rank_by_matches(position, active, TOLERANCE, gate_range=True)
        counts, value = decide_by_f1([ranked])
        assert counts == [count]
        assert value == pytest.approx(2 * ranked.probability[:count].sum() / (count + 1 + p))


def test_gospa_leaves_out_what_costs_more_than_it_saves():
    position, active = draws([(0, 2.0)], [(0, 2.2), (50, 9)], [(0, 2.4)])
    found, expected = decide_by_gospa(position, active, TOLERANCE)
    np.testing.assert_allclose(found, [[0, 0, 2.2]], atol=1e-9)
    assert expected == pytest.approx((0.2 + np.sqrt(2) + 0.2) / 3)


def test_gospa_takes_the_mean_of_draws_where_that_is_better_than_any_of_them():
    """Beside a source that will be missed anyway, squared errors count: sqrt(2 + d^2)."""
    position, active = draws([(0, 2.0), (50, 9)], [(0, 2.4), (-50, 9)], [(0, 2.0), (20, 9)], [(0, 2.4), (-20, 9)])
    found, expected = decide_by_gospa(position, active, TOLERANCE)
    np.testing.assert_allclose(found, [[0, 0, 2.2]], atol=1e-9)
    assert expected == pytest.approx(np.sqrt(2 + 0.2**2))


def test_polar_inverts_cartesian():
    position = np.array([[0.4, -0.3, 2.0], [-1.0, 0.2, 9.0]])
    np.testing.assert_allclose(polar(cartesian(position)), position)
