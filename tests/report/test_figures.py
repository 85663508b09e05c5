"""Figures draw the numbers of their table, which their CSV contains."""

import csv
import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from risjax.report import figures, read_run
from risjax.report.drawing import Drawing
from risjax.report.examples import matched_errors
from risjax.report.figures import Points, scene
from risjax.report.metrics_view import Interval, SourceMetrics, parse_slice
from risjax.report.reading import Run
from risjax.report.steps import StepTable, thin
from risjax.runs.run_directory import RunDirectory


@pytest.fixture(scope="module")
def run(run_directory: RunDirectory) -> Run:
    return read_run(run_directory)


def read_csv(drawing: Drawing) -> dict[str, list[str]]:
    rows = list(csv.reader(io.StringIO(drawing.csv())))
    return {column: [row[i] for row in rows[1:]] for i, column in enumerate(rows[0])}


def numbers(cells: list[str]) -> np.ndarray:
    return np.array([float(cell) if cell else np.nan for cell in cells])


def drawn_lines(figure: Figure) -> list[tuple[np.ndarray, np.ndarray]]:
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [(np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)) for line in lines]


def is_drawn(figure: Figure, x: np.ndarray, y: np.ndarray) -> bool:
    return any(
        a.shape == x.shape and np.array_equal(a, x, equal_nan=True) and np.array_equal(b, y, equal_nan=True)
        for a, b in drawn_lines(figure)
    )


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (lambda run: figures.loss_curves(run.steps), ["loss", "term_covariance", "term_projector"]),
        (lambda run: figures.gradient_norms(run.steps), ["grad_norm_backbone", "grad_norm_head", "update_norm"]),
        (lambda run: figures.optimizer_curves(run.steps), ["learning_rate", "loss_scale", "skipped"]),
        (lambda run: figures.validation_curves(run.epochs), ["nmse", "f1_3d", "gospa_m"]),
    ],
)
def test_curves_match_their_csv(run: Run, make, columns: list[str]) -> None:
    drawing = make(run)
    table, figure = read_csv(drawing), drawing.figure()
    for column in columns:
        assert is_drawn(figure, numbers(table[next(iter(table))]), numbers(table[column])), column


def test_breakdowns_match_their_csv_and_the_metrics(run: Run) -> None:
    source = run.sources[0]
    drawing = figures.metrics_along(source, "snr_db", ("f1_3d", "rmse_range_m"), name="snr", title="t", caption="c")
    assert drawing is not None
    table, figure = read_csv(drawing), drawing.figure()
    for method in source.methods:
        rows = [i for i, name in enumerate(table["method"]) if name == method and table["metric"][i] == "f1_3d"]
        x, y = numbers([table["snr_db_centre"][i] for i in rows]), numbers([table["value"][i] for i in rows])
        assert is_drawn(figure, x, y)
        np.testing.assert_array_equal(y, [entry.value for _, entry in source.along("snr_db", method, "f1_3d")])


def test_errors_of_methods_given_the_true_covariance_are_omitted(run: Run) -> None:
    source = run.sources[0]
    drawing = figures.metrics_along(source, "snr_db", ("recall_3d", "rmse_range_m"), name="n", title="t", caption="c")
    assert drawing is not None
    table = read_csv(drawing)
    drawn = set(zip(table["metric"], table["method"], strict=True))
    assert ("recall_3d", "oracle_mvdr") in drawn
    assert ("rmse_range_m", "greedy_ml") in drawn
    assert ("rmse_range_m", "oracle_mvdr") not in drawn
    errors, total = matched_errors(run, source.name)
    assert set(errors) == set(source.methods) - {"oracle_mvdr"}
    assert all(len(quantities["range_m"]) <= total for quantities in errors.values())


def test_search_history_keeps_the_best_so_far(run: Run) -> None:
    drawing = figures.search_history(run.trials, "gospa_m", minimise=True)
    assert drawing is not None
    table = read_csv(drawing)
    np.testing.assert_allclose(numbers(table["best_so_far"]), [2.4, 2.3, 2.3, 2.1, 2.1, 2.1])
    assert table["value"][5] == ""  # the failed trial has no value
    assert is_drawn(drawing.figure(), numbers(table["trial"]), numbers(table["best_so_far"]))


