"""Scores, breakdowns, intervals and pairs on estimates whose metrics are known."""

import json
from typing import Any

import numpy as np
import pytest

from risjax.config import ToleranceConfig
from risjax.metrics.bootstrap import Ratio, difference, draw_medians, draw_ratios, scene_weights
from risjax.metrics.breakdowns import closest_pair_deg, near_far_ratio_db, scene_breakdowns
from risjax.metrics.calibration import expected_calibration_error
from risjax.metrics.quick import quick
from risjax.metrics.summary import summarise
from risjax.types import Estimates, Sources

TOLERANCE = ToleranceConfig()
SCENES, SLOTS = 200, 4


def scenes(seed: int = 0) -> Sources:
    generator = np.random.default_rng(seed)
    active = np.arange(SLOTS)[None] < generator.integers(1, SLOTS + 1, SCENES)[:, None]
    position = np.stack(
        [
            generator.uniform(-1, 1, active.shape),
            generator.uniform(-0.5, 0.5, active.shape),
            generator.uniform(0.5, 10, active.shape),
        ],
        axis=-1,
    )
    amplitude = generator.normal(size=active.shape) + 1j * generator.normal(size=active.shape)
    return Sources._make((np.where(active[..., None], position, 0.0), np.where(active, amplitude, 0.0), active))


def disturbed(sources: Sources, sigma: np.ndarray, seed: int, miss: float = 0.0) -> Estimates:
    generator = np.random.default_rng(seed)
    error = generator.normal(size=sources.position.shape) * sigma
    active = sources.active & (generator.uniform(size=sources.active.shape) >= miss)
    std = np.where(active[..., None], np.broadcast_to(sigma, error.shape), np.inf)
    position = np.where(active[..., None], sources.position + error, 0.0)
    zeros, unknown = np.zeros(active.shape), np.full(active.shape, np.nan)
    return Estimates._make((position, sources.amplitude, active, std, zeros, unknown))


def test_metrics_of_an_efficient_and_of_an_inaccurate_method() -> None:
    sources, sigma = scenes(), np.array([0.002, 0.003, 0.05])
    methods = {"good": disturbed(sources, sigma, 1), "bad": disturbed(sources, 4 * sigma, 2, miss=0.3)}
    snr_db = np.random.default_rng(3).uniform(-5, 20, SCENES)
    summary = summarise(
        methods,
        sources,
        TOLERANCE,
        snr_db=snr_db,
        bound_std=np.broadcast_to(sigma, sources.position.shape),
        per_scene={"good": {"nmse": np.full(SCENES, 0.25)}},
        draws=300,
    )
    json.dumps(summary, allow_nan=False)
    good, bad = (summary["methods"][name]["overall"] for name in methods)
    for name, value in quick(methods["bad"], sources, TOLERANCE).items():
        assert bad[name]["value"] == pytest.approx(value, rel=1e-5)
        assert bad[name]["low"] <= value <= bad[name]["high"]
    for parameter in ("azimuth", "elevation", "range"):
        assert good[f"median_ratio_{parameter}"]["value"] == pytest.approx(1, abs=0.15)
        assert good[f"rmse_over_bound_{parameter}"]["value"] == pytest.approx(1, abs=0.15)
        assert bad[f"rmse_over_bound_{parameter}"]["value"] > 3
        assert good[f"rmse_over_bound_{parameter}"]["count"] == sources.active.sum()
    for level, share in ((1, 0.683), (2, 0.954), (3, 0.997)):
        assert good[f"coverage_{level}sigma_inverse_range"]["value"] == pytest.approx(share, abs=0.06)
    assert good["crb_azimuth_deg"]["value"] == pytest.approx(np.degrees(0.002), rel=1e-4)
    assert good["nmse"] == {"value": 0.25, "low": 0.25, "high": 0.25, "count": SCENES}
    assert bad["calibration_unmatched"]["value"] == pytest.approx(1 - bad["recall_angle"]["value"])
    pair = summary["pairs"]["good_minus_bad"]["overall"]
    assert pair["f1_angle"]["low"] > 0 > pair["gospa_m"]["high"]
    assert "nmse" not in pair
    assert set(summary["methods"]["good"]["range_m:2..4"]) >= {"recall_3d", "rmse_range_m"}
    assert "f1_3d" not in summary["methods"]["good"]["range_m:2..4"]
    assert summary["scenes"] == SCENES


