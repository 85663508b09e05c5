"""The methods under comparison: jitted functions of a batch, given only the inputs that their names imply."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import Config, EstimatorConfig, GridConfig, ModelConfig, PhysicsConfig
from risjax.config.evaluate import Method
from risjax.covariance import covariance_settings, effective_covariance
from risjax.estimators import (
    Grid,
    localise_bartlett,
    localise_greedy,
    localise_music,
    localise_mvdr,
    localise_omp,
    localise_sparse,
    make_grid,
    select_and_polish,
)
from risjax.linalg import LowRankCovariance, normalise_trace
from risjax.loss import covariance_nmse, projector_distance
from risjax.model import Params, make_inputs
from risjax.physics.chunked_vmap import over_surfaces
from risjax.physics.measurement import require_common_field
from risjax.pipeline import compiled_pipeline
from risjax.types import Estimates, Geometry, Observation, Sources

LEARNED: frozenset[str] = frozenset({"learned_mvdr", "learned_ml"})
"""Methods that need a trained network."""
ORACLE: frozenset[str] = frozenset({"oracle_mvdr"})
"""Methods that are given the true covariance."""
IMAGES: frozenset[str] = frozenset({"learned_mvdr", "sample_mvdr", "sample_music", "sample_bartlett"})
"""Methods that see what the network's encoder sees, and no likelihood."""
LIKELIHOOD: frozenset[str] = frozenset({"learned_ml", "greedy_ml", "greedy_ml_known_k", "omp_ml"})
"""Methods whose likelihood is of one field in all snapshots: constant symbols."""
KNOWN_K: frozenset[str] = frozenset({"oracle_mvdr", "greedy_ml_known_k"})
"""Methods that know K."""


def needs_common_field(name: str, model: ModelConfig) -> bool:
    """Return whether a method needs constant symbols, for its likelihood or its image of the common field."""
    return name in LIKELIHOOD or (name in IMAGES and model.needs_common_field)


class Batch(NamedTuple):
    """Inputs of a method; None for those that it must not use.

    Attributes:
        observation: what the receiver knows.
        num_sources: K, for methods that know it.
        label_factor: B of the true covariance, for oracles.
    """

    observation: Observation
    num_sources: Int[Array, " B"] | None
    label_factor: Complex[Array, "B N K"] | None


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
    if name in LEARNED:
        if params is None:
            raise ValueError(f"{name} needs the parameters of a trained network")
        return _learned(config, physics, params, name)
    return jax.jit(_without_network(config, physics, name))


def _without_network(config: Config, physics: PhysicsConfig, name: Method) -> Callable[[Batch], Found]:
    match name:
        case "greedy_ml" | "greedy_ml_known_k":
            return _on_snapshots(localise_greedy, physics, config.estimator, config.estimator.greedy.grid)
        case "omp_ml":
            return _on_snapshots(_pursue_and_select, physics, config.estimator, config.estimator.greedy.grid)
        case "sparse":
            return _on_snapshots(localise_sparse, physics, config.estimator, config.estimator.sparse.grid, lax_map=True)
        case "sample_mvdr":
            return _on_sample(localise_mvdr, config, physics)
        case "sample_music":
            return _on_sample(localise_music, config, physics)
        case "sample_bartlett":
            return _on_sample(localise_bartlett, config, physics)
    return _oracle(config, physics)


def _on_snapshots(
    localise: Callable[..., Estimates],
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
    points: GridConfig,
    *,
    lax_map: bool = False,
) -> Callable[[Batch], Found]:
    grid = make_grid(physics, points)

    def run(batch: Batch) -> Found:
        def localise_scene(observation: Observation, count: Array | None) -> Estimates:
            return localise(observation, physics, estimator, count, grid=grid)

        scenes = (batch.observation, batch.num_sources)
        if lax_map:
            return Found(jax.lax.map(lambda scene: localise_scene(*scene), scenes), None)
        found = over_surfaces(localise_scene, batch.observation.geometry, *scenes)
        return Found(found, None, Sources(found.position, found.amplitude, found.active))

    return run


def _pursue_and_select(
    observation: Observation, physics: PhysicsConfig, estimator: EstimatorConfig, count: Array | None, *, grid: Grid
) -> Estimates:
    candidates = localise_omp(observation, physics, estimator, jnp.asarray(physics.scene.max_sources), grid=grid)
    return select_and_polish(observation, candidates, physics, estimator, count)


def _on_sample(localise: Callable[..., Estimates], config: Config, physics: PhysicsConfig) -> Callable[[Batch], Found]:
    """MVDR on the sample covariance, loaded and shrunk like the learned one."""
    grid = make_grid(physics, config.estimator.grid)
    alone = config.covariance.model_copy(update={"blend": 1.0})
    estimator = config.estimator.model_copy(update={"threshold_db": config.estimator.sample_threshold_db})

    def run(batch: Batch) -> Found:
        def localise_scene(observation: Observation) -> tuple[Estimates, Array]:
            factor = make_inputs(observation, config.model, physics).sample_factor
            covariance = effective_covariance(factor, factor, alone)
            return localise(covariance, physics, estimator, grid=grid, geometry=observation.geometry), factor

        return Found(*over_surfaces(localise_scene, batch.observation.geometry, batch.observation))

    return run


def _learned(config: Config, physics: PhysicsConfig, params: Params, name: Method) -> Callable[[Batch], Found]:
    programs = compiled_pipeline(physics, config.precision, config.model, config.estimator)
    settings = covariance_settings(config.covariance)

    def run(batch: Batch) -> Found:
        prediction, effective = programs.covariance(params, batch.observation, settings)
        factor = cast(Array, prediction.factor)  # the pipeline's upcast has joined its two parts
        if name == "learned_ml":
            proposals = programs.propose(batch.observation, effective)
            return Found(programs.decide(params, proposals), factor, programs.fitted(params, proposals))
        return Found(programs.spectral(params, batch.observation, effective), factor)

    return run


def _oracle(config: Config, physics: PhysicsConfig) -> Callable[[Batch], Found]:
    grid = make_grid(physics, config.estimator.grid)

    def run(batch: Batch) -> Found:
        if batch.label_factor is None or batch.num_sources is None:
            raise ValueError("an oracle needs the true covariance and K")

        geometry = batch.observation.geometry

        def localise_scene(factor: Array, count: Array, surface: Geometry | None) -> Estimates:
            loading = jnp.asarray(config.covariance.loading, factor.real.dtype)
            covariance = LowRankCovariance(normalise_trace(factor), loading)
            return localise_mvdr(covariance, physics, config.estimator, count, grid=grid, geometry=surface)

        return Found(over_surfaces(localise_scene, geometry, batch.label_factor, batch.num_sources, geometry), None)

    return run


@jax.jit
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
