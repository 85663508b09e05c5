"""Candidates, or peaks, with a posterior head's judgement, as sources."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.candidates import Elimination
from risjax.estimators.decision import decide_count, decide_range, range_posterior
from risjax.estimators.evidence import Evidence
from risjax.estimators.forward import count_by_residual
from risjax.estimators.grid import field_of_view, to_position
from risjax.estimators.likelihood import Statistics
from risjax.estimators.polish import estimates_from_fit, keep_if
from risjax.estimators.search import Peaks, estimates_from_peaks
from risjax.types import Estimates


def existence_of_slots(elimination: Elimination, probability: Float[Array, " K"]) -> Float[Array, " K"]:
    """Each slot's probability: what was said of it when it was the weakest; zero in slots never filled."""
    held = jnp.any(elimination.fits.active, axis=1)
    slots = jnp.arange(probability.shape[0])
    mine = (elimination.weakest[:, None] == slots[None, :]) & held[:, None]
    return jnp.sum(jnp.where(mine, probability[:, None], 0.0), axis=0)


def sources_by_residual(elimination: Elimination, data: Statistics, penalty: float) -> Estimates:
    """Without a posterior head: the number by the criterion of the forward search, positions as fitted."""
    count = count_by_residual(elimination.residuals, data.num_measurements, penalty)
    fit = jax.tree.map(lambda leaf: leaf[jnp.maximum(count - 1, 0)], elimination.fits)
    return estimates_from_fit(keep_if(fit, (count > 0) & jnp.isfinite(data.energy)), data)


def sources_by_posterior(
    elimination: Elimination,
    evidence: Evidence,
    existence: Float[Array, "K K"],
    log_range: Float[Array, "K K B"],
    data: Statistics,
    physics: PhysicsConfig,
    estimator: EstimatorConfig,
) -> Estimates:
    """The sources of one scene.

    Args:
        elimination: of the scene's candidates.
        evidence: of each of its fits, a leading axis K.
        existence: logits of every candidate in every fit.
        log_range: log-priors of every candidate's range in every fit.
        data: the scene's statistics.
        physics: field of view.
        estimator: ``estimator.posterior``.

    Returns:
        As `estimates_from_fit`, with ranges and their standard deviations from the posterior, and ``existence``.
    """
    settings = estimator.posterior
    held = jnp.any(evidence.active, axis=1)
    of_weakest = jnp.take_along_axis(existence, elimination.weakest[:, None], axis=1)[:, 0]
    probability = jax.nn.sigmoid(of_weakest)
    count = decide_count(probability, held, settings.existence)
    index = jnp.maximum(count - 1, 0)
    fit, chosen = jax.tree.map(lambda leaf: leaf[index], (elimination.fits, evidence))
    ranged = decide_range(
        range_posterior(chosen.likelihood, log_range[index], field_of_view(physics)), settings.range_window_m
    )
    position = to_position(fit.cosines).at[:, 2].set(ranged.range_m)
    return estimates_from_fit(
        keep_if(fit, (count > 0) & jnp.isfinite(data.energy)),
        data,
        position=position,
        std=chosen.std.at[:, 2].set(ranged.std_m),
        existence=existence_of_slots(elimination, probability),
    )


def sources_at_peaks(
    peaks: Peaks, logit: Float[Array, " J"], physics: PhysicsConfig, estimator: EstimatorConfig
) -> Estimates:
    """The peaks of one scene that are likely to be sources, at most K_max, the likeliest.

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
