"""The space is checked against the schema before the first trial."""

import pytest

from risjax.config import Config, Distribution, SearchConfig
from risjax.config.errors import ConfigError
from risjax.experiments.search.space import check_space, trial_config


def config_of(space: dict[str, dict], **settings) -> Config:
    distributions = {path: Distribution(**distribution) for path, distribution in space.items()}
    return Config(stages=("search",), search=SearchConfig(space=distributions, **settings))


@pytest.mark.parametrize(
    ("space", "settings", "words"),
    [
        ({"model.widht": {"choice": (64,)}}, {}, ["model.widht", "did you mean model.width"]),
        ({"learning_rate": {"uniform": (0.1, 0.2)}}, {}, ["did you mean train.learning_rate"]),
        ({"model": {"choice": (1,)}}, {}, ["is a section"]),
        ({"train.epochs": {"integer": (1, 5)}}, {}, ["no trial reads", "search.epochs"]),
        ({"train.best_metric": {"choice": ("nmse",)}}, {}, ["no trial reads"]),
        ({"train.validation_scenes": {"choice": (8, 16)}}, {}, ["same scenes"]),
        ({"train.steps_per_epoch": {"choice": (8, 16)}}, {"steps_per_epoch": 4}, ["search.steps_per_epoch"]),
        ({"run.seed": {"choice": (1, 2)}}, {}, ["run.seed", "no trial reads"]),
        ({"search.trials": {"choice": (1, 2)}}, {}, ["search itself"]),
        ({"evaluate.tolerance.range_m": {"choice": (1.0, 2.0)}}, {}, ["no trial reads"]),
        ({"estimator.greedy.penalty": {"uniform": (0.8, 1.2)}}, {"metric": "nmse"}, ["involves no estimator"]),
        ({"estimator.threshold_db": {"uniform": (6.0, 20.0)}}, {}, ["another method"]),
        ({"train.posterior.scenes": {"choice": (64, 128)}}, {}, ["no trial reads", "after the search"]),
        ({"limit.particles": {"choice": (64, 128)}}, {}, ["limit.particles", "that no trial runs"]),
        ({"predict.batch_size": {"choice": (8, 16)}}, {}, ["predict.batch_size", "that no trial runs"]),
        ({"precision.compute": {"choice": ("float32", "bf16")}}, {}, ["'bf16' is refused", "did you mean bfloat16"]),
        ({"train.batch_size": {"uniform": (16.0, 64.0)}}, {}, ["16.0 is refused", "an integer"]),
        ({"covariance.blend": {"uniform": (0.0, 1.5)}}, {}, ["1.5 is refused", "<= 1"]),
        ({"model.heads": {"choice": (4, 5)}}, {}, ["5 is refused", "heads must divide width"]),
        ({"model.heads": {"choice": (5,)}, "run.seed": {"choice": (1,)}}, {}, ["heads must divide", "run.seed"]),
    ],
)
def test_problems_of_a_space_are_reported_before_the_first_trial(space, settings, words):
    with pytest.raises(ConfigError) as caught:
        check_space(config_of(space, **settings))
    for word in words:
        assert word in str(caught.value)


def test_invalid_combinations_of_valid_values_are_reported():
    pairs = check_space(config_of({"model.heads": {"choice": (4, 6)}, "model.width": {"choice": (96, 128)}}))
    assert len(pairs) == 1
    assert "model.heads = 6 with model.width = 128: heads must divide width" in pairs[0]


def test_any_setting_can_be_searched():
    space = {
        "train.learning_rate": {"log_uniform": (1.0e-4, 1.0e-2)},
        "physics.codebook.phase_bits": {"choice": (1, 3, None)},
        "estimator.posterior.residual_rounds": {"integer": (0, 3)},
        "estimator.greedy.penalty": {"uniform": (0.8, 1.2)},
        "covariance.blend": {"uniform": (0.0, 0.3)},
        "precision.compute": {"choice": ("bfloat16", "float32")},
        "model.layers": {"integer": (1, 4)},
    }
    assert check_space(config_of(space)) == ()


def test_a_trial_trains_its_values_for_the_searchs_epochs():
    config = config_of({"model.width": {"choice": (64,)}}, epochs=7, steps_per_epoch=9)
    trial = trial_config(config, {"model.width": 64})
    assert (trial.model.width, trial.train.epochs, trial.train.steps_per_epoch) == (64, 7, 9)
