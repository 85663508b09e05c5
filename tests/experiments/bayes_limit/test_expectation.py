"""Expectations over draws, and the two bounds of the limit."""

from collections.abc import Mapping

import numpy as np
import pytest

from risjax.config import ToleranceConfig
from risjax.experiments.bayes_limit.expectation import expectations, expected_ratios
from risjax.experiments.bayes_limit.stage import _as_estimates
from risjax.experiments.bayes_limit.subspace import Overlaps
from risjax.metrics.bootstrap import Ratio, scene_weights
from risjax.types import Estimates

TOLERANCE = ToleranceConfig()


def places(*azimuths_deg, range_m=2.0):
    return np.array([(np.radians(azimuth), 0.0, range_m) for azimuth in azimuths_deg]).reshape(-1, 3)


def scene_of(*draws):
    """Draws of up to two sources each, [P, 2, 3] and [P, 2]."""
    position, active = np.full((len(draws), 2, 3), 1.0), np.zeros((len(draws), 2), bool)
    for row, sources in enumerate(draws):
        position[row, : len(sources)], active[row, : len(sources)] = sources, True
    return position, active


def value(ratios, metric):
    return ratios[metric].numerator.sum() / ratios[metric].denominator.sum()


def test_a_source_counts_as_often_as_draws_hold_it():
    """One source in all four draws, a second in one: 4 + 0 hits of 4 + 5 when the first alone is said."""
    position, active = scene_of(places(0), places(1), places(0, 40), places(2))
    ratios = expected_ratios(_as_estimates([places(0)], 2), position[None], active[None], TOLERANCE, lambda: None)
    assert value(ratios, "f1_angle") == pytest.approx(2 * 4 / (4 + 5))
    assert value(ratios, "f1_3d") == pytest.approx(2 * 4 / (4 + 5))
    degrees = 2 * 2.0 * np.sin(np.radians(np.array([0, 1, 0, 2])) / 2)
    expected = np.sqrt(degrees**2 + np.array([0, 0, 2, 0])).mean()  # cut-off 2 m, order 2: a missed source is 2 m^2
    assert value(ratios, "gospa_m") == pytest.approx(expected)


def test_a_wrong_range_counts_in_angle_alone():
    position, active = scene_of(places(0), places(0, range_m=8.0))
    ratios = expected_ratios(_as_estimates([places(0)], 2), position[None], active[None], TOLERANCE, lambda: None)
    assert value(ratios, "f1_angle") == 1.0
    assert value(ratios, "f1_3d") == 0.5


def test_two_runs_that_disagree_bracket_the_limit():
    """One run says 0 degrees, the other 40: a decision is right by its own draws alone, half right by all of them."""
    first, second = scene_of(places(0)), scene_of(places(40))
    position, active = (np.stack([a, b])[None] for a, b in zip(first, second, strict=True))
    decided = [_as_estimates([places(azimuth)], 2) for azimuth in (0, 40)]
    names = ["bayes_3d", "bayes_angle", "bayes_gospa"]
    alone: list[Mapping[str, Estimates]] = [dict.fromkeys(names, estimates) for estimates in decided]
    half, full = (Ratio(np.array([value]), np.ones(1)) for value in (0.5, 1.0))
    spans = Overlaps({"one": half}, {"above": full, "below": half})
    weights = scene_weights(1, 2, 0)
    passes = []
    result = expectations(
        {"one": decided[0]}, alone[0], alone, position, active, TOLERANCE, weights, spans, lambda: passes.append(1)
    )
    assert len(passes) == 1 + 3 + 2 * 3  # the method, the decisions, those of each half
    assert result["methods"]["one"]["subspace_overlap_of_fit"]["value"] == 0.5
    assert result["minus_limit"]["one"]["subspace_overlap_of_fit"]["above"]["value"] == -0.5
    assert result["minus_limit"]["one"]["subspace_overlap_of_fit"]["below"]["value"] == 0.0
    assert result["limit"]["f1_angle"]["above"]["value"] == 0.5
    assert result["limit"]["f1_angle"]["below"]["value"] == 0.0
    assert result["minus_limit"]["one"]["f1_3d"]["above"]["value"] == 0.0
    assert result["minus_limit"]["one"]["f1_3d"]["below"]["value"] == 0.5
    assert result["limit"]["gospa_m"]["below"]["value"] > result["limit"]["gospa_m"]["above"]["value"]
