"""The methods under comparison, each a jitted function of a batch and of no more than its name allows."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import Config, PhysicsConfig
from risjax.config.evaluate import Method
from risjax.covariance import effective_covariance
from risjax.estimators import localise_greedy, localise_mvdr, make_grid, select_and_polish
from risjax.linalg import normalise_trace
from risjax.loss import covariance_nmse
from risjax.model import Params, make_inputs
from risjax.pipeline import make_pipeline
from risjax.types import Estimates, LowRankCovariance, Observation

LEARNED: frozenset[str] = frozenset({"learned_mvdr", "learned_ml"})
"""Methods that need a trained network."""
ORACLE: frozenset[str] = frozenset({"oracle_mvdr"})
"""Methods that are given the true covariance."""
TOLD_K: frozenset[str] = frozenset({"oracle_mvdr", "greedy_ml_told_k"})
"""Methods that are told K."""


class Batch(NamedTuple):
    """What a method may be shown; what it may not is None.

    Attributes:
        observation: what the receiver knows.
        num_sources: K, for methods that are told it.
        label_factor: B of the true covariance, for oracles.
    """

    observation: Observation
    num_sources: Int[Array, " B"] | None
    label_factor: Complex[Array, "B N K"] | None


class Found(NamedTuple):
    """What a method says of a batch.

    Attributes:
        estimates: sources.
        factor: factor of the covariance that stands for R_pred in the metric ``nmse``; None where there is none.
    """

    estimates: Estimates
    factor: Complex[Array, "B N rank"] | None


def make_method(
    config: Config, physics: PhysicsConfig, name: Method, params: Params | None
) -> Callable[[Batch], Found]:
    """The method ``name`` on scenes of ``physics``, a pure function to be jitted; parameters and grids are closed over.

    Args:
        config: of the run: covariance, estimator, network.
        physics: the manifold that the scenes' receiver knows.
        name: which.
        params: of the network, for the methods of `LEARNED`.
    """
    estimator = config.estimator
    if name in ("greedy_ml", "greedy_ml_told_k"):
        grid = make_grid(physics, estimator.greedy.grid)

        def greedy(batch: Batch) -> Found:
            def one(observation: Observation, count: Array | None) -> Estimates:
                return localise_greedy(observation, physics, estimator, count, grid=grid)

            return Found(jax.vmap(one)(batch.observation, batch.num_sources), None)

        return greedy
    grid = make_grid(physics, estimator.grid)

    def localise(covariance: LowRankCovariance, count: Array | None) -> Estimates:
        return jax.vmap(lambda one, k: localise_mvdr(one, physics, estimator, k, grid=grid))(covariance, count)

    match name:
        case "oracle_mvdr":

            def oracle(batch: Batch) -> Found:
                covariance = jax.vmap(lambda factor: _loaded(factor, config))(batch.label_factor)
                return Found(localise(covariance, batch.num_sources), None)

            return oracle
        case "sample_mvdr":

            def sample(batch: Batch) -> Found:
                alone = config.covariance.model_copy(update={"blend": 1.0})
                factor = jax.vmap(lambda scene: make_inputs(scene, config.model).sample)(batch.observation)
                covariance = jax.vmap(lambda one: effective_covariance(one, one, alone))(factor)
                return Found(localise(covariance, batch.num_sources), factor)

            return sample
    if params is None:
        raise ValueError(f"{name} needs the parameters of a trained network")
    pipeline = make_pipeline(config.physics, config.precision, config.model, estimator)

    def learned(batch: Batch) -> Found:
        prediction, effective = pipeline.covariance(params, batch.observation, config.covariance)
        found = localise(effective, batch.num_sources)
        if name == "learned_ml":
            found = jax.vmap(lambda scene, start: select_and_polish(scene, start, physics, estimator))(
                batch.observation, found
            )
        return Found(found, prediction.factor)

    return learned


@jax.jit
def nmse(found: Complex[Array, "B N rank"], label: Complex[Array, "B N K"]) -> Float[Array, " B"]:
    """The metric ``nmse`` of each scene, as in training."""
    with jax.default_matmul_precision("highest"):
        return jax.vmap(covariance_nmse)(found, label)


def _loaded(factor: Complex[Array, "N K"], config: Config) -> LowRankCovariance:
    return LowRankCovariance(normalise_trace(factor), jnp.asarray(config.covariance.loading, factor.real.dtype))
