"""The stage, its trainings and measurements played by random numbers: what it writes, what it does not do twice, and
that its figures are what they say."""

import csv
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from risjax.config import Config, ToleranceConfig
from risjax.config.io import apply_overrides
from risjax.experiments.ablate import stage
from risjax.experiments.ablate.ablation_tables import markdown
from risjax.experiments.ablate.stage import AblateError, ablate
from risjax.experiments.ablate.variants import training_path
from risjax.experiments.evaluate import EvaluationScenes
from risjax.metrics.bootstrap import draw_ratios, scene_weights
from risjax.metrics.scoring import score
from risjax.metrics.seeds import over_seeds, paired_over_seeds
from risjax.pipeline import POSTERIOR
from risjax.report.blocks import FigureBlock, Text
from risjax.report.reading import read_run
from risjax.report.sections import make_sections
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import NonFiniteTraining
from risjax.types import Estimates, Sources
from tests.report.synthetic import draw_estimates, draw_truth
from tests.tiny import tiny_config

QUIET = Terminal(quiet=True)
SCENES, SEEDS = 60, 3
BASE: dict[str, Any] = {"name": "base"}
SLOW: dict[str, Any] = {"name": "slow", "settings": {"train.learning_rate": 1.0e-4}}
GIVEN: dict[str, Any] = {"name": "no_blend", "of": "base", "settings": {"covariance.blend": 0.0}}
BARE: dict[str, Any] = {"name": "no_head", "of": "base", "settings": {"train.posterior.scenes": 0}}


def config(*variants: dict[str, Any], **changes: Any) -> Config:
    values = {
        "stages": ["ablate", "report"],
        "train.posterior.scenes": 64,
        "ablate.variants": list(variants),
        "ablate.seeds": SEEDS,
    }
    return apply_overrides(tiny_config(), values | changes)


class Lab:
    """In place of trainings and measurements; `trained` and `measured` say what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        truth, snr_db = draw_truth(np.random.default_rng(0), SCENES)
        self.sources, self.snr_db = truth, snr_db
        self.trained: list[str] = []
        self.measured: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        self.failing: tuple[str, ...] = ()
        for name in ("train", "train_posterior", "load_best", "load_scenes", "run_methods"):
            monkeypatch.setattr(stage, name, _checked(getattr(stage, name), getattr(self, name)))

    def train(self, variant: Config, where: RunDirectory, terminal: Terminal) -> None:
        name = "/".join(where.path.parts[-2:])
        self.trained.append(name)
        if name in self.failing:
            raise NonFiniteTraining("training stopped at step 3")
        rate = variant.train.learning_rate
        for epoch in (1, 2):
            record = {"kind": "epoch", "epoch": epoch, "seconds": 2.0, "best_epoch": 1, "skipped_steps": 1}
            where.append_log(record | {"applied_updates": 6 * epoch - 1})
        where.write_json("weights.json", [rate, variant.run.seed])

    def train_posterior(self, variant: Config, where: RunDirectory, terminal: Terminal) -> None:
        assert variant.run.seed == where.read_json("weights.json")[1]

    def load_best(self, variant: Config, where: RunDirectory) -> dict[str, Any]:
        rate, seed = where.read_json("weights.json")
        assert (variant.train.learning_rate, variant.run.seed) == (rate, seed)
        return {"rate": rate, "seed": seed, POSTERIOR: "head"}

    def load_scenes(self, *_: Any) -> EvaluationScenes:
        nothing: Any = None
        physics = tiny_config().physics
        return EvaluationScenes(physics, nothing, self.sources, self.snr_db, nothing, nothing, ())

    def run_methods(
        self, variant: Config, scenes: EvaluationScenes, name: str, params: Any, stored: Any, compiled: Any,
        directory: RunDirectory, bar: Any,
    ) -> tuple[dict[str, dict[str, np.ndarray]], list[str]]:  # fmt: skip
        at = int(1e6 * params["rate"] + 1e3 * params["seed"] + 20 * variant.covariance.blend + (POSTERIOR in params))
        generator = np.random.default_rng(at)
        nmse = np.random.default_rng(0).uniform(0.1, 0.3, SCENES) + generator.normal(params["rate"], 0.02, SCENES)
        fields = {}
        for method in variant.evaluate.methods:
            estimates = draw_estimates(generator, self.sources, self.snr_db, method)
            fields[method] = {**estimates._asdict(), "nmse": nmse, "subspace_overlap": 1 - nmse / 2}
        self.measured["/".join(directory.path.parts[-2:])] = fields
        return fields, []


def _checked(real: Callable[..., Any], played: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``played``, which accepts only the calls that the real function accepts."""

    def call(*given: Any) -> Any:
        inspect.signature(real).bind(*given)
        return played(*given)

    return call


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def _drawn(lab: Lab, variant: str, method: str, metric: str) -> list[Any]:
    """A metric of every seed, by the metrics' own functions."""
    weights, found = scene_weights(SCENES, 50, 0), []
    for seed in range(SEEDS):
        fields = lab.measured[f"{variant}/seed_{seed}"][method]
        estimates = Estimates._make(fields[name] for name in Estimates._fields)
        nmse = {"nmse": fields["nmse"]}
        ratios = score(estimates, Sources(*lab.sources), ToleranceConfig(), per_scene=nmse).ratios
        found.append(draw_ratios({metric: ratios[metric]}, weights)[metric])
    return found