def test_scene_slices_cover_every_scene_once() -> None:
    sources = scenes()
    slices = scene_breakdowns(sources, np.linspace(-5, 20, SCENES))
    for axis in ("snr_db", "k"):
        parts = [chosen for name, chosen in slices.items() if name.startswith(axis + ":")]
        assert (np.sum(parts, axis=0) == 1).all()


def test_separation_and_near_far_by_hand() -> None:
    position = np.radians([[[0, 0, 0], [10, 0, 0], [0, 3, 0]], [[5, 5, 0], [0, 0, 0], [0, 0, 0]]])
    active = np.array([[True, True, True], [True, False, False]])
    sources = Sources._make((position, np.array([[1.0, 10.0, 2.0], [1.0, 0.0, 0.0]]), active))
    np.testing.assert_allclose(closest_pair_deg(sources), [3.0, np.nan], rtol=1e-6)
    np.testing.assert_allclose(near_far_ratio_db(sources), [20.0, np.nan], rtol=1e-6)


def width(entry: dict[str, Any]) -> float:
    """Return the width of an interval."""
    return entry["high"] - entry["low"]


def test_the_bootstrap_of_a_mean_has_the_width_of_its_standard_error() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=400)
    weights = scene_weights(400, 4000, 0)
    drawn = draw_ratios({"mean": Ratio(values, np.ones(400))}, weights)["mean"]
    assert width(drawn.interval()) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    shifted = draw_ratios({"mean": Ratio(values + 1, np.ones(400))}, weights)["mean"]
    assert difference(shifted, drawn)["low"] == pytest.approx(1, abs=1e-4)
    median = draw_medians(values[:, None], np.ones((400, 1)), weights).interval()
    assert width(median) == pytest.approx(2 * 1.96 * 1.2533 * values.std() / 20, rel=0.25)


def test_a_metric_without_entries_has_no_value() -> None:
    weights = scene_weights(5, 10, 0)
    entry = draw_ratios({"empty": Ratio(np.zeros(5), np.zeros(5))}, weights)["empty"].interval()
    assert entry == {"value": None, "low": None, "high": None, "count": 0}


def test_calibration_error_of_calibrated_and_overconfident_probabilities() -> None:
    generator = np.random.default_rng(0)
    probability = generator.uniform(size=20000)
    happened = generator.uniform(size=20000) < probability
    assert expected_calibration_error(probability, happened) < 0.02
    assert expected_calibration_error(np.ones(1000), happened[:1000]) == pytest.approx(1 - happened[:1000].mean())
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_existence_probabilities_reach_the_summary() -> None:
    """Half of the slots hold a source, half an invented candidate: an honest 0.5, and a boast of 0.9 for both."""
    sources = scenes()
    honest = disturbed(sources, np.array([1e-3, 1e-3, 1e-2]), 1)
    position = np.where(sources.active[..., None], honest.position, [1.4, 1.2, 1.0])  # beyond all gates
    candidates = honest._replace(position=position)
    share = sources.active.mean()
    existence = {"honest": np.full(sources.active.shape, share), "boastful": np.full(sources.active.shape, 0.9)}
    methods = {name: candidates._replace(existence=values) for name, values in existence.items()} | {"silent": honest}
    summary = summarise(methods, sources, TOLERANCE, draws=200)
    overall = {name: summary["methods"][name]["overall"] for name in methods}
    entry = overall["boastful"]["ece"]
    assert entry["value"] == pytest.approx(0.9 - share, abs=1e-4)
    assert entry["low"] < entry["value"] < entry["high"]
    assert entry["count"] == sources.active.size
    assert overall["honest"]["ece"]["value"] < 0.5 * entry["value"]
    assert "ece" not in overall["silent"]
    assert summary["pairs"]["honest_minus_boastful"]["overall"]["ece"]["high"] < 0
    assert "ece" in summary["methods"]["honest"]["k:2"]


def test_slots_without_a_probability_are_not_counted() -> None:
    sources = scenes()
    estimates = disturbed(sources, np.array([1e-3, 1e-3, 1e-2]), 1)
    existence = np.where(sources.active, 1.0, np.nan)
    summary = summarise({"sure": estimates._replace(existence=existence)}, sources, TOLERANCE, draws=20)
    entry = summary["methods"]["sure"]["overall"]["ece"]
    assert entry["value"] == 0
    assert entry["count"] == sources.active.sum()
