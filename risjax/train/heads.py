"""Second stage of training, common to both posterior heads: collect examples, fit, measure calibration.

The network is frozen, so each scene passes through it once; a head is small and is then trained on the same examples
many times. A fifth of the scenes is held out to measure the calibration of its probabilities.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from risjax.config import Config
from risjax.data.stream import draw_batch
from risjax.keys import Purpose, purpose_key
from risjax.linalg import LowRankCovariance
from risjax.metrics.calibration import expected_calibration_error
from risjax.model import Params
from risjax.model.posterior import Posterior
from risjax.pipeline import Programs, compiled_pipeline
from risjax.runs.compiler_options import run_once
from risjax.runs.terminal import Terminal
from risjax.spectral.grid import to_position
from risjax.train.settings import make_settings
from risjax.types import Scene

_BATCH = 256
_HELD_OUT = 0.25
"""Scenes held out, over the scenes trained on."""

Examples = TypeVar("Examples")
Head = dict[str, Any]


def _num_held_out(scenes: int) -> int:
    return max(1, round(_HELD_OUT * scenes))


def collect(
    config: Config,
    params: Params,
    scenes: int,
    propose: Callable[[Programs, Scene, LowRankCovariance], Any],
    label: Callable[[Any], Examples],
    terminal: Terminal,
    title: str,
) -> Examples:
    """Collect examples of the training scenes and of those held out, with a leading axis of scenes.

    Args:
        config: of the run.
        params: of the network.
        scenes: number of training scenes.
        propose: (programs, batch of scenes, their R_eff) to arrays with a leading axis of scenes.
        label: proposals to examples, on the host.
        terminal: shows progress.
        title: of the progress bar.
    """
    scenes += _num_held_out(scenes)
    size = min(config.train.batch_size, scenes)
    programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
    covariance = make_settings(config).covariance
    parts = []
    with terminal.progress(title, scenes) as bar:
        for index in range(-(-scenes // size)):
            batch = draw_batch(config.physics, config.run.seed, Purpose.POSTERIOR_SCENES, index, size)
            _, effective = programs.covariance(params, batch.observation, covariance)
            parts.append(label(jax.device_get(propose(programs, batch, effective))))
            bar.advance(min(size, scenes - index * size))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:scenes], *parts)


@functools.cache
def _compiled_to_position() -> Callable[[Array], Array]:
    return jax.jit(to_position, compiler_options=run_once())


def positions(cosines: Float[Array | np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """Return `risjax.spectral.grid.to_position` of candidates, on the host."""
    return jax.device_get(_compiled_to_position()(jnp.asarray(cosines)))


def split(scenes: int, examples: Examples) -> tuple[Examples, Examples]:
    """Return the examples of ``scenes`` training scenes, and those held out."""
    held_out = _num_held_out(scenes)
    train = jax.tree.map(lambda leaf: leaf[held_out:], examples)
    return jax.device_put((train, jax.tree.map(lambda leaf: leaf[:held_out], examples)))


def fit_head(
    config: Config,
    head: Posterior,
    loss: Callable[[Head, Any], Any],
    train: Any,
    standard: tuple[Float[Array, "*examples F"], Bool[Array, "*examples"]],
    terminal: Terminal,
    *,
    weight_decay: float,
) -> tuple[Head, Head]:
    """Return the head before and after ``train.posterior.epochs`` passes over the examples.

    Args:
        config: of the run.
        head: the head to fit.
        loss: (parameters, batch of examples) to a scalar.
        train: examples, a leading axis of scenes.
        standard: their features, and the mask of those from which the standardisation is computed.
        terminal: shows progress.
        weight_decay: AdamW's.
    """
    settings, scenes = config.train.posterior, len(jax.tree.leaves(train)[0])
    features = np.asarray(standard[0])[np.asarray(standard[1])]
    size = min(_BATCH, scenes)
    steps = scenes // size
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.epochs * steps)
    adamw = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=weight_decay))
    standardisation = {name: name in ("mean", "scale") for name in head.shapes}
    optimizer = optax.chain(adamw, optax.masked(optax.set_to_zero(), standardisation))

    @partial(jax.jit, compiler_options=run_once())
    def begin(mean: Array, std: Array) -> tuple[Head, tuple]:
        start = head.init(purpose_key(config.run.seed, Purpose.POSTERIOR_INIT), mean, std)
        return start, jax.tree.map(jnp.copy, (start, optimizer.init(start)))

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: tuple, examples: Any, index: Array) -> tuple[tuple, Array]:
        order = jax.random.permutation(purpose_key(config.run.seed, Purpose.POSTERIOR_ORDER, index), scenes)

        def step(state: tuple, rows: Array) -> tuple[tuple, Array]:
            params, opt_state = state
            batch = jax.tree.map(lambda leaf: leaf[rows], examples)
            value, gradient = jax.value_and_grad(loss)(params, batch)
            updates, opt_state = optimizer.update(gradient, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        state, values = jax.lax.scan(step, state, order[: steps * size].reshape(steps, size))
        return state, jnp.mean(values)

    start, state = begin(features.mean(0), features.std(0))
    with terminal.progress("posterior: training", settings.epochs) as bar:
        for index in range(settings.epochs):
            state, value = epoch(state, train, jnp.asarray(index))
            bar.advance(1, loss=f"{float(value):.3f}")
    return start, state[0]


def calibration(
    logit: Float[np.ndarray, "*examples"],
    real: Bool[np.ndarray, "*examples"],
    held: Bool[np.ndarray, "*examples"],
    noun: str,
) -> dict[str, float]:
    """Return ``ece``, the expected calibration error of existence, and under ``noun`` the number of examples."""
    probability = 1.0 / (1.0 + np.exp(-logit.astype(float)))
    return {"ece": expected_calibration_error(probability[held], real[held]), noun: int(held.sum())}
