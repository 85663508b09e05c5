"""The pipeline from snapshots to sources: scene -> network -> R_eff -> candidates -> fits -> sources.

Validation, evaluation, prediction and export all use `Pipeline`, so that blend, loading and peak search
cannot differ between them. `Programs` holds its steps compiled. All callers of one configuration share them, so that
each step is compiled once for every batch size.

Where the receiver knows a scene's own surface, candidates, fits and spectra use that surface. The network does not: it
maps the image on the elements to a covariance of the elements and has no input for their positions.

Symbols that change from snapshot to snapshot leave no field that is common to all snapshots, so candidates cannot be
fitted to the raw snapshots and have no likelihood. The sources are then the peaks of the learned spectrum.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.detection.candidate_features import num_features
from risjax.detection.candidates import Elimination
from risjax.detection.peak_features import NUM_PEAK_FEATURES
from risjax.detection.posterior_decision import (
    DecisionSettings,
    PosteriorDecision,
    at_optimum,
    decide_by_posterior,
    decide_by_residual,
    reported_sources,
    sources_at_peaks,
    weighted_candidates,
)
from risjax.detection.proposals import Proposals, peaks_of_scene, proposals_of_scene
from risjax.estimators import localise_mvdr
from risjax.estimators.cfar import stopping_penalty
from risjax.linalg import LowRankCovariance
from risjax.model import Inputs, Network, Params, build, make_inputs, make_inputs_and_fit
from risjax.model.posterior import Posterior, build_peak_posterior, build_posterior
from risjax.physics.chunked_vmap import over_scenes, over_surfaces
from risjax.physics.images import MeasuredField
from risjax.physics.measurement import require_common_field
from risjax.physics.scaling import SceneScale, normalise_scene, restore_estimates, restore_sources
from risjax.precision import upcast
from risjax.runs.compiler_options import fast_compilation
from risjax.spectral.grid import field_of_view, grid_like
from risjax.spectral.peak_search import Peaks
from risjax.types import Estimates, Geometry, Observation, Prediction, Sources

POSTERIOR = "posterior"
"""Group of parameters of the posterior head that judges candidates."""
PEAKS = "peaks"
"""Group of parameters of the head that judges the spectrum's peaks."""
HEADS = (POSTERIOR, PEAKS)
"""Groups of parameters that are trained after the network, on its outputs."""

_KEPT_PROGRAMS = 8
"""Configurations whose programs a process keeps."""

Settings = CovarianceConfig | CovarianceSettings


def make_posterior(physics: PhysicsConfig, model: ModelConfig) -> Posterior:
    """Return the posterior head of a configuration, which judges candidates."""
    return build_posterior(num_features(physics.scene.max_sources), model)


def make_peak_posterior(model: ModelConfig) -> Posterior:
    """Return the head of a configuration that judges peaks."""
    return build_peak_posterior(NUM_PEAK_FEATURES, model)


