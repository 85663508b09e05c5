"""Compiled programs behind `risjax.inference.predict.Model`: sources with their goodness of fit, dense covariances."""

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex

from risjax.config import Config, PhysicsConfig
from risjax.covariance import dense, factor_of_sources
from risjax.detection.goodness_of_fit import diagnose, temper
from risjax.linalg import LowRankCovariance, normalise_trace
from risjax.model import Params
from risjax.physics.chunked_vmap import over_surfaces
from risjax.physics.images import MeasuredField
from risjax.pipeline import Pipeline, Programs, sources_of
from risjax.types import Diagnostics, Estimates, Geometry, Observation, Prediction, Sources


def pipeline_of(config: Config) -> Callable[[Params, Observation], tuple[Estimates, Diagnostics]]:
    """The whole pipeline of a configuration: parameters and a batch of observations to sources and diagnostics."""
    pipeline = Pipeline(config.physics, config.precision, config.model, config.estimator)

    def run(params: Params, observation: Observation) -> tuple[Estimates, Diagnostics]:
        found = pipeline.covariance_and_field(params, observation, config.covariance)
        return checked_sources(pipeline, params, observation, found, config.physics)

    return run


def checked_sources(
    steps: Pipeline | Programs,
    params: Params,
    observation: Observation,
    found: tuple[Prediction, LowRankCovariance, MeasuredField | None],
    physics: PhysicsConfig,
) -> tuple[Estimates, Diagnostics]:
    """Return the sources of a batch, with bounded probabilities, and their goodness of fit.

    Args:
        steps: the pipeline or its programs.
        params: parameters of the network.
        observation: the batch.
        found: its `Pipeline.covariance_and_field`.
        physics: array and law of the symbols.
    """
    _, effective, measured = found
    estimates = sources_of(steps, params, observation, effective)
    return _checked_by_fit(physics)(observation, estimates, measured)


@lru_cache(maxsize=8)
def _checked_by_fit(
    physics: PhysicsConfig,
) -> Callable[[Observation, Estimates, MeasuredField | None], tuple[Estimates, Diagnostics]]:
    """From a batch, its sources and its measured field to bounded probabilities and the goodness of fit."""

    def run(
        observation: Observation, estimates: Estimates, measured: MeasuredField | None
    ) -> tuple[Estimates, Diagnostics]:
        check = partial(diagnose, physics=physics)
        diagnostics = over_surfaces(check, observation.geometry, observation, estimates, measured)
        return jax.vmap(temper)(estimates, diagnostics), diagnostics

    return jax.jit(run)


dense_of_batch = jax.jit(jax.vmap(dense))
"""From covariances of a batch in factored form to dense ones."""


@jax.jit
@jax.vmap
def dense_at_trace(factor: Complex[Array, "N rank"]) -> Complex[Array, "N N"]:
    """A factor's covariance, of trace N, without loading."""
    return dense(LowRankCovariance(normalise_trace(factor), jnp.zeros((), factor.real.dtype)))


@lru_cache(maxsize=8)
def covariance_of_fit(physics: PhysicsConfig) -> Callable[[Sources, Geometry | None], Array]:
    """From weighted candidates of a batch and its geometry to their dense covariances."""

    def covariance(sources: Sources, geometry: Geometry | None) -> Array:
        factor = factor_of_sources(sources, physics, geometry)
        return dense(LowRankCovariance(factor, jnp.zeros((), factor.real.dtype)))

    return jax.jit(jax.vmap(covariance))