@pytest.mark.parametrize("minimise", [True, False])
def test_search_figures_accept_mixed_and_missing_settings(minimise: bool) -> None:
    params = [{"a": True, "b": [1, 2], "c": 1.0}, {"a": False, "b": None, "c": 1.0}, {"c": 100.0}]
    trials = [{"number": i, "state": "complete", "value": float(i), "params": p} for i, p in enumerate(params)]
    for make in (figures.search_history, figures.parallel_coordinates, figures.slices):
        drawing = make(trials, "f1_3d", minimise=minimise)
        assert drawing is not None
        assert drawing.figure().axes
    assert figures.parallel_coordinates(trials[:1], "f1_3d", minimise=minimise) is None
    assert figures.slices(trials[:1], "f1_3d", minimise=minimise) is None
    assert figures.trial_curves(trials, "f1_3d", minimise=minimise) is None, "no trial reported a value"
    assert figures.trial_costs(trials) is None, "no trial was timed"


def test_slices_show_every_trial_for_every_setting(run: Run) -> None:
    drawing = figures.slices(run.trials, "gospa_m", minimise=True)
    assert drawing is not None
    table = read_csv(drawing)
    assert table["trial"] == ["0", "1", "2", "3", "4"], "the trial without a value is omitted"
    panels = [axes for axes in drawing.figure().axes if axes.get_visible()]
    assert len(panels) == len(run.trials[0]["params"])
    for axes in panels:
        assert sorted(np.concatenate([line.get_ydata() for line in axes.lines[:2]])) == sorted(
            numbers(table["gospa_m"])
        )
        assert axes.lines[2].get_ydata() == min(numbers(table["gospa_m"]))


def test_learning_curves_and_times_of_trials(run: Run) -> None:
    drawing = figures.trial_curves(run.trials, "gospa_m", minimise=True)
    assert drawing is not None
    table = read_csv(drawing)
    lengths = [table["trial"].count(str(number)) for number in range(6)]
    assert lengths == [3, 3, 2, 3, 2, 0]
    assert is_drawn(drawing.figure(), numbers(table["epoch"])[:3], numbers(table["gospa_m"])[:3])
    costs = figures.trial_costs(run.trials)
    assert costs is not None
    table = read_csv(costs)
    assert numbers(table["cumulative_seconds"])[-1] == sum(trial["seconds"] for trial in run.trials)
    assert table["epochs"] == ["3", "3", "2", "3", "2", "0"]


def test_scene_shows_every_source_and_estimate() -> None:
    truth = np.radians([[10.0, 5.0, 0.0], [-20.0, 0.0, 0.0]])
    truth[:, 2] = 3.0, 7.0
    std = np.array([[0.01, 0.01, np.inf], [0.01, 0.02, 0.3]])
    drawing = figures.scene_view(
        Points(truth), {"learned_ml": Points(truth + 0.01, std), "mvdr": Points(np.zeros((0, 3)))},
        name="s", title="t", caption="c",
    )  # fmt: skip
    table, figure = read_csv(drawing), drawing.figure()
    for label in ("truth", "learned_ml"):
        rows = [i for i, name in enumerate(table["label"]) if name == label]
        x = numbers([table["azimuth_deg"][i] for i in rows])
        for column in ("elevation_deg", "range_m"):
            assert is_drawn(figure, x, numbers([table[column][i] for i in rows]))
    np.testing.assert_allclose(numbers(table["z_m"])[0], 3 * np.cos(np.radians(10)) * np.cos(np.radians(5)))
    space = next(axes for axes in figure.axes if axes.name == "3d")
    assert len(space.collections) == 1  # one ellipsoid: only one estimate has all standard deviations
    columns = {name: np.asarray(values) for name, values in drawing.table.items()}
    assert scene._ellipsoid(columns, 2, 9.0) is None
    mesh = scene._ellipsoid(columns, 3, 9.0)
    assert mesh is not None
    reached = np.linalg.norm(mesh, axis=0)
    np.testing.assert_allclose([reached.min(), reached.max()], [7.01 - 2 * 0.3, 7.01 + 2 * 0.3])
    elevation = np.arcsin(mesh[1] / reached)
    np.testing.assert_allclose([elevation.min(), elevation.max()], [0.01 - 2 * 0.02, 0.01 + 2 * 0.02], atol=1e-6)


