"""From snapshots to sources: scene -> network -> R_eff -> candidates -> joint fits -> sources, one function for
every stage.

Training's validation, evaluation, prediction and export all call what stands here, so that they cannot
differ in blend, shrinkage, loading or peak search.

Where the receiver knows a scene's own surface, candidates, fits and spectra are on that surface. The network is blind
to it: it maps the image on the elements to a covariance of the elements, without a word of where these are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array

from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.estimators import localise_mvdr
from risjax.estimators.candidates import Elimination, eliminate
from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.evidence import Evidence, describe, drops, num_features
from risjax.estimators.grid import grid_for, grid_like
from risjax.estimators.judged import sources_by_posterior, sources_by_residual
from risjax.estimators.likelihood import Statistics, statistics
from risjax.estimators.polish import Fit
from risjax.model import Params, build, make_inputs
from risjax.model.posterior import Posterior, build_posterior
from risjax.physics.batches import over_scenes, over_surfaces
from risjax.physics.measurement import require_common_field
from risjax.precision import upcast
from risjax.types import Estimates, Geometry, LowRankCovariance, Observation, Prediction

POSTERIOR = "posterior"
"""The group of parameters that belongs to the posterior head; the network's are the others."""


class Proposals(NamedTuple):
    """Candidates of a batch of scenes, before anything is decided.

    Attributes:
        elimination: their fits.
        evidence: of each fit, axes [batch, K].
        data: statistics of the snapshots.
    """

    elimination: Elimination
    evidence: Evidence
    data: Statistics


class Pipeline(NamedTuple):
    """The pipeline as pure functions over a batch of scenes; jit what calls them.

    Attributes:
        covariance: (parameters, observations, covariance settings) to the network's predictions in full precision
            and R_eff of each scene.
        localise: (R_eff of each scene, the observations' geometry) to the peaks of its spectrum, blind to K, SNR and
            noise variance.
        propose: (observations, R_eff) to candidates.
        decide: (parameters, candidates) to sources: by the posterior head where the parameters hold one, else by the
            residual's criterion.
        sources: all of it, (parameters, observations, covariance settings) to predictions and sources.
    """

    covariance: Callable[
        [Params, Observation, CovarianceConfig | CovarianceSettings], tuple[Prediction, LowRankCovariance]
    ]
    localise: Callable[[LowRankCovariance, Geometry | None], Estimates]
    propose: Callable[[Observation, LowRankCovariance], Proposals]
    decide: Callable[[Params, Proposals], Estimates]
    sources: Callable[[Params, Observation, CovarianceConfig | CovarianceSettings], tuple[Prediction, Estimates]]


def make_posterior(physics: PhysicsConfig, model: ModelConfig) -> Posterior:
    """The posterior head of a configuration."""
    return build_posterior(num_features(physics.scene.max_sources), model)


def make_pipeline(
    physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
) -> Pipeline:
    """The pipeline of a configuration's sections.

    Raises:
        ValueError: symbols that change from snapshot to snapshot, of which no image of the field can be made.
    """
    require_common_field(physics.scene, f"model.encoder = {model.encoder}")
    network = build(physics.array, model, precision)
    head = make_posterior(physics, model)

    def covariance(
        params: Params, observation: Observation, settings: CovarianceConfig | CovarianceSettings
    ) -> tuple[Prediction, LowRankCovariance]:
        inputs = over_scenes(lambda scene: make_inputs(scene, model), observation)
        of_network = {group: leaves for group, leaves in params.items() if group != POSTERIOR}
        prediction = upcast(network.apply(of_network, inputs.features))
        blend = jax.vmap(lambda factor, sample: effective_covariance(factor, sample, settings))
        return prediction, blend(prediction.factor, inputs.sample)

    def localise(effective: LowRankCovariance, geometry: Geometry | None) -> Estimates:
        def one(mine: LowRankCovariance, own: Geometry | None) -> Estimates:
            return localise_mvdr(mine, physics, estimator, geometry=own)

        return over_surfaces(one, geometry, effective, geometry)

    def propose(observation: Observation, effective: LowRankCovariance) -> Proposals:
        grid = grid_like(observation.snapshots, physics, estimator.posterior.grid)

        def one(scene: Observation, mine: LowRankCovariance) -> Proposals:
            data = statistics(scene, physics)
            elimination = eliminate(data, mine, physics, estimator.posterior, grid_for(grid, physics, data.geometry))
            drop = drops(elimination, data)

            def of_fit(fit: Fit, level: Array) -> Evidence:
                return describe(fit, level, drop, data, physics)

            return Proposals(elimination, jax.vmap(of_fit)(elimination.fits, elimination.level), data)

        return over_surfaces(one, observation.geometry, observation, effective)

    def decide(params: Params, proposals: Proposals) -> Estimates:
        elimination, evidence, data = proposals
        if POSTERIOR not in params:
            penalty = stopping_penalty(physics, estimator)

            def counted(candidates: Elimination, statistic: Statistics) -> Estimates:
                return sources_by_residual(candidates, statistic, penalty)

            return jax.vmap(counted)(elimination, data)
        judged = head.apply(params[POSTERIOR], evidence.features, evidence.active)

        def one(*scene: Any) -> Estimates:
            candidates, described, existence, log_range, statistic = scene
            return sources_by_posterior(candidates, described, existence, log_range, statistic, physics, estimator)

        return jax.vmap(one)(elimination, evidence, judged.existence, judged.log_range, data)

    def sources(
        params: Params, observation: Observation, settings: CovarianceConfig | CovarianceSettings
    ) -> tuple[Prediction, Estimates]:
        prediction, effective = covariance(params, observation, settings)
        return prediction, decide(params, propose(observation, effective))

    return Pipeline(covariance, localise, propose, decide, sources)