class Pipeline:
    """The steps of the pipeline of one configuration, as pure functions over a batch of scenes.

    Attributes:
        physics: array, field of view, slots.
        precision: dtypes of the network.
        model: the network and its heads.
        estimator: search, fits and decision.
        has_likelihood: whether `propose`, `decide` and `fitted` can be called: all snapshots share one coherent field.

    Raises:
        ValueError: the encoder needs the image of one coherent field, and the symbols change from snapshot to snapshot.
    """

    def __init__(
        self, physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
    ):
        if model.needs_common_field:
            require_common_field(physics.scene, f"model.encoder = {model.encoder}")
        self.physics, self.precision, self.model, self.estimator = physics, precision, model, estimator
        self.has_likelihood = physics.scene.symbols == "constant"
        self._head, self._peak_head = make_posterior(physics, model), make_peak_posterior(model)

    @functools.cached_property
    def _network(self) -> Network:
        return build(self.physics.array, self.model, self.precision)

    def covariance(
        self, params: Params, observation: Observation, settings: Settings
    ) -> tuple[Prediction, LowRankCovariance]:
        """Return the network's predictions in full precision, and R_eff of each scene."""
        inputs = over_scenes(lambda scene: make_inputs(scene, self.model, self.physics), observation)
        return self._covariance(params, inputs, settings)

    def covariance_and_field(
        self, params: Params, observation: Observation, settings: Settings
    ) -> tuple[Prediction, LowRankCovariance, MeasuredField | None]:
        """Return what `covariance` returns, and the measured field of each scene (None for changing symbols).

        The measured field comes from the factors of the network's inputs.
        """
        inputs, measured = over_scenes(lambda scene: make_inputs_and_fit(scene, self.model, self.physics), observation)
        return *self._covariance(params, inputs, settings), measured

    def _covariance(self, params: Params, inputs: Inputs, settings: Settings) -> tuple[Prediction, LowRankCovariance]:
        network_params = {group: leaves for group, leaves in params.items() if group not in HEADS}
        prediction = upcast(self._network.apply(network_params, inputs.features))
        blend = jax.vmap(lambda factor, sample: effective_covariance(factor, sample, settings))
        return prediction, blend(prediction.factor, inputs.sample_factor)

    def localise(self, effective: LowRankCovariance, geometry: Geometry | None) -> Estimates:
        """Return the peaks of R_eff's spectrum within ``estimator.threshold_db`` of the highest; blind to K, SNR and
        noise variance."""

        def localise_scene(covariance: LowRankCovariance, geometry: Geometry | None) -> Estimates:
            return localise_mvdr(covariance, self.physics, self.estimator, geometry=geometry)

        return over_surfaces(localise_scene, geometry, effective, geometry)

    def peaks(self, observation: Observation, effective: LowRankCovariance) -> tuple[Peaks, Array]:
        """Return all peaks of R_eff's spectrum and their features."""
        grid = grid_like(effective.factor, self.physics, self.estimator.grid)
        find = partial(peaks_of_scene, physics=self.physics, estimator=self.estimator, grid=grid)
        return over_surfaces(find, observation.geometry, observation, effective)

    def spectral(self, params: Params, observation: Observation, effective: LowRankCovariance) -> Estimates:
        """Return the peaks that the peaks' head takes for sources; without that head the sources of `localise`."""
        is_empty = jax.vmap(lambda scene: normalise_scene(scene)[1].is_empty)(observation)
        found = self._spectral(params, observation, effective)
        return jax.vmap(restore_estimates)(found, SceneScale(jnp.zeros_like(is_empty, int), is_empty))

    def _spectral(self, params: Params, observation: Observation, effective: LowRankCovariance) -> Estimates:
        """The peaks of R_eff, whose heights have no unit."""
        if PEAKS not in params:
            return self.localise(effective, observation.geometry)
        peaks, features = self.peaks(observation, effective)
        logits = self._peak_head.apply(params[PEAKS], features, peaks.alive).existence
        return jax.vmap(partial(sources_at_peaks, physics=self.physics, estimator=self.estimator))(peaks, logits)

    def propose(self, observation: Observation, effective: LowRankCovariance) -> Proposals:
        """Return candidates and their fits."""
        require_common_field(self.physics.scene, "a fit of candidates to the snapshots")
        grid = grid_like(observation.snapshots, self.physics, self.estimator.posterior.grid)
        propose = partial(proposals_of_scene, physics=self.physics, estimator=self.estimator, grid=grid)
        return over_surfaces(propose, observation.geometry, observation, effective)

    def decide(self, params: Params, proposals: Proposals, settings: DecisionSettings | None = None) -> Estimates:
        """Return the sources that are reported: selected by the posterior head, or by the residual's criterion where
        the parameters contain no head. ``settings`` replaces those of ``estimator.posterior``."""
        chosen = self.estimator.posterior if settings is None else settings
        elimination, decision = self._selected(params, proposals, settings)
        report = partial(reported_sources, physics=self.physics, settings=chosen)
        estimates = jax.vmap(report)(elimination, decision, proposals.data)
        return jax.vmap(restore_estimates)(estimates, proposals.scale)

    def fitted(self, params: Params, proposals: Proposals) -> Sources:
        """Return all candidates, each weighted by the probability that it is a source (0 or 1 without a posterior
        head). Their covariance is that of the fit."""
        fitted = jax.vmap(weighted_candidates)(*self._selected(params, proposals))
        return jax.vmap(restore_sources)(fitted, proposals.scale)

    def sources(self, params: Params, observation: Observation, settings: Settings) -> tuple[Prediction, Estimates]:
        """Return the network's predictions and the sources; without a likelihood those of `spectral`."""
        prediction, effective = self.covariance(params, observation, settings)
        return prediction, sources_of(self, params, observation, effective)

    def _selected(
        self, params: Params, proposals: Proposals, settings: DecisionSettings | None = None
    ) -> tuple[Elimination, PosteriorDecision]:
        """The decision, and the fits, of which the selected one is at its optimum."""
        decision = self._decision(params, proposals, settings)
        move = partial(at_optimum, physics=self.physics, iterations=self.estimator.posterior.final_iterations)
        return jax.vmap(move)(proposals.elimination, decision, proposals.data), decision

    def _decision(
        self, params: Params, proposals: Proposals, settings: DecisionSettings | None = None
    ) -> PosteriorDecision:
        elimination, features, data, _ = proposals
        if POSTERIOR not in params:
            penalty = stopping_penalty(self.physics, self.estimator)
            return jax.vmap(partial(decide_by_residual, penalty=penalty))(elimination, data)
        judged = self._head.apply(params[POSTERIOR], features.values, features.active)
        chosen = self.estimator.posterior if settings is None else settings
        decide = partial(decide_by_posterior, field=field_of_view(self.physics), settings=chosen)
        return jax.vmap(decide)(elimination.weakest, features, judged.existence, judged.log_range)


