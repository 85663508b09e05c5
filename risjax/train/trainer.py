"""The compiled functions of one configuration, and the state that they start from."""

import time
from typing import Any

import jax
import numpy as np

from risjax.checks import chexified
from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import make_labels
from risjax.model import build, make_inputs
from risjax.precision import upcast
from risjax.train.optimizer import make_optimizer
from risjax.train.state import TrainState, init_state
from risjax.train.step import make_step
from risjax.types import Scene


class Trainer:
    """The compiled functions of one configuration and the state they start from."""

    def __init__(self, config: Config):
        self.config = config
        self.network = build(config.physics.array, config.model, config.precision)
        optimizer = make_optimizer(config.train)
        step = jax.jit(make_step(config, self.network, optimizer))
        self.step = chexified(step) if config.checks.finite else step
        self.draw = jax.jit(self._draw)
        self.state = jax.jit(lambda: init_state(config, self.network, optimizer))()

    def _draw(self, step: jax.Array) -> Scene:
        train = self.config.train
        batches = max(1, train.dataset_scenes // train.batch_size)
        index = step % batches if train.dataset_scenes else step
        return scene_batch(self.config.physics, self.config.run.seed, Purpose.TRAIN_SCENES, index, train.batch_size)

    def dtypes(self) -> dict[str, dict[str, str]]:
        """The dtype of every leaf of the predictions, as the network emits them, and of the labels, before and
        after the upcast."""

        def make(state: TrainState, batch: Scene) -> dict[str, Any]:
            inputs = jax.vmap(lambda observation: make_inputs(observation, self.config.model))(batch.observation)
            prediction = self.network.apply(state.params, inputs.features)
            return {"prediction": prediction, "labels": make_labels(batch, inputs.sample)}

        before = jax.eval_shape(make, self.state, jax.eval_shape(self._draw, self.state.step))
        after = jax.eval_shape(upcast, before)
        return {"before": _dtypes(before), "after": _dtypes(after)}


def estimate_step_seconds(config: Config) -> float:
    """Seconds of one training step on this machine, scenes included, compilation apart; a few steps are run."""
    trainer = Trainer(config)
    state = trainer.state
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(trainer.step(state, trainer.draw(state.step)))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


def _dtypes(tree: Any) -> dict[str, str]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): str(leaf.dtype)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