def _same(figure: dict[str, Any], expected: dict[str, Any]) -> None:
    for end in ("value", "low", "high", "seeds"):
        np.testing.assert_allclose(figure[end], expected[end], rtol=1e-4, atol=1e-7)


def test_figures_are_means_over_seeds_and_paired_differences(lab: Lab, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    result = ablate(config(BASE, SLOW), directory, QUIET)
    assert json.loads((tmp_path / stage.FILE).read_text()) == json.loads(json.dumps(result))
    base, slow = result["variants"]
    for method, metric, group in (("learned_mvdr", "nmse", "network"), ("learned_ml", "gospa_m", "learned_ml")):
        changed, reference = (_drawn(lab, name, method, metric) for name in ("slow", "base"))
        _same(base["metrics"][group][metric], over_seeds(reference))
        _same(slow["metrics"][group][metric], over_seeds(changed))
        _same(slow["differences"][group][metric], paired_over_seeds(changed, reference))
    nmse = [
        [lab.measured[f"{name}/seed_{k}"]["learned_ml"]["nmse"].mean() for k in range(SEEDS)]
        for name in ("slow", "base")
    ]
    np.testing.assert_allclose(slow["metrics"]["network"]["nmse"]["value"], np.mean(nmse[0]), rtol=1e-5)
    difference = slow["differences"]["network"]["nmse"]
    np.testing.assert_allclose(difference["seeds"], np.subtract(nmse[0], nmse[1]), rtol=1e-3)
    unpaired = slow["metrics"]["network"]["nmse"]
    assert difference["high"] - difference["low"] < unpaired["high"] - unpaired["low"], "paired on the same scenes"
    assert (base["differences"], result["reference"], result["seeds"]) == ({}, "base", SEEDS)


def test_every_seed_trains_by_itself_and_given_weights_train_nothing(lab: Lab, tmp_path: Path) -> None:
    result = ablate(config(BASE, SLOW, GIVEN, BARE), RunDirectory(tmp_path), QUIET)
    assert lab.trained == [f"{name}/seed_{seed}" for name in ("base", "slow") for seed in range(SEEDS)]
    assert result["variants"][1]["training"] == {
        "steps": [12] * SEEDS, "skipped_steps": [1] * SEEDS, "seconds": [4.0] * SEEDS, "best_epoch": [1] * SEEDS
    }  # fmt: skip
    assert [entry["training"] for entry in result["variants"][2:]] == [{}, {}]
    values = [entry["metrics"]["learned_ml"]["f1_3d"]["value"] for entry in result["variants"]]
    assert len(set(values)) == 4, "its own covariance settings, and its own head or none"


def test_finished_trainings_are_kept_when_a_variant_is_added(lab: Lab, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    first = ablate(config(BASE, SLOW), directory, QUIET)
    directory.mark_done("report")
    lab.trained.clear()
    assert ablate(config(BASE, SLOW), directory, QUIET) == first
    assert lab.trained == []
    assert directory.is_done("report")
    grown = ablate(config(BASE, SLOW, {"name": "fast", "settings": {"train.learning_rate": 0.01}}), directory, QUIET)
    assert lab.trained == [f"fast/seed_{seed}" for seed in range(SEEDS)]
    assert grown["variants"][:2] == first["variants"]
    assert not directory.is_done("report"), "it shows an older table"


def test_a_training_that_is_not_finite_is_a_result(lab: Lab, tmp_path: Path) -> None:
    lab.failing = ("slow/seed_1",)
    of_slow = {"name": "slow_no_blend", "of": "slow", "settings": {"covariance.blend": 0.0}}
    directory = RunDirectory(tmp_path)
    results = [ablate(config(BASE, SLOW, of_slow), directory, QUIET) for _ in range(2)]
    assert results[0] == results[1]
    assert lab.trained.count("slow/seed_1") == 1
    for entry in results[0]["variants"][1:]:
        assert entry["failed_seeds"] == [1]
    slow = results[0]["variants"][1]
    kept = [0, 2]
    changed, reference = (_drawn_of(lab, name, kept) for name in ("slow", "base"))
    _same(slow["differences"]["network"]["nmse"], paired_over_seeds(changed, reference))
    assert "| slow | train.learning_rate = 0.0001 | trained | 12 | 1 | 1 | 4 | seed 1 |" in markdown(results[0])
    failure = json.loads((training_path(directory, "slow", 1) / stage.FAILED_FILE).read_text())
    assert failure["reason"].endswith("step 3")


def _drawn_of(lab: Lab, variant: str, seeds: list[int]) -> list[Any]:
    lab.measured.setdefault(f"{variant}/seed_1", lab.measured[f"{variant}/seed_0"])
    drawn = _drawn(lab, variant, "learned_ml", "nmse")
    return [drawn[seed] for seed in seeds]


def test_where_all_trainings_fail_the_others_still_have_their_rows(lab: Lab, tmp_path: Path) -> None:
    lab.failing = tuple(f"base/seed_{seed}" for seed in range(SEEDS))
    result = ablate(config(BASE, SLOW), RunDirectory(tmp_path), QUIET)
    assert result["variants"][0]["metrics"] == {}
    assert set(result["variants"][1]["metrics"]) == {"network", "learned_mvdr", "learned_ml"}
    assert result["variants"][1]["differences"] == {}
    assert "| base | - | - |" in markdown(result)


def test_a_folder_of_other_settings_is_refused(lab: Lab, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    ablate(config(BASE, SLOW), directory, QUIET)
    other = {"name": "slow", "settings": {"train.learning_rate": 2.0e-4}}
    with pytest.raises(AblateError, match=r"slow/seed_0 contains .* \(train.learning_rate differ\); give the variant"):
        ablate(config(BASE, other), directory, QUIET)


def test_tables_hold_every_figure(lab: Lab, tmp_path: Path) -> None:
    result = ablate(config(BASE, SLOW, GIVEN), RunDirectory(tmp_path), QUIET)
    with (tmp_path / stage.CSV_FILE).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (2 + 2 * 3)
    (row,) = [row for row in rows if (row["variant"], row["metric"]) == ("slow", "nmse")]
    figure = result["variants"][1]["metrics"]["network"]["nmse"]
    difference = result["variants"][1]["differences"]["network"]["nmse"]
    assert float(row["value"]) == figure["value"]
    assert float(row["difference_high"]) == difference["high"]
    assert list(map(float, row["by_seed"].split())) == figure["seeds"]
    text = markdown(result)
    assert f"| slow | {figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}] |" in text
    assert "| no_blend | covariance.blend = 0.0 | base | - |" in text
    assert f"{SCENES} scenes, mean over 3 seeds" in text
    alone = ablate(config(BASE, **{"ablate.seeds": 1}), RunDirectory(tmp_path / "one"), QUIET)
    assert "one seed, whose spread is unknown" in markdown(alone)


def test_the_report_shows_the_tables_and_the_differences(lab: Lab, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    ablate(config(BASE, SLOW, GIVEN), directory, QUIET)
    sections = {section.anchor: section for section in make_sections(read_run(directory))}
    blocks = sections["ablation"].blocks
    forests = [block.drawing for block in blocks if isinstance(block, FigureBlock)]
    assert [forest.name for forest in forests] == ["ablation_learned_mvdr_pairs", "ablation_learned_ml_pairs"]
    rows = set(zip(*(forests[1].table[name] for name in ("a", "b", "metric")), strict=True))
    assert {("slow", "base", "nmse"), ("no_blend", "base", "f1_angle")} <= rows
    assert len([block for block in blocks if block.kind == "table"]) == 4
    assert isinstance(blocks[0], Text)
    assert "3 trainings for each variant" in blocks[0].text
    assert forests[0].png()
    assert "ablation" not in {section.anchor for section in make_sections(read_run(RunDirectory(tmp_path / "empty")))}
