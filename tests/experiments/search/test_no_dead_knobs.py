"""Every setting that a shipped configuration searches is read by what its trials run.

The traced program of a trial is compared before and after the setting is moved: a knob that nothing reads
leaves it as it was. Tracing compiles nothing.
"""

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.interpreters.partial_eval import dce_jaxpr
from jax.tree_util import keystr

from risjax.config import Config, EstimatorConfig
from risjax.config.errors import ConfigError, setting_paths
from risjax.config.io import apply_overrides, load_config
from risjax.data.stream import scene_batch
from risjax.experiments.search.space import check_space, probes
from risjax.keys import Purpose
from risjax.model import build
from risjax.pipeline import Pipeline
from risjax.train.settings import ProgramKey, Settings, make_settings, program_key
from risjax.train.state import init_state
from risjax.train.step import make_step

SHIPPED = ("wide", "narrow", "quick", "verify")
TINY = {
    "physics.array.num_horizontal": 6,
    "physics.array.num_vertical": 6,
    "physics.codebook.num_snapshots": 6,
    "model.width": 16,
    "model.heads": 2,
    "model.layers": 1,
    "train.batch_size": 2,
    "train.epochs": 2,
    "train.steps_per_epoch": 20,
    "checks.finite": False,
    "search.first_trial": "random",  # the spaces below need not contain the configured value
}
KNOBS = sorted({path for name in SHIPPED for path in load_config(name).search.space})


def tiny() -> Config:
    return apply_overrides(load_config("wide"), TINY)


_programs: dict[tuple[ProgramKey, EstimatorConfig], tuple[str, list[bool]]] = {}


def trace(key: ProgramKey, estimator: EstimatorConfig, settings: Settings) -> tuple[str, list[bool]]:
    """The programs that trials share: a first step on a batch and the pipeline on the result, freed of whatever
    the new state and the estimates do not need; and which settings are needed."""
    if (key, estimator) not in _programs:
        network = build(key.physics.array, key.model, key.precision)
        step = make_step(key, network)
        pipeline = Pipeline(key.physics, key.precision, key.model, estimator)

        def trial(settings: Settings) -> Any:
            batch = scene_batch(key.physics, settings.seed, Purpose.TRAIN_SCENES, jnp.asarray(0), key.batch_size)
            state, _ = step(init_state(key, network, settings), batch, settings)
            _, effective = pipeline.covariance(state.ema, batch.observation, settings.covariance)
            return state, pipeline.localise(effective, None)

        program = jax.make_jaxpr(trial)(settings)
        needed, is_used = dce_jaxpr(program.jaxpr, [True] * len(program.out_avals))
        _programs[key, estimator] = re.sub("0x[0-9a-f]+", "", f"{needed}{program.consts}"), is_used
    return _programs[key, estimator]


def traced(config: Config) -> str:
    """The program of a trial as text, and the values of the settings that it needs."""
    settings = make_settings(config)
    program, is_used = trace(program_key(config), config.estimator, settings)
    leaves = jax.tree.leaves_with_path(settings)
    return (
        f"{program}{ {keystr(path): float(leaf) for (path, leaf), used in zip(leaves, is_used, strict=True) if used} }"
    )


@pytest.fixture(scope="module")
def reference() -> tuple[Config, str]:
    return tiny(), traced(tiny())


def moved(config: Config, path: str) -> Config:
    """The configuration with one setting at another value of a shipped space that the schema takes."""
    distribution = next(
        load_config(name).search.space[path] for name in SHIPPED if path in load_config(name).search.space
    )
    section, _, key = path.rpartition(".")
    now = getattr(config, section.split(".")[0])
    for name in section.split(".")[1:]:
        now = getattr(now, name)
    return apply_overrides(config, {path: next(v for v in probes(distribution) if v != getattr(now, key))})


@pytest.mark.parametrize("path", KNOBS)
def test_every_searched_setting_changes_the_program(reference, path):
    config, program = reference
    assert traced(moved(config, path)) != program, f"{path} is a dead knob"


LOSS = [".".join(path) for path in setting_paths(Config) if path[0] == "loss" and len(path) == 3]
WHOLE_LOSS = {f"loss.{name}.weight": 0.5 for name in Config(stages=("train",)).loss.terms}


@pytest.fixture(scope="module")
def whole_loss() -> tuple[Config, str]:
    config = apply_overrides(tiny(), WHOLE_LOSS)
    return config, traced(config)


@pytest.mark.parametrize("path", LOSS)
def test_a_search_may_move_every_number_of_the_loss(whole_loss, path):
    config, program = whole_loss
    assert traced(apply_overrides(config, {path: 0.37})) != program, f"{path} is a dead knob"
    space = {path: {"uniform": [0.1, 0.4]}}
    assert check_space(apply_overrides(config, {"search.space": space})) == ()


def test_a_number_of_the_loss_that_no_trial_reads_is_refused():
    path = "loss.alignment.loading"
    with pytest.raises(ConfigError, match=r"loss\.alignment\.weight is 0"):
        check_space(apply_overrides(tiny(), {"search.space": {path: {"uniform": [0.1, 0.4]}}}))
    both = {name: {"uniform": [0.1, 0.4]} for name in (path, "loss.alignment.weight")}
    assert check_space(apply_overrides(tiny(), {"search.space": both})) == ()


def test_a_setting_that_no_trial_reads_is_detected(reference):
    config, program = reference
    assert traced(apply_overrides(config, {"evaluate.bootstrap_draws": 3, "run.directory": "elsewhere"})) == program


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_fit_the_schema_in_every_combination(name):
    assert check_space(load_config(name)) == ()


def test_wide_and_narrow_are_really_different():
    wide, narrow = load_config("wide").search, load_config("narrow").search
    assert set(wide.space) != set(narrow.space)
    for path in set(wide.space) & set(narrow.space):
        assert wide.space[path] != narrow.space[path], f"{path} is searched over the same values by both"
