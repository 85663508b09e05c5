"""From snapshots to sources: scene -> network -> R_eff (-> refiner) -> candidates -> joint fits -> sources, one
function for every stage.

Training's validation, evaluation, prediction and export all call what stands here, so that they cannot
differ in blend, shrinkage, loading or peak search.

Where the receiver knows a scene's own surface, candidates, fits and spectra are on that surface. The network is blind
to it: it maps the image on the elements to a covariance of the elements, without a word of where these are.

Where symbols change from snapshot to snapshot no field is common to all, so no candidate can be fitted to the raw
snapshots and nothing judged by their likelihood: the sources are then the peaks of the learned spectrum.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.detection.candidate_features import CandidateFeatures, candidate_features, drops, num_features
from risjax.detection.candidates import Elimination, eliminate
from risjax.detection.peak_features import NUM_PEAK_FEATURES, peak_features
from risjax.detection.posterior_decision import (
    PosteriorDecision,
    decide_by_posterior,
    decide_by_residual,
    reported_sources,
    sources_at_peaks,
    weighted_candidates,
)
from risjax.estimators import localise_mvdr
from risjax.estimators.cfar import stopping_penalty
from risjax.estimators.joint_ml import Fit
from risjax.estimators.likelihood import SufficientStatistics, statistics
from risjax.estimators.mvdr import mvdr_peaks
from risjax.model import Params, build, make_inputs
from risjax.model.posterior import Posterior, build_peak_posterior, build_posterior
from risjax.model.spectrum_unet import Refiner, build_refiner
from risjax.physics.array import steering_at
from risjax.physics.chunked_vmap import over_scenes, over_surfaces
from risjax.physics.images import noise_to_signal
from risjax.physics.measurement import require_common_field
from risjax.precision import upcast
from risjax.spectral.grid import field_of_view, grid_for, grid_like
from risjax.spectral.peak_search import Peaks
from risjax.spectral.spectrum import mvdr_cost, whitener
from risjax.types import Estimates, Geometry, LowRankCovariance, Observation, Prediction, Sources

POSTERIOR = "posterior"
"""The group of parameters of the posterior head that judges candidates; the network's are neither this nor ..."""
PEAKS = "peaks"
"""... that of the head that judges the spectrum's peaks, nor ..."""
REFINER = "refiner"
"""... that of the refiner."""
HEADS = (POSTERIOR, PEAKS)
AFTER_NETWORK = (*HEADS, REFINER)
"""Groups of parameters that are trained after the network, on what it says."""


class Proposals(NamedTuple):
    """Candidates of a batch of scenes, before anything is decided.

    Attributes:
        elimination: their fits.
        features: of each fit, axes [batch, K].
        data: statistics of the snapshots.
    """

    elimination: Elimination
    features: CandidateFeatures
    data: SufficientStatistics


