"""The stage ``tune`` on a network of the smallest configuration, and its choice with invented measurements."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import SourceConfig
from risjax.config.errors import ConfigError
from risjax.config.io import from_yaml
from risjax.detection.posterior_decision import DecisionSettings
from risjax.experiments.evaluate import load_scenes
from risjax.experiments.tune import stage as tune_stage
from risjax.experiments.tune.network_with_settings import NetworkWithSettings
from risjax.experiments.tune.stage import tune
from risjax.experiments.tune.tuned_settings import DECISION, check_tune
from risjax.keys import Purpose
from risjax.metrics.bootstrap import Drawn
from risjax.pipeline import HEADS, Pipeline, compiled_pipeline
from risjax.report import write_report
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages.run import run_stages
from risjax.train import Trainer
from risjax.train.settings import make_settings
from tests.tiny import tiny_config

QUIET = Terminal(quiet=True)
SETTINGS = {
    "estimator.posterior.existence": [0.999, 0.42],
    "estimator.posterior.residual_rounds": [1],
    "model.posterior_width": [8],
}


def configured(path: Path, **changes):
    settings = {"tune__settings": SETTINGS, "tune__scenes": 10, "tune__head_scenes": 8, "train__posterior__scenes": 8}
    config = tiny_config(**(settings | {"train__posterior__epochs": 2, "train__epochs": 1} | changes))
    return config.model_copy(
        update={"stages": ("train", "tune"), "run": config.run.model_copy(update={"directory": str(path)})}
    )


@pytest.mark.slow
def test_values_are_compared_on_one_network_and_an_interrupted_stage_resumes(tmp_path, monkeypatch):
    config = configured(tmp_path / "run")
    assert run_stages(config, QUIET) == 0
    directory = RunDirectory(tmp_path / "run")
    found = directory.read_json("tune.json")
    rows = [(row["setting"], row["value"]) for row in found["comparisons"]]
    assert rows == [
        (None, None),
        ("estimator.posterior.existence", 0.999),
        ("estimator.posterior.residual_rounds", 1),
        ("model.posterior_width", 8),
    ], "0.42 is the run's own value"
    own, strict = found["comparisons"][:2]
    assert strict["differences"]["gospa_m"]["value"] == pytest.approx(
        strict["figures"]["gospa_m"]["value"] - own["figures"]["gospa_m"]["value"], abs=1e-5
    )
    assert strict["figures"]["f1_angle"]["value"] < 0.1, "hardly a candidate has that probability"
    best = from_yaml((tmp_path / "run" / "tune" / "best.yaml").read_text())
    assert sorted(path.name for path in (tmp_path / "run" / "tune").iterdir()) == ["best.yaml", "estimates.npz"]
    assert best.estimator.posterior.existence == found["settings"].get("estimator.posterior.existence", 0.42)
    write_report(directory)
    assert "Settings after the network" in (tmp_path / "run" / "report.html").read_text()

    def refuse(*_):
        raise AssertionError("a stored comparison is measured again")

    monkeypatch.setattr(NetworkWithSettings, "estimates", refuse)
    assert json.loads(json.dumps(tune(config, directory, QUIET)["comparisons"])) == found["comparisons"]


def test_the_estimates_are_those_of_the_pipeline(tmp_path, monkeypatch):
    """Without a head, so that nothing is trained; six scenes in batches of four."""
    config = configured(tmp_path)
    params = {group: leaves for group, leaves in Trainer(config).init().params.items() if group not in HEADS}
    scenes = load_scenes(config, SourceConfig(name="tune", scenes=6), purpose=Purpose.SELECTION_SCENES)
    monkeypatch.setattr(NetworkWithSettings, "_head", lambda *_: {})
    found = NetworkWithSettings(config, params, scenes, QUIET).estimates(config)
    programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
    observation = jax.tree.map(lambda leaf: jnp.asarray(leaf[:4]), scenes.observation)
    _, effective = programs.covariance(params, observation, make_settings(config).covariance)
    expected = programs.decide(params, programs.propose(observation, effective))
    assert found.position.shape[0] == 6
    np.testing.assert_array_equal(found.active[:4], expected.active)
    np.testing.assert_allclose(found.position[:4], expected.position, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("gospa", "chosen"),
    [({1: 0.9, 3: 0.8}, 3), ({1: 0.9, 3: 1.2}, 1), ({1: 0.9999, 3: 1.2}, None), ({1: 1.1, 3: 1.2}, None)],
)
def test_the_best_value_that_is_better_by_its_interval_is_chosen(gospa, chosen):
    class Bench(tune_stage._Bench):
        def __init__(self):
            pass

        def is_same(self, settings, change):
            return False

        def measure(self, settings):
            value = gospa.get(settings.get("rounds"), 1.0)
            noise = np.random.default_rng(round(1e4 * value)).normal(0.0, 0.01, 100)
            return {name: Drawn(value, value + noise, 100) for name in ("f1_3d", "f1_angle", "gospa_m")}

    result = {"metric": "gospa_m", "settings": {}, "comparisons": []}
    tune_stage._compare_values(Bench(), result, "rounds", (1, 3))
    assert result["settings"] == ({} if chosen is None else {"rounds": chosen})
    assert [row["value"] for row in result["comparisons"] if row["is_chosen"]] == ([] if chosen is None else [chosen])


def test_the_best_settings_are_written_after_their_heads(tmp_path, monkeypatch):
    class Bench:
        def is_same(self, settings, change):
            return False

        def measure(self, settings):
            value = 1.0 - 0.5 * len(settings)
            return dict.fromkeys(("f1_3d", "f1_angle", "gospa_m"), Drawn(value, np.full(100, value), 100))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tune_stage, "_Bench", lambda *_: Bench())
    monkeypatch.setattr(tune_stage, "load_scenes", lambda *_, **__: None)
    monkeypatch.setattr(tune_stage, "train_posterior", interrupted)
    config = configured(tmp_path, tune__settings={"estimator.posterior.residual_rounds": [1]})
    with pytest.raises(KeyboardInterrupt):
        tune(config, RunDirectory(tmp_path), QUIET)
    assert (tmp_path / "tune.json").exists()
    assert not (tmp_path / "tune" / "best.yaml").exists()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "is empty"),
        ({"model.width": [64]}, "got a setting of the training"),
        ({"estimator.posterior.residual_round": [1]}, "did you mean estimator.posterior.residual_rounds"),
        ({"estimator.posterior.existence": [0.4, 2.0]}, "2.0 is refused"),
        ({"train.posterior.peak_scenes": [4]}, "does not read"),
    ],
)
def test_settings_are_checked_before_any_work(tmp_path, settings, why):
    with pytest.raises(ConfigError, match=why):
        run_stages(configured(tmp_path / "run", tune__settings=settings), QUIET)
    assert not (tmp_path / "run").exists()


def test_a_run_without_heads_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.posterior\.scenes(.|\n)*got 0"):
        check_tune(configured(tmp_path, train__posterior__scenes=0))


def test_traced_settings_have_the_names_of_the_configuration():
    assert DecisionSettings._fields == DECISION
    posterior = tiny_config().estimator.posterior
    assert all(isinstance(getattr(posterior, name), float) for name in DECISION)
    assert Pipeline.decide.__annotations__["settings"] == DecisionSettings | None
