"""Validation on fixed scenes, disjoint from training by construction, in the metrics that are reported."""

import functools
import time
from collections.abc import Callable
from typing import cast

import jax
import numpy as np

from risjax.config import Config, PhysicsConfig
from risjax.data.stream import draw_batch
from risjax.keys import Purpose
from risjax.loss import covariance_nmse
from risjax.metrics.quick import quick, standard_error, standard_errors
from risjax.model import Params
from risjax.pipeline import compiled_pipeline
from risjax.train.settings import make_settings
from risjax.train.trainer import Trainer
from risjax.types import Estimates, Scene, Sources

_nmse = jax.jit(jax.vmap(covariance_nmse))


def make_validation(config: Config) -> Callable[[Params], dict[str, float]]:
    """Make the function from parameters to metrics: ``nmse`` of R_pred, and F1 and GOSPA of the full pipeline, which is
    given neither K nor SNR (`risjax.pipeline.Pipeline.sources`); and ``<metric>_error`` for ``nmse``, ``f1_3d``,
    ``f1_angle`` and ``gospa_m``, the standard error over the scenes.

    The last batch is cut to the number of scenes.
    """
    scenes, covariance = config.train.validation_scenes, make_settings(config).covariance
    programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
    size = min(config.train.batch_size, scenes)
    batches = _draw_batches(config.physics, config.run.seed, scenes, size)

    def measure(params: Params, batch: Scene) -> tuple[Estimates, jax.Array, Sources]:
        prediction, estimates = programs.sources(params, batch.observation, covariance)
        factor = cast(jax.Array, prediction.factor)  # the pipeline's upcast has joined its real and imaginary parts
        return estimates, _nmse(factor, batch.truth.label_factor), batch.truth.sources

    def validate(params: Params) -> dict[str, float]:
        measured = [jax.device_get(measure(params, batch)) for batch in batches]
        estimates, nmse, sources = jax.tree.map(lambda *parts: np.concatenate(parts)[:scenes], *measured)
        tolerance = config.evaluate.tolerance
        errors = {"nmse": standard_error(nmse), **standard_errors(estimates, sources, tolerance)}
        return {
            "nmse": float(nmse.mean()),
            **quick(estimates, sources, tolerance),
            **{f"{name}_error": error for name, error in errors.items()},
        }

    return validate


def estimate_scene_seconds(config: Config) -> float:
    """Measure the seconds of one scene in the whole pipeline, without compilation, on a validation."""
    validate, params = make_validation(config), Trainer(config).init().ema
    validate(params)
    started = time.perf_counter()
    validate(params)
    return (time.perf_counter() - started) / config.train.validation_scenes


@functools.lru_cache(maxsize=4)
def _draw_batches(physics: PhysicsConfig, seed: int, scenes: int, size: int) -> list[Scene]:
    count = -(-scenes // size)
    return [draw_batch(physics, seed, Purpose.VALIDATION_SCENES, index, size) for index in range(count)]
