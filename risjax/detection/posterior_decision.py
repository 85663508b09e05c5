"""Sources from candidates or peaks and the output of a posterior head."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.config.estimator import PosteriorConfig
from risjax.detection.candidate_features import CandidateFeatures, uncertainty
from risjax.detection.candidates import Elimination
from risjax.detection.decision import decide_count, decide_range, range_posterior
from risjax.estimators.fit import estimates_from_fit, keep_if
from risjax.estimators.forward_selection import count_by_residual
from risjax.estimators.joint_ml import maximise
from risjax.estimators.likelihood import SufficientStatistics
from risjax.spectral.grid import Field, field_of_view, to_position
from risjax.spectral.peak_search import Peaks, estimates_from_peaks
from risjax.types import Estimates, Sources


class DecisionSettings(NamedTuple):
    """Settings of a decision as scalars that may be traced; `PosteriorConfig` has attributes of the same names.

    Attributes:
        existence: smallest utility of a reported candidate.
        range_share: weight of a right range.
        range_window_m: error of a right range [m].
    """

    existence: Float[Array, ""]
    range_share: Float[Array, ""]
    range_window_m: Float[Array, ""]


class PosteriorDecision(NamedTuple):
    """Decision on the candidates of one scene.

    Attributes:
        probability: that the weakest candidate of each fit is a source, [K]; 0 or 1 without a posterior head.
        count: how many candidates are reported, [].
        log_range: log-priors of every candidate's range in every fit, [K, K, B]; None without a posterior head.
    """

    probability: Float[Array, "*batch K"]
    count: Int[Array, "*batch"]
    log_range: Float[Array, "*batch K K B"] | None


def _dropped_from(elimination: Elimination) -> Bool[Array, "K K"]:
    """Mask of the weakest slot of each fit, [fit, slot]; empty for a fit that does not exist."""
    held = jnp.any(elimination.fits.active, axis=1)
    return (elimination.weakest[:, None] == jnp.arange(held.shape[0])[None, :]) & held[:, None]


def existence_of_slots(elimination: Elimination, probability: Float[Array, " K"]) -> Float[Array, " K"]:
    """Return the probability of each slot, from the fit in which it was the weakest; zero in empty slots."""
    return jnp.sum(jnp.where(_dropped_from(elimination), probability[:, None], 0.0), axis=0)


def decide_by_residual(elimination: Elimination, data: SufficientStatistics, penalty: float) -> PosteriorDecision:
    """Return the decision without a posterior head, by the criterion of the forward search."""
    count = count_by_residual(elimination.residuals, data.num_measurements, penalty)
    reported = jnp.arange(elimination.weakest.shape[0]) < count
    return PosteriorDecision(jnp.where(reported, 1.0, 0.0), count, None)


def decide_by_posterior(
    weakest: Int[Array, " K"],
    features: CandidateFeatures,
    existence: Float[Array, "K K"],
    log_range: Float[Array, "K K B"],
    field: Field,
    settings: PosteriorConfig | DecisionSettings,
) -> PosteriorDecision:
    """Return the decision of the posterior head on one scene.

    Args:
        weakest: of `Elimination`.
        features: of each of its fits, a leading axis K.
        existence: logits of every candidate in every fit, of the head.
        log_range: log-priors of every candidate's range in every fit, of the head.
        field: bounds of 1/r.
        settings: the threshold, the window of a right range, and its weight.
    """
    fits = jnp.arange(weakest.shape[0])
    likelihood, prior, logit = jax.tree.map(
        lambda leaf: leaf[fits, weakest], (features.likelihood, log_range, existence)
    )
    ranged = decide_range(range_posterior(likelihood, prior, field), settings.range_window_m)
    probability = jax.nn.sigmoid(logit)
    held = jnp.any(features.active, axis=1)
    count = decide_count(
        probability, ranged.within, held, threshold=settings.existence, range_share=settings.range_share
    )
    return PosteriorDecision(probability, count, log_range)


def at_optimum(
    elimination: Elimination,
    decision: PosteriorDecision,
    data: SufficientStatistics,
    physics: PhysicsConfig,
    iterations: int,
) -> Elimination:
    """Return the elimination of one scene with the fit that the decision selects moved to its optimum.

    The fits of the elimination are a few steps away from theirs, by up to a tenth of a standard deviation, which
    depends on where they started.

    Args:
        elimination: of the scene's candidates.
        decision: number of candidates that are reported.
        data: the scene's statistics.
        physics: array and field of view.
        iterations: Levenberg-Marquardt steps.
    """
    index = jnp.maximum(decision.count - 1, 0)
    chosen = jax.tree.map(lambda leaf: leaf[index], elimination.fits)
    fit = maximise(data, physics, chosen.cosines, chosen.active, iterations=iterations)
    fits = jax.tree.map(lambda leaves, leaf: leaves.at[index].set(leaf), elimination.fits, fit)
    return elimination._replace(fits=fits)


def reported_sources(
    elimination: Elimination,
    decision: PosteriorDecision,
    data: SufficientStatistics,
    physics: PhysicsConfig,
    settings: PosteriorConfig | DecisionSettings,
) -> Estimates:
    """Return the reported sources of one scene.

    Args:
        elimination: of the scene's candidates, `at_optimum`.
        decision: number, probabilities and log-priors of ranges.
        data: the scene's statistics.
        physics: field of view.
        settings: the window of a right range.

    Returns:
        As `estimates_from_fit`; with a posterior head's decision ranges and their standard deviations are those of the
        range's posterior, and ``existence`` is finite.
    """
    index = jnp.maximum(decision.count - 1, 0)
    fit = jax.tree.map(lambda leaf: leaf[index], elimination.fits)
    fit = keep_if(fit, (decision.count > 0) & jnp.isfinite(data.energy))
    if decision.log_range is None:
        return estimates_from_fit(fit, data)
    _, std, likelihood = uncertainty(fit, data)
    posterior = range_posterior(likelihood, decision.log_range[index], field_of_view(physics))
    ranged = decide_range(posterior, settings.range_window_m)
    return estimates_from_fit(
        fit,
        data,
        position=to_position(fit.cosines).at[:, 2].set(ranged.range_m),
        std=std.at[:, 2].set(ranged.std_m),
        existence=existence_of_slots(elimination, decision.probability),
    )


def weighted_candidates(elimination: Elimination, decision: PosteriorDecision) -> Sources:
    """Return all candidates of one scene, reported or not, amplitudes times the roots of their probabilities.

    The covariance of these, sum_k p_k |alpha_k|^2 a_k a_k^H, is the expected covariance. Each candidate is that of
    the smallest fit that contains it and all reported candidates.
    """
    dropped = _dropped_from(elimination)
    at = jnp.maximum(jnp.argmax(dropped, axis=0), decision.count - 1)
    slots = jnp.arange(at.shape[0])
    fits = elimination.fits
    weight = jnp.sqrt(existence_of_slots(elimination, decision.probability))
    amplitude = weight * fits.amplitude[at, slots]
    active = jnp.any(dropped, axis=0) & jnp.isfinite(fits.residual[at]) & jnp.isfinite(amplitude)
    position = to_position(fits.cosines[at, slots])
    return Sources(jnp.where(active[:, None], position, 0.0), jnp.where(active, amplitude, 0), active)


def sources_at_peaks(
    peaks: Peaks, logit: Float[Array, " J"], physics: PhysicsConfig, estimator: EstimatorConfig
) -> Estimates:
    """Return the peaks of one scene that are likely to be sources, at most K_max, the likeliest first.

    Args:
        peaks: of the scene's spectrum.
        logit: of each peak's existence.
        physics: slots.
        estimator: ``posterior.existence``, the least probability.

    Returns:
        As `estimates_from_peaks`, with ``existence``; likeliest first.
    """
    probability = jnp.where(peaks.alive, jax.nn.sigmoid(logit), 0.0)
    ranked, index = jax.lax.top_k(probability, physics.scene.max_sources)
    active = peaks.alive[index] & (ranked >= estimator.posterior.existence)
    return estimates_from_peaks(peaks.cosines[index], peaks.heights[index], active, ranked)