def test_error_curves_end_at_the_share_of_detected_sources() -> None:
    drawing = figures.error_cdf({"learned_ml": {"range_m": np.array([0.5, -0.1, 0.2])}}, name="e", sources=4)
    assert drawing is not None
    table = read_csv(drawing)
    np.testing.assert_allclose(numbers(table["error"]), [0.1, 0.2, 0.5])
    np.testing.assert_allclose(numbers(table["share"]), [0.25, 0.5, 0.75])


def test_paired_differences_are_positive_if_better() -> None:
    pairs = {("learned_ml", "mvdr"): {"gospa_m": Interval(-0.5, -0.7, -0.4, 9), "f1_3d": Interval(0.1, 0.0, 0.2, 9)}}
    drawing = figures.paired_differences(SourceMetrics("s", pairs=pairs))
    assert drawing is not None
    table = read_csv(drawing)
    assert table["metric"] == ["f1_3d", "gospa_m"]
    np.testing.assert_allclose(numbers(table["gain"]), [0.1, 0.5])
    np.testing.assert_allclose(numbers(table["low"]), [0.0, 0.4])
    np.testing.assert_allclose(numbers(table["high"]), [0.2, 0.7])


def test_figures_without_their_data_are_none() -> None:
    empty = SourceMetrics("s", methods={"learned_ml": {parse_slice("overall"): {"f1_3d": Interval(0.5)}}})
    steps = StepTable(np.arange(3), np.ones(3), {"loss": np.full(3, np.nan)}, {}, np.ones(3, bool))
    assert figures.loss_curves(steps) is None
    assert figures.gradient_norms(steps) is None
    assert figures.optimizer_curves(steps) is None
    assert figures.validation_curves([]) is None
    assert figures.coverage(empty) is None
    assert figures.timing_bars(empty) is None
    assert figures.paired_differences(empty) is None
    assert figures.importances({}) is None
    assert figures.search_history([], "f1_3d", minimise=True) is None
    assert figures.metrics_along(empty, "snr_db", ("f1_3d",), name="n", title="t", caption="c") is None
    assert figures.error_cdf({}, name="e") is None


def test_thinning_keeps_extremes_and_ignores_nan() -> None:
    values = np.arange(1000.0)
    values[10], values[500] = np.nan, 1e6
    curve = thin(np.arange(1000), values, limit=100)
    assert len(curve.step) == 100
    assert np.nanmax(curve.high) == 1e6
    assert np.isfinite(curve.mean).all()
    np.testing.assert_array_equal(thin(np.arange(5), values[:5]).mean, values[:5])


def test_table_with_columns_of_unequal_length_is_rejected() -> None:
    with pytest.raises(ValueError, match="columns of equal length"):
        Drawing("n", "t", "c", {"a": [1], "b": [1, 2]}, lambda figure: None)


@pytest.mark.parametrize(
    ("key", "axis", "low", "high"),
    [
        ("snr_db:-5..0", "snr_db", -5.0, 0.0),
        ("k:3", "k", 3.0, 3.0),
        ("range_m:0.5..2", "range_m", 0.5, 2.0),
        ("near_far_db:20..60", "near_far_db", 20.0, 60.0),
        ("snr_db:10..inf", "snr_db", 10.0, np.inf),
    ],
)
def test_slices_are_parsed_from_their_names(key: str, axis: str, low: float, high: float) -> None:
    part = parse_slice(key)
    assert (part.axis, part.low, part.high) == (axis, low, high)
    assert np.isfinite(part.centre)
