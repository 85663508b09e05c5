"""Trials that train together: the bookkeeping with a fake training, the numbers with the real one."""

import jax
import pytest

from risjax.config import Config, Distribution
from risjax.config.io import apply_overrides, load_config
from risjax.experiments.search.population import groups
from risjax.experiments.search.study import SearchOutcome, search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import load_best
from tests.experiments.search.fake import FakeTrain, fake_population, make_config

QUIET = Terminal(quiet=True)
CONTINUOUS = {
    "train.learning_rate": Distribution(log_uniform=(1.0e-4, 1.0e-2)),
    "loss.projector.weight": Distribution(uniform=(0.1, 2.0)),
}


def test_what_trains_together_differs_in_continuous_settings_only():
    base = load_config("wide")
    changes = [
        {"train.learning_rate": 1e-3},
        {"model.width": 64},
        {"train.learning_rate": 1e-4, "loss.projector.weight": 0.1, "covariance.blend": 0.3, "train.clip_norm": 0.3},
        {"model.width": 64, "train.ema_decay": 0.9},
        {"loss.projector.weight": 0.0},
        {"precision.compute": "float32"},
    ]
    assert groups([apply_overrides(base, change) for change in changes]) == [[0, 2], [1, 3], [4], [5]]


def test_members_of_a_population_are_pruned_separately(tmp_path):
    sizes = []

    def train_population(configs, monitors, directories):
        sizes.append(len(configs))
        return fake_population(configs, monitors, directories)

    config, alone = make_config(trials=18, epochs=6, population=8, space=CONTINUOUS), FakeTrain()
    outcome = search(config, RunDirectory(tmp_path), QUIET, train=alone, train_population=train_population)
    assert sizes == [8, 8, 2]
    assert alone.configs == []
    states = [record.state for record in outcome.trials]
    assert states.count("complete") + states.count("pruned") == 18
    assert states.count("pruned") > 0
    assert len({tuple(record.params.values()) for record in outcome.trials}) == 18


def test_members_of_other_architectures_train_separately(tmp_path):
    space = CONTINUOUS | {"model.width": Distribution(choice=(64, 128))}
    sizes, alone = [], FakeTrain()

    def train_population(configs, monitors, directories):
        sizes.append(len(configs))
        assert len({config.model.width for config in configs}) == 1
        return fake_population(configs, monitors, directories)

    config = make_config(trials=12, population=4, space=space)
    outcome = search(config, RunDirectory(tmp_path), QUIET, train=alone, train_population=train_population)
    assert sum(sizes) + len(alone.configs) == 12
    assert len(outcome.trials) == 12


def tiny(**settings) -> Config:
    changes = {
        "physics.array.num_horizontal": 4,
        "physics.array.num_vertical": 4,
        "physics.codebook.num_snapshots": 4,
        "physics.scene.max_sources": 2,
        "physics.scene.num_sources": (1, 2),
        "precision.compute": "float32",
        "model.patch": 2,
        "model.width": 16,
        "model.heads": 2,
        "model.layers": 1,
        "model.rank": 3,
        "train.posterior.scenes": 0,
        "train.batch_size": 4,
        "train.steps_per_epoch": 40,
        "train.validation_scenes": 4,
        "search.trials": 3,
        "search.epochs": 2,
        "search.metric": "nmse",
        "search.pruner": "none",
    }
    config = apply_overrides(load_config("base"), changes | settings)
    return config.model_copy(update={"search": config.search.model_copy(update={"space": CONTINUOUS})})


def _winner(outcome: SearchOutcome) -> int:
    return next(trial.number for trial in outcome.trials if trial.is_best)


@pytest.mark.slow
def test_a_population_gives_what_separate_trainings_give(tmp_path):
    """Members see the same scenes from the same start; float32 products in batches differ by rounding."""
    jax.clear_caches()
    apart = search(tiny(), RunDirectory(tmp_path / "apart"), QUIET)
    together = search(tiny(**{"search.population": 3}), RunDirectory(tmp_path / "together"), QUIET)
    kept = RunDirectory(tmp_path / "together" / "search" / "trials" / f"{_winner(together):04d}")
    assert load_best(together.config, kept), "the network of the best epoch is there for the finalists"
    for single, member in zip(apart.trials, together.trials, strict=True):
        assert member.params == single.params
        assert list(member.intermediate.values()) == pytest.approx(list(single.intermediate.values()), rel=2e-3)
    values = [record.value for record in apart.trials if record.value is not None]
    assert len(values) == len(apart.trials)
    assert max(values) - min(values) > 10 * 2e-3 * min(values), (
        "the members do differ, so the comparison says something"
    )


@pytest.mark.slow
def test_a_non_finite_member_leaves_and_the_others_continue(tmp_path):
    space = {"train.learning_rate": Distribution(choice=(1.0e-3, 1.0e30, 2.0e-3))}
    config = tiny(**{"search.population": 3, "search.trials": 6, "train.clip_norm": 1e30})
    config = config.model_copy(update={"search": config.search.model_copy(update={"space": space})})
    outcome = search(config, RunDirectory(tmp_path), QUIET)
    for record in outcome.trials:
        if record.params["train.learning_rate"] > 1:
            assert record.state == "pruned"
            assert "not finite" in (record.reason or "")
        else:
            assert record.state == "complete"
    assert {record.state for record in outcome.trials} == {"pruned", "complete"}
