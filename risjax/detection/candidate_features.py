"""Features of the candidates of every fit, the inputs of the posterior head.

For every fit of the elimination and every candidate in it: the energy that it explains, its strength relative to the
others with the path loss removed, its position and standard deviations, the learned spectrum at it, and the increase of
the residual with one candidate fewer. No feature depends on the units of a scene, since neither its noise level nor its
power is known.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from risjax.config import PhysicsConfig
from risjax.detection.candidates import Elimination
from risjax.estimators.fit import Fit, noise_from_residual, standard_deviations
from risjax.estimators.likelihood import SufficientStatistics
from risjax.spectral.grid import field_of_view, to_position


class RangeLikelihood(NamedTuple):
    """Log-likelihood of each candidate's inverse range with all other parameters at their best, as a quadratic.

    Attributes:
        peak: 1/r at the end of the fit [1/m].
        std: of 1/r, from the Fisher information [1/m].
        slope: of the log-likelihood at the peak [m]; not zero where the fit ended on the edge of the field of view.
    """

    peak: Float[Array, "*batch K"]
    std: Float[Array, "*batch K"]
    slope: Float[Array, "*batch K"]


class CandidateFeatures(NamedTuple):
    """Features of the candidates of one fit.

    Attributes:
        values: features of each candidate, [K, F]; zero in inactive slots.
        active: [K].
        likelihood: of each candidate's range.
        std: standard deviations of (azimuth, elevation, range), [K, 3].
    """

    values: Float[Array, "*batch K F"]
    active: Bool[Array, "*batch K"]
    likelihood: RangeLikelihood
    std: Float[Array, "*batch K 3"]


def num_features(slots: int) -> int:
    """Return F, the number of features of a candidate among so many slots."""
    return 15 + slots


def _log(x: Array) -> Array:
    return jnp.log(jnp.maximum(x, jnp.finfo(x.dtype).tiny))


def drops(elimination: Elimination, data: SufficientStatistics) -> Float[Array, " K"]:
    """Return 2 L M ln(rho_k / rho_(k+1)), the gain of k + 1 candidates over k; zero in empty fits."""
    floor = data.energy * 10 * jnp.finfo(data.energy.dtype).eps + jnp.finfo(data.energy.dtype).tiny
    logs = jnp.log(jnp.maximum(elimination.residuals, floor))
    held = jnp.any(elimination.fits.active, axis=1)
    return jnp.where(held, 2.0 * data.num_measurements * (logs[:-1] - logs[1:]), 0.0)


def uncertainty(fit: Fit, data: SufficientStatistics) -> tuple[Float[Array, ""], Float[Array, "K 3"], RangeLikelihood]:
    """Return the noise variance of a fit, standard deviations of its positions, and the likelihood of its ranges."""
    noise = jnp.maximum(noise_from_residual(fit, data.num_measurements), jnp.finfo(fit.residual.dtype).tiny)
    std, s = standard_deviations(fit, noise, fit.cosines), fit.cosines[:, 2]
    slope = jnp.where(fit.active, -2.0 * fit.gradient[:, 2] / noise, 0.0)
    return noise, std, RangeLikelihood(s, jnp.clip(std[:, 2] * s**2, 1e-6, 1e3), slope)


def candidate_features(
    fit: Fit, level: Float[Array, " K"], drop: Float[Array, " K"], data: SufficientStatistics, physics: PhysicsConfig
) -> CandidateFeatures:
    """Return the features of the candidates of one fit.

    Args:
        fit: of one scene.
        level: of `Elimination`, for this fit.
        drop: of `drops`, for the scene.
        data: the scene's statistics.
        physics: field of view.
    """
    field, slots = field_of_view(physics), fit.active.shape[0]
    noise, std, likelihood = uncertainty(fit, data)
    position, s, s_std = to_position(fit.cosines), likelihood.peak, likelihood.std
    gradient = jnp.einsum("kpkq->kpq", fit.curvature.reshape(slots, 3, slots, 3))[:, 2, 2]
    count = jnp.sum(fit.active)

    def centred(x: Array) -> Array:
        return x - jnp.sum(jnp.where(fit.active, x, 0.0)) / jnp.maximum(count, 1)

    amplitude = _log(jnp.abs(fit.amplitude))
    columns = [
        jnp.log1p(fit.contribution / noise),
        centred(amplitude),
        centred(amplitude + _log(position[:, 2])),
        jnp.broadcast_to(_log(data.energy / jnp.maximum(fit.residual, jnp.finfo(s.dtype).tiny)), slots),
        _log(jnp.clip(std[:, 0], 1e-6, 1e3)),
        _log(jnp.clip(std[:, 1], 1e-6, 1e3)),
        _log(s_std),
        _log(s),
        (s - field.s[0]) / (field.s[1] - field.s[0]),
        fit.cosines[:, 0],
        fit.cosines[:, 1],
        level,
        jnp.broadcast_to(count / slots, slots),
        _log(jnp.maximum(gradient / noise, 1e-6)),
        jnp.where(s <= field.s[0] * (1 + 1e-5), 1.0, 0.0),
    ]
    shared = jnp.broadcast_to(jnp.log1p(jnp.maximum(drop, 0.0))[None, :], (slots, slots))
    features = jnp.concatenate([jnp.stack(columns, axis=1), shared], axis=1)
    finite = jnp.all(jnp.isfinite(features), axis=1) & fit.active & jnp.isfinite(fit.residual)
    return CandidateFeatures(
        values=jnp.where(finite[:, None], features, 0.0),
        active=finite,
        likelihood=likelihood._replace(slope=jnp.where(finite, likelihood.slope, 0.0)),
        std=std,
    )
