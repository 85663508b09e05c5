"""Compiled functions of a training, shared by all configurations of one program, and the initial state."""

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from risjax.checks import chexified
from risjax.config import Config
from risjax.config.errors import ConfigError, Problem
from risjax.loss import make_labels
from risjax.model import Network, build, make_inputs
from risjax.precision import upcast
from risjax.runs.compiler_options import run_once
from risjax.train.loss_and_grad import train_scenes
from risjax.train.mesh import AXIS, make_mesh, replicate
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
        step: (state, batch, settings) to (state, info), with assertions if ``checks.finite`` is set.
        stream: (state, index of the batch, settings) to the same as ``step``; draws each part of the batch just before
            use.
    """

    network: Network
    init: Callable[[Settings], TrainState]
    draw: Callable[[Settings, Int[Array, ""]], Scene]
    step: Callable[[TrainState, Scene, Settings], tuple[TrainState, StepInfo]]
    stream: Callable[[TrainState, Int[Array, ""], Settings], tuple[TrainState, StepInfo]]


@lru_cache(maxsize=8)
def make_program(key: ProgramKey, mesh: Mesh | None = None) -> Program:
    """Return the program of a key, for one device or for the devices of a mesh; the last few are cached."""
    network = build(key.physics.array, key.model, key.precision)
    share = key.batch_size if mesh is None else key.batch_size // mesh.size

    def draw(settings: Settings, step: Int[Array, ""]) -> Scene:
        first = 0 if mesh is None else jax.lax.axis_index(AXIS) * share
        return train_scenes(key, settings, step, first=first, count=share)

    def init(settings: Settings) -> TrainState:
        return init_state(key, network, settings)

    options = dict(key.compiler_options)
    jitted = partial(jax.jit, compiler_options=None if key.checks.finite else options)
    if mesh is None:
        made = jax.jit(init, compiler_options=run_once()), jax.jit(draw)
        steps = [jitted(make_step(key, network, draws=draws)) for draws in (False, True)]
    else:
        everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
        drawn = jax.shard_map(draw, mesh=mesh, in_specs=everywhere, out_specs=shared, check_vma=False)
        # Results have exactly the shardings that arguments are expected to have: a step that received its own result
        # with another, even an equivalent one, would be compiled twice.
        made = (
            jax.jit(init, out_shardings=NamedSharding(mesh, everywhere), compiler_options=run_once()),
            jax.jit(drawn, out_shardings=NamedSharding(mesh, shared)),
        )
        steps = [
            jitted(make_step(key, network, mesh, draws=draws), out_shardings=NamedSharding(mesh, everywhere))
            for draws in (False, True)
        ]
    return Program(network, *made, *((chexified(step, options) for step in steps) if key.checks.finite else steps))


class Trainer:
    """A program with the settings of one configuration in place.

    Args:
        config: the configuration to train.
        mesh: the devices that share its batches, from `make_mesh`; None for one.
    """

    def __init__(self, config: Config, mesh: Mesh | None = None):
        self.config = config
        self.program = make_program(program_key(config), mesh)
        self.settings = replicate(make_settings(config), mesh)

    def init(self) -> TrainState:
        """The state before the first step."""
        return self.program.init(self.settings)

    def abstract_state(self) -> TrainState:
        """The shapes and dtypes of a state; nothing is compiled."""
        return jax.eval_shape(self.program.init, self.settings)

    def draw(self, step: Int[Array, ""]) -> Scene:
        """The batch of a step."""
        return self.program.draw(self.settings, step)

    def step(self, state: TrainState, batch: Scene) -> tuple[TrainState, StepInfo]:
        """One training step on a batch."""
        return self.program.step(state, batch, self.settings)

    def advance(self, state: TrainState) -> tuple[TrainState, StepInfo]:
        """One training step on the state's next batch of the stream, with one of its ``train.accumulation`` parts in
        memory at a time."""
        if self.config.train.accumulation == 1:
            return self.step(state, self.draw(state.step))
        return self.program.stream(state, state.step, self.settings)

    def dtypes(self) -> dict[str, dict[str, str]]:
        """Return the dtype of every leaf of predictions and labels, ``before`` and ``after`` the upcast.

        Everything is traced and nothing compiled, so this also shows early whether the configuration can be built.

        Raises:
            ConfigError: the scenes or the network cannot be built, such as codes of another shape in
                ``physics.codebook.path``.
        """

        def make(state: TrainState, batch: Scene) -> dict[str, Any]:
            sections = self.config.model, self.config.physics
            inputs = jax.vmap(lambda observation: make_inputs(observation, *sections))(batch.observation)
            prediction = self.program.network.apply(state.params, inputs.features)
            labels = make_labels(batch, inputs.sample_factor)
            return {"prediction": prediction, "labels": labels}

        try:
            state = self.abstract_state()
            before = jax.eval_shape(make, state, jax.eval_shape(self.program.draw, self.settings, state.step))
        except ValueError as error:
            raise ConfigError([Problem("", "", f"the training cannot be built: {error}")]) from error
        return {"before": _dtypes(before), "after": _dtypes(jax.eval_shape(upcast, before))}


def estimate_step_seconds(config: Config) -> float:
    """Measure the seconds of one training step with its scenes, without compilation, by running a few steps."""
    trainer = Trainer(config, make_mesh(config.train))
    state = trainer.init()
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(trainer.advance(state))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


def _dtypes(tree: Any) -> dict[str, str]:
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): str(leaf.dtype) for path, leaf in leaves}