class Pipeline(NamedTuple):
    """The pipeline as pure functions over a batch of scenes; jit what calls them.

    Attributes:
        covariance: (parameters, observations, covariance settings) to the network's predictions in full precision
            and R_eff of each scene.
        localise: (R_eff of each scene, the observations' geometry) to the peaks of its spectrum within
            ``estimator.threshold_db`` of the highest, blind to K, SNR and noise variance.
        spectra: (R_eff, the observations' geometry) to log10 of the spectra over ``estimator.posterior.grid``, in units
            of the loading, [batch, Gu, Gv, Gs]: what the refiner is shown.
        peaks: (parameters, observations, R_eff) to all peaks and their features; looked for in the refiner's map where
            the parameters hold one.
        spectral: (parameters, observations, R_eff) to sources at peaks of the spectrum, blind as `localise`: those that
            the peaks' head takes for sources where the parameters hold one, else those of `localise`.
        propose: (parameters, observations, R_eff) to candidates, the first of which come from the refiner's map where
            the parameters hold one.
        decide: (parameters, candidates) to sources: by the posterior head where the parameters hold one, else by the
            residual's criterion.
        fitted: (parameters, candidates) to all candidates, each weighted by the probability that it is a source (by 0
            or 1 where the parameters hold no posterior head): the covariance of these is the fit's.
        sources: all of it, (parameters, observations, covariance settings) to predictions and sources; without
            `has_likelihood` those of `spectral`.
        has_likelihood: whether `propose`, `decide` and `fitted` can be called: all snapshots share one coherent field.
    """

    covariance: Callable[
        [Params, Observation, CovarianceConfig | CovarianceSettings], tuple[Prediction, LowRankCovariance]
    ]
    localise: Callable[[LowRankCovariance, Geometry | None], Estimates]
    spectra: Callable[[LowRankCovariance, Geometry | None], Array]
    peaks: Callable[[Params, Observation, LowRankCovariance], tuple[Peaks, Array]]
    spectral: Callable[[Params, Observation, LowRankCovariance], Estimates]
    propose: Callable[[Params, Observation, LowRankCovariance], Proposals]
    decide: Callable[[Params, Proposals], Estimates]
    fitted: Callable[[Params, Proposals], Sources]
    sources: Callable[[Params, Observation, CovarianceConfig | CovarianceSettings], tuple[Prediction, Estimates]]
    has_likelihood: bool


def make_posterior(physics: PhysicsConfig, model: ModelConfig) -> Posterior:
    """The posterior head of a configuration."""
    return build_posterior(num_features(physics.scene.max_sources), model)


def make_peak_posterior(model: ModelConfig) -> Posterior:
    """The head of a configuration that judges peaks."""
    return build_peak_posterior(NUM_PEAK_FEATURES, model)


def make_refiner(model: ModelConfig, estimator: EstimatorConfig, precision: PrecisionConfig) -> Refiner:
    """The refiner of a configuration that has one."""
    return build_refiner(estimator.posterior.grid.num_range, model, precision)


