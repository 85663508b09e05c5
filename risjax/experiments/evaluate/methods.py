"""The methods under comparison, each a function of a batch, given only the inputs that its registration names."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from risjax.config import Config, ModelConfig, PhysicsConfig
from risjax.config.evaluate import Method
from risjax.config.methods import METHODS
from risjax.covariance import covariance_settings
from risjax.estimators import CovarianceEstimator
from risjax.inference.classical import grid_of, on_sample, on_snapshots
from risjax.linalg import LowRankCovariance, normalise_trace
from risjax.loss import covariance_nmse, projector_distance
from risjax.model import Params
from risjax.physics.chunked_vmap import over_surfaces
from risjax.physics.measurement import require_common_field
from risjax.pipeline import Programs, compiled_pipeline
from risjax.registry import Estimator, implementation_of
from risjax.runs.compiler_options import fast_compilation
from risjax.types import Estimates, Geometry, Observation, Sources

LEARNED: frozenset[str] = frozenset(name for name, method in METHODS.items() if method.reads == "network")
"""Methods that need a trained network."""
ORACLE: frozenset[str] = frozenset(name for name, method in METHODS.items() if method.reads == "truth")
"""Methods that are given the true covariance."""
KNOWN_K: frozenset[str] = frozenset(name for name, method in METHODS.items() if method.knows_count)
"""Methods that know K."""


def needs_common_field(name: str, model: ModelConfig) -> bool:
    """Return whether a method needs constant symbols, for its likelihood or its image of the common field."""
    method = METHODS[name]
    sees_images = method.reads in ("network", "covariance")
    return method.needs_common_field or (sees_images and model.needs_common_field)


class Batch(NamedTuple):
    """Inputs of a method; None for those that it must not use.

    Attributes:
        observation: what the receiver knows.
        num_sources: K, for methods that know it.
        label_factor: B of the true covariance, for oracles.
    """

    observation: Observation
    num_sources: Int[Array, " B"] | None
    label_factor: Complex[Array | np.ndarray, "B N K"] | None


class Found(NamedTuple):
    """Results of a method for a batch.

    Attributes:
        estimates: sources.
        factor: factor of the covariance that `covariance_metrics` compares with the truth; None if there is none.
        fitted: sources fitted to the snapshots, with amplitudes, from which `risjax.covariance.factor_of_sources`
            makes a covariance; None for methods without a fit.
    """

    estimates: Estimates
    factor: Complex[Array, "B N rank"] | None
    fitted: Sources | None = None


def make_method(
    config: Config, physics: PhysicsConfig, name: Method, params: Params | None
) -> Callable[[Batch], Found]:
    """Return the method ``name`` on scenes of ``physics``, compiled at its first call for a batch size.

    Learned methods share the programs of `risjax.pipeline.compiled_pipeline`.

    Args:
        config: covariance, estimator and network of the run.
        physics: the manifold that the scenes' receiver knows.
        name: name of the method.
        params: of the network, for the methods of `LEARNED`.

    Raises:
        ValueError: a learned method without parameters, or a method that `needs_common_field` on per-snapshot symbols.
    """
    if needs_common_field(name, config.model):
        require_common_field(physics.scene, f"the method {name}")
    method = METHODS[name]
    if name in LEARNED:
        if params is None:
            raise ValueError(f"{name} needs the parameters of a trained network")
        return _learned(config, physics, params, method)
    makers = {"snapshots": _on_snapshots, "covariance": _on_sample, "truth": _oracle}
    return jax.jit(makers[method.reads](config, physics, method), compiler_options=fast_compilation())


def _on_snapshots(config: Config, physics: PhysicsConfig, method: Estimator) -> Callable[[Batch], Found]:
    localise = on_snapshots(method, physics, config.estimator)
    grid = grid_of(method, physics, config.estimator)

    def run(batch: Batch) -> Found:
        found = localise(batch.observation, batch.num_sources, grid)
        fitted = Sources(found.position, found.amplitude, found.active) if method.needs_common_field else None
        return Found(found, None, fitted)

    return run


def _on_sample(config: Config, physics: PhysicsConfig, method: Estimator) -> Callable[[Batch], Found]:
    localise = on_sample(method, physics, config.estimator, config.model, config.covariance)
    grid = grid_of(method, physics, config.estimator)
    return lambda batch: Found(*localise(batch.observation, batch.num_sources, grid))


def _learned(config: Config, physics: PhysicsConfig, params: Params, method: Estimator) -> Callable[[Batch], Found]:
    programs = compiled_pipeline(physics, config.precision, config.model, config.estimator)
    settings, report = covariance_settings(config.covariance), implementation_of(method)

    def run(batch: Batch) -> Found:
        prediction, effective = programs.covariance(params, batch.observation, settings)
        factor = cast(Array, prediction.factor)  # the pipeline's upcast has joined its two parts
        estimates, fitted = report(programs, params, batch.observation, effective)
        return Found(estimates, factor, fitted)

    return run


def learned_mvdr(
    programs: Programs, params: Params, observation: Observation, effective: LowRankCovariance
) -> tuple[Estimates, Sources | None]:
    """Sources at the peaks of the learned spectrum."""
    return programs.spectral(params, observation, effective), None


def learned_ml(
    programs: Programs, params: Params, observation: Observation, effective: LowRankCovariance
) -> tuple[Estimates, Sources | None]:
    """Sources of the whole pipeline, and the fit of all candidates."""
    proposals = programs.propose(observation, effective)
    return programs.decide(params, proposals), programs.fitted(params, proposals)


def _oracle(config: Config, physics: PhysicsConfig, method: Estimator) -> Callable[[Batch], Found]:
    localise: CovarianceEstimator = implementation_of(method)
    grid = grid_of(method, physics, config.estimator)

    def run(batch: Batch) -> Found:
        if batch.label_factor is None or batch.num_sources is None:
            raise ValueError("an oracle needs the true covariance and K")

        geometry = batch.observation.geometry

        def localise_scene(factor: Array, count: Array, surface: Geometry | None) -> Estimates:
            loading = jnp.asarray(config.covariance.loading, factor.real.dtype)
            covariance = LowRankCovariance(normalise_trace(factor), loading)
            return localise(covariance, physics, config.estimator, count, grid=grid, geometry=surface)

        return Found(over_surfaces(localise_scene, geometry, batch.label_factor, batch.num_sources, geometry), None)

    return run


def covariance_metrics(
    found: Complex[Array, "B N rank"], label: Complex[Array, "B N K"], num_sources: Int[Array, " B"]
) -> dict[str, Float[Array, " B"]]:
    """Return ``nmse`` and ``subspace_overlap`` of each scene: tr(P_hat P) / K of the K dominant eigenvectors."""

    def scene_metrics(factor: Array, label: Array, count: Array) -> dict[str, Array]:
        alone = LowRankCovariance(factor, jnp.zeros((), factor.real.dtype))
        return {
            "nmse": covariance_nmse(factor, label),
            "subspace_overlap": 1.0 - projector_distance(alone, label, count),
        }

    with jax.default_matmul_precision("highest"):
        return jax.vmap(scene_metrics)(found, label, num_sources)