class Programs(NamedTuple):
    """Steps of `Pipeline`, each one compiled program; not to be called within ``jax.jit``.

    Attributes:
        covariance: see `Pipeline.covariance`; the settings are traced.
        covariance_and_field: see `Pipeline.covariance_and_field`; the settings are traced.
        propose: see `Pipeline.propose`.
        decide: see `Pipeline.decide`.
        fitted: see `Pipeline.fitted`.
        peaks: see `Pipeline.peaks`.
        spectral: see `Pipeline.spectral`.
        has_likelihood: see `Pipeline`.
    """

    covariance: Callable[[Params, Observation, CovarianceSettings], tuple[Prediction, LowRankCovariance]]
    covariance_and_field: Callable[
        [Params, Observation, CovarianceSettings], tuple[Prediction, LowRankCovariance, MeasuredField | None]
    ]
    propose: Callable[[Observation, LowRankCovariance], Proposals]
    decide: Callable[[Params, Proposals], Estimates]
    fitted: Callable[[Params, Proposals], Sources]
    peaks: Callable[[Observation, LowRankCovariance], tuple[Peaks, Array]]
    spectral: Callable[[Params, Observation, LowRankCovariance], Estimates]
    has_likelihood: bool

    def sources(
        self, params: Params, observation: Observation, settings: CovarianceSettings
    ) -> tuple[Prediction, Estimates]:
        """Return what `Pipeline.sources` returns."""
        prediction, effective = self.covariance(params, observation, settings)
        return prediction, sources_of(self, params, observation, effective)


def compiled_pipeline(
    physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
) -> Programs:
    """Return the programs of a configuration, the same for every caller in a process."""
    return _compiled_pipeline(physics, precision, model, estimator)


@functools.lru_cache(maxsize=_KEPT_PROGRAMS)
def _compiled_pipeline(
    physics: PhysicsConfig, precision: PrecisionConfig, model: ModelConfig, estimator: EstimatorConfig
) -> Programs:
    steps = Pipeline(physics, precision, model, estimator)
    return _after_network(physics, _heads_alone(model), estimator)._replace(
        covariance=jax.jit(steps.covariance), covariance_and_field=jax.jit(steps.covariance_and_field)
    )


def _heads_alone(model: ModelConfig) -> ModelConfig:
    """The settings of a model that its heads read, with an encoder that any physics allows."""
    return ModelConfig(
        encoder="minimum_norm", posterior_width=model.posterior_width, posterior_knots=model.posterior_knots
    )


@functools.lru_cache(maxsize=_KEPT_PROGRAMS)
def _after_network(physics: PhysicsConfig, heads: ModelConfig, estimator: EstimatorConfig) -> Programs:
    """The programs after the network, which networks of all architectures share; those of R_eff are not compiled."""
    steps, options = Pipeline(physics, PrecisionConfig(), heads, estimator), fast_compilation()
    return Programs(
        covariance=steps.covariance,
        covariance_and_field=steps.covariance_and_field,
        propose=jax.jit(steps.propose, compiler_options=options),
        decide=jax.jit(steps.decide, compiler_options=options),
        fitted=jax.jit(steps.fitted, compiler_options=options),
        peaks=jax.jit(steps.peaks, compiler_options=options),
        spectral=jax.jit(steps.spectral, compiler_options=options),
        has_likelihood=steps.has_likelihood,
    )


def sources_of(
    steps: Pipeline | Programs, params: Params, observation: Observation, effective: LowRankCovariance
) -> Estimates:
    """Return the sources of a batch from R_eff; without a likelihood those of `Pipeline.spectral`."""
    if not steps.has_likelihood:
        return steps.spectral(params, observation, effective)
    return steps.decide(params, steps.propose(observation, effective))
