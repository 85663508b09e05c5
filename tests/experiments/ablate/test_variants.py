"""Variants: complete configurations, or a refusal that says what is wrong with which."""

from typing import Any

import pytest

from risjax.config import Config
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides, differences
from risjax.experiments.ablate.variants import ahead, read_variants, training_path
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages import run_stages
from tests.tiny import tiny_config

BASE = {"name": "base"}


def config(*variants: dict[str, Any], **changes: Any) -> Config:
    return apply_overrides(tiny_config(), {"stages": ["ablate"], "ablate.variants": list(variants), **changes})


def test_a_variant_is_the_run_with_its_settings_and_another_seed():
    no_projector = {"name": "no_projector", "settings": {"loss.projector.weight": 0.0}}
    later = {"name": "later", "of": "no_projector", "settings": {"covariance.blend": 0.0, "train.posterior.scenes": 0}}
    base, other, given = read_variants(
        config(BASE, no_projector, later, **{"run.seed": 5, "train.posterior.scenes": 64})
    )
    assert base.config.stages == ("train",)
    assert base.config.ablate.variants == ()
    assert differences(base.config, other.config) == {"loss.projector.weight": (0.5, 0.0)}
    assert differences(other.config, given.config) == {
        "covariance.blend": (0.1, 0.0),
        "train.posterior.scenes": (64, 0),
    }
    assert differences(base.config, base.seeded(2)) == {"run.seed": (5, 7)}
    assert base.seeded(0) == base.config


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"settings": {"covarience.blend": 0.0}}, r"variants\[1\].settings.covarience\n.*did you mean covariance"),
        ({"settings": {"covariance.blend": 2.0}}, r"variants\[1\].settings.covariance.blend\n.*expected <= 1"),
        ({"settings": {"precision.compute": "bfloat16"}}, "x changes nothing: it equals the configuration of the run"),
        ({"of": "base"}, "x changes nothing: it equals the weights of base"),
        ({}, "x and base are the same configuration"),
        ({"settings": {"run.seed": 3}}, "run.seed: no training reads this setting"),
        ({"settings": {"evaluate.batch_size": 3}}, "evaluate.batch_size: no training reads this setting"),
        ({"settings": {"physics.array.num_vertical": 4}}, "num_vertical is the same for all variants"),
        ({"settings": {"train.tensorboard": True}}, "train.tensorboard is the same for all variants"),
        ({"of": "base", "settings": {"model.width": 32}}, "model.width is read by the training.* of base do not serve"),
        ({"of": "base", "settings": {"train.posterior.scenes": 8}}, "train.posterior.scenes is read by the training"),
    ],
)
def test_a_wrong_variant_is_named_with_its_reason(variant, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_variants(config(BASE, {"name": "x"} | variant))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("variants", "changes", "message"),
    [
        ([], {}, "nothing to compare"),
        ([BASE], {"ablate.source": "nowhere"}, r"got nowhere, expected one of evaluate.sources \(held_out\)"),
        ([BASE, BASE], {}, "two variants are called base"),
        ([{"name": "x", "of": "base"}, BASE], {}, "expected a trained variant above it"),
        ([BASE, {"name": "x", "of": "bass"}], {}, "did you mean base"),
        ([BASE], {"ablate.methods": ["greedy_ml"]}, "greedy_ml, expected methods of a trained network"),
        ([BASE], {"weights": "original"}, r"this run trains its network \(stages ablate\)"),
    ],
)
def test_a_wrong_section_is_refused(variants, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_variants(config(*variants, **changes))


def test_everything_is_refused_at_once_before_a_directory_is_made(tmp_path):
    wrong = config(BASE, {"name": "x", "settings": {"model.widht": 3}}, {"name": "y"})
    wrong = apply_overrides(wrong, {"run.directory": str(tmp_path / "run")})
    with pytest.raises(ConfigError) as caught:
        run_stages(wrong, Terminal(quiet=True))
    assert len(caught.value.problems) == 2
    assert not (tmp_path / "run").exists()


def test_the_steps_ahead_are_those_that_no_training_has_done(tmp_path):
    larger = {"name": "larger", "settings": {"train.batch_size": 8}}
    given = {"name": "given", "of": "base", "settings": {"covariance.blend": 0.0}}
    configuration = config(BASE, larger, given, **{"ablate.seeds": 2})
    directory = RunDirectory(tmp_path)
    steps = configuration.train.epochs * configuration.train.steps_per_epoch
    assert ahead(configuration, directory) == 2 * steps + 2 * 2 * steps  # batches of twice the size count twice
    RunDirectory(training_path(directory, "base", 1)).append_log({"kind": "epoch", "epoch": 1})
    assert ahead(configuration, directory) == 6 * steps - configuration.train.steps_per_epoch
