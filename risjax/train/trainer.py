"""The compiled functions of a training, shared by all configurations of one program, and the state they start from."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

from risjax.checks import chexified
from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import make_labels
from risjax.model import Network, build, make_inputs
from risjax.precision import upcast
from risjax.train.settings import ProgramKey, Settings, make_settings, program_key
from risjax.train.state import StepInfo, TrainState, init_state
from risjax.train.step import make_step
from risjax.types import Scene


class Program(NamedTuple):
    """Compiled functions; each compiles once in a process, at its first call.

    Attributes:
        network: the network, not compiled.
        init: settings to the state before the first step.
        draw: (settings, step) to the step's batch.
        step: (state, batch, settings) to (state, info), with its assertions where the configuration wants them.
    """

    network: Network
    init: Callable[[Settings], TrainState]
    draw: Callable[[Settings, Int[Array, ""]], Scene]
    step: Callable[[TrainState, Scene, Settings], tuple[TrainState, StepInfo]]


@functools.lru_cache(maxsize=8)
def make_program(key: ProgramKey) -> Program:
    """The program of a key; the last few are kept."""
    network = build(key.physics.array, key.model, key.precision)

    def draw(settings: Settings, step: Int[Array, ""]) -> Scene:
        index = step % (key.dataset_scenes // key.batch_size) if key.dataset_scenes else step
        return scene_batch(key.physics, settings.seed, Purpose.TRAIN_SCENES, index, key.batch_size)

    step = jax.jit(make_step(key, network))
    return Program(
        network=network,
        init=jax.jit(lambda settings: init_state(key, network, settings)),
        draw=jax.jit(draw),
        step=chexified(step) if key.checks.finite else step,
    )


class Trainer:
    """A program with the settings of one configuration in place."""

    def __init__(self, config: Config):
        self.config = config
        self.program = make_program(program_key(config))
        self.settings = make_settings(config)

    def init(self) -> TrainState:
        """The state before the first step."""
        return self.program.init(self.settings)

    def draw(self, step: Int[Array, ""]) -> Scene:
        """The batch of a step."""
        return self.program.draw(self.settings, step)

    def step(self, state: TrainState, batch: Scene) -> tuple[TrainState, StepInfo]:
        """One training step."""
        return self.program.step(state, batch, self.settings)

    def dtypes(self) -> dict[str, dict[str, str]]:
        """The dtype of every leaf of the predictions, as the network emits them, and of the labels, before and
        after the upcast."""

        def make(state: TrainState, batch: Scene) -> dict[str, Any]:
            inputs = jax.vmap(lambda observation: make_inputs(observation, self.config.model))(batch.observation)
            prediction = self.program.network.apply(state.params, inputs.features)
            return {"prediction": prediction, "labels": make_labels(batch, inputs.sample)}

        state = jax.eval_shape(self.program.init, self.settings)
        before = jax.eval_shape(make, state, jax.eval_shape(self.program.draw, self.settings, state.step))
        return {"before": _dtypes(before), "after": _dtypes(jax.eval_shape(upcast, before))}


def estimate_step_seconds(config: Config) -> float:
    """Seconds of one training step on this machine, scenes included, compilation apart; a few steps are run."""
    trainer = Trainer(config)
    state = trainer.init()
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(trainer.step(state, trainer.draw(state.step)))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


def _dtypes(tree: Any) -> dict[str, str]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): str(leaf.dtype) for path, leaf in leaves}