def make_pipeline(
    physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
) -> Pipeline:
    """The pipeline of a configuration's sections.

    Raises:
        ValueError: an encoder of one coherent field's image on symbols that change from snapshot to snapshot.
    """
    if model.needs_common_field:
        require_common_field(physics.scene, f"model.encoder = {model.encoder}")
    has_likelihood = physics.scene.symbols == "constant"
    network = build(physics.array, model, precision)
    head, head_of_peaks = make_posterior(physics, model), make_peak_posterior(model)

    def covariance(
        params: Params, observation: Observation, settings: CovarianceConfig | CovarianceSettings
    ) -> tuple[Prediction, LowRankCovariance]:
        inputs = over_scenes(lambda scene: make_inputs(scene, model, physics), observation)
        of_network = {group: leaves for group, leaves in params.items() if group not in AFTER_NETWORK}
        prediction = upcast(network.apply(of_network, inputs.features))
        blend = jax.vmap(lambda factor, sample: effective_covariance(factor, sample, settings))
        return prediction, blend(prediction.factor, inputs.sample)

    def localise(effective: LowRankCovariance, geometry: Geometry | None) -> Estimates:
        def one(mine: LowRankCovariance, own: Geometry | None) -> Estimates:
            return localise_mvdr(mine, physics, estimator, geometry=own)

        return over_surfaces(one, geometry, effective, geometry)

    def spectra(effective: LowRankCovariance, geometry: Geometry | None) -> Array:
        grid = grid_like(effective.factor, physics, estimator.posterior.grid)

        def one(mine: LowRankCovariance, own: Geometry | None) -> Array:
            vectors = grid_for(grid, physics, own).steering
            return -jnp.log10(mvdr_cost(whitener(mine), vectors)).reshape(grid.inside.shape)

        return over_surfaces(one, geometry, effective, geometry)

    def ranking(params: Params, effective: LowRankCovariance, geometry: Geometry | None) -> Array | None:
        """What peaks are looked for in, [batch, G]: the refiner's map, or None for the spectrum itself."""
        if REFINER not in params:
            return None
        maps = make_refiner(model, estimator, precision).apply(params[REFINER], spectra(effective, geometry))
        return maps.reshape(len(maps), -1)

    def peaks(params: Params, observation: Observation, effective: LowRankCovariance) -> tuple[Peaks, Array]:
        looked_at = ranking(params, effective, observation.geometry)
        points = estimator.grid if looked_at is None else estimator.posterior.grid
        grid = grid_like(effective.factor, physics, points)

        def one(scene: Observation, mine: LowRankCovariance, rank: Array | None) -> tuple[Peaks, Array]:
            data, level = statistics(scene, physics), noise_to_signal(scene)
            found = mvdr_peaks(mine, physics, estimator, grid=grid, geometry=scene.geometry, ranking=rank)
            vectors = steering_at(physics.array, found.cosines, scene.geometry)
            return found, peak_features(found, vectors, mine, data, level, physics)

        return over_surfaces(one, observation.geometry, observation, effective, looked_at)

    def spectral(params: Params, observation: Observation, effective: LowRankCovariance) -> Estimates:
        if PEAKS not in params:
            return localise(effective, observation.geometry)
        found, features = peaks(params, observation, effective)
        logits = head_of_peaks.apply(params[PEAKS], features, found.alive).existence
        return jax.vmap(lambda mine, logit: sources_at_peaks(mine, logit, physics, estimator))(found, logits)

    def propose(params: Params, observation: Observation, effective: LowRankCovariance) -> Proposals:
        require_common_field(physics.scene, "a fit of candidates to the snapshots")
        grid = grid_like(observation.snapshots, physics, estimator.posterior.grid)

        def one(scene: Observation, mine: LowRankCovariance, rank: Array | None) -> Proposals:
            data = statistics(scene, physics)
            own = grid_for(grid, physics, data.geometry)
            elimination = eliminate(data, mine, physics, estimator.posterior, own, rank)
            drop = drops(elimination, data)

            def of_fit(fit: Fit, level: Array) -> CandidateFeatures:
                return candidate_features(fit, level, drop, data, physics)

            return Proposals(elimination, jax.vmap(of_fit)(elimination.fits, elimination.level), data)

        looked_at = ranking(params, effective, observation.geometry)
        return over_surfaces(one, observation.geometry, observation, effective, looked_at)

    def judge(params: Params, proposals: Proposals) -> PosteriorDecision:
        elimination, features, data = proposals
        if POSTERIOR not in params:
            penalty = stopping_penalty(physics, estimator)
            return jax.vmap(lambda mine, seen: decide_by_residual(mine, seen, penalty))(elimination, data)
        judged = head.apply(params[POSTERIOR], features.values, features.active)
        rule = partial(decide_by_posterior, field=field_of_view(physics), settings=estimator.posterior)
        return jax.vmap(rule)(elimination.weakest, features, judged.existence, judged.log_range)

    def decide(params: Params, proposals: Proposals) -> Estimates:
        elimination, features, data = proposals
        report = partial(reported_sources, physics=physics, settings=estimator.posterior)
        return jax.vmap(report)(elimination, features, judge(params, proposals), data)

    def fitted(params: Params, proposals: Proposals) -> Sources:
        return jax.vmap(weighted_candidates)(proposals.elimination, judge(params, proposals))

    def sources(
        params: Params, observation: Observation, settings: CovarianceConfig | CovarianceSettings
    ) -> tuple[Prediction, Estimates]:
        prediction, effective = covariance(params, observation, settings)
        if not has_likelihood:
            return prediction, spectral(params, observation, effective)
        return prediction, decide(params, propose(params, observation, effective))

    return Pipeline(covariance, localise, spectra, peaks, spectral, propose, decide, fitted, sources, has_likelihood)
