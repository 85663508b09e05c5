"""Training of the refiner on spectra of the frozen network, after the network and before the posterior heads.

Deterministic. It takes minutes at most, so an interrupted training starts again.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from risjax.checks import check_finite, chexified, drop_checks, wait_for_checks
from risjax.config import Config
from risjax.data.stream import scene_batch
from risjax.keys import Purpose, purpose_key
from risjax.loss.heatmap import gaussian_targets, heatmap_focal
from risjax.model import Params
from risjax.pipeline import REFINER, Pipeline, make_refiner
from risjax.precision import all_finite, make_loss_scale, select_tree
from risjax.runs.run_directory import RunDirectory
from risjax.runs.safetensors_io import write_weights
from risjax.runs.terminal import Terminal
from risjax.spectral.grid import grid_axes, make_grid, to_cosines
from risjax.train.health import NonFiniteTraining
from risjax.train.loop import load_best
from risjax.train.settings import LOG_INTERVAL_STEPS, log_intervals, make_settings
from risjax.types import Scene

_WEIGHT_DECAY = 1e-4
_CLIP_NORM = 1.0


def train_refiner(config: Config, directory: RunDirectory, terminal: Terminal) -> None:
    """Train the refiner of a run's network, unless ``model.refiner_width`` is 0, and write it.

    Raises:
        NonFiniteTraining: a loss or gradient is not finite.
    """
    if config.model.refiner_width == 0:
        return
    for path in (directory.refiner_path, directory.posterior_path):
        path.unlink(missing_ok=True)  # (an earlier network's, which `load_best` would add to this one)
    params, losses = fit_refiner(config, load_best(config, directory), terminal)
    write_weights(directory.refiner_path, {REFINER: params})
    first, last = float(np.mean(losses[:LOG_INTERVAL_STEPS])), float(np.mean(losses[-LOG_INTERVAL_STEPS:]))
    directory.append_log({"kind": "refiner", "first_loss": first, "last_loss": last, "steps": len(losses)})
    terminal.say(f"refiner: focal loss {first:.3f} -> {last:.3f} in {len(losses)} steps")


def fit_refiner(config: Config, network: Params, terminal: Terminal) -> tuple[dict[str, Any], Float[np.ndarray, " T"]]:
    """Train the refiner of a network with frozen parameters.

    Args:
        config: ``train.refiner``, ``train.batch_size`` and what the network was trained with.
        network: its parameters.
        terminal: shows progress.

    Returns:
        The refiner's parameters, and the loss of every step.

    Raises:
        NonFiniteTraining: a loss or gradient is not finite.
    """
    settings, is_float16 = config.train.refiner, config.precision.compute == "float16"
    refiner = make_refiner(config.model, config.estimator, config.precision)
    pipeline = Pipeline(config.physics, config.precision, config.model, config.estimator)
    covariance, points = make_settings(config).covariance, config.estimator.posterior.grid
    grid = make_grid(config.physics, points)
    cell = jnp.asarray([axis[1] - axis[0] for axis in grid_axes(config.physics, points)], jnp.float32)
    optimizer = optax.chain(
        optax.clip_by_global_norm(_CLIP_NORM),
        optax.adamw(optax.cosine_decay_schedule(settings.learning_rate, settings.steps), weight_decay=_WEIGHT_DECAY),
    )

    def targets(scene: Scene) -> Array:
        sources = scene.truth.sources
        position = jnp.where(sources.active[:, None], sources.position, 1.0)
        return gaussian_targets(grid.cosines, to_cosines(position), sources.active, cell)

    def step(state: tuple, network: Params, index: Array) -> tuple[tuple, Array]:
        size = config.train.batch_size
        batch = scene_batch(config.physics, config.run.seed, Purpose.REFINER_SCENES, index, size)
        _, effective = pipeline.covariance(network, batch.observation, covariance)
        spectra = pipeline.spectra(effective, batch.observation.geometry)
        wanted = jax.vmap(targets)(batch)

        params, opt_state, scale = state

        def scaled_loss(params: dict[str, Any]) -> tuple[Array, Array]:
            loss = jnp.mean(heatmap_focal(refiner.apply(params, spectra), wanted, grid.inside))
            return scale.scale(loss), loss

        gradient, value = jax.grad(scaled_loss, has_aux=True)(params)
        gradient = scale.unscale(gradient)
        checked = (
            {"loss": value} if is_float16 else {"loss": value, "gradient": gradient}
        )  # the scale handles overflows
        check_finite(checked, name="refiner")
        finite = all_finite(gradient)
        updates, opt_new = optimizer.update(gradient, opt_state, params)
        new = (optax.apply_updates(params, updates), opt_new)
        return (*select_tree(finite, new, (params, opt_state)), scale.adjust(finite)), value

    run = chexified(jax.jit(step))
    start = jax.jit(refiner.init)(purpose_key(config.run.seed, Purpose.REFINER_INIT))
    state, losses = (start, jax.jit(optimizer.init)(start), make_loss_scale(config.precision)), []
    with terminal.progress("refiner", settings.steps) as bar:
        for interval in log_intervals(settings.steps):
            try:
                for index in interval:
                    state, value = run(state, network, jnp.asarray(index))
                    losses.append(value)
                wait_for_checks()
            except AssertionError as error:  # chex's value assertions
                drop_checks()
                raise NonFiniteTraining(
                    f"the refiner's training stopped in steps {interval.start} to {interval.stop}: {error}"
                ) from error
            bar.advance(len(interval), loss=f"{float(losses[-1]):.3f}")
    return state[0], np.asarray(jax.device_get(losses))
