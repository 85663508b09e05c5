"""A local maximum of the likelihood, and what is reported of it.

The Fisher information at the maximum gives the standard deviations, its residual the noise variance.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from risjax.estimators.likelihood import SufficientStatistics
from risjax.spectral.grid import to_position
from risjax.types import Estimates


class Fit(NamedTuple):
    """A local maximum of the likelihood.

    Attributes:
        cosines: (u, v, s), [K, 3].
        active: [K].
        amplitude: [K].
        contribution: increase of the residual without each source, [K].
        residual: residual energy, [].
        gradient: half of that of the residual, [K, 3]; not zero at bounds of the field of view.
        curvature: T of `risjax.estimators.likelihood`, [3K, 3K].
    """

    cosines: Float[Array, "*batch K 3"]
    active: Bool[Array, "*batch K"]
    amplitude: Complex[Array, "*batch K"]
    contribution: Float[Array, "*batch K"]
    residual: Float[Array, "*batch"]
    gradient: Float[Array, "*batch K 3"]
    curvature: Float[Array, "*batch K3 K3"]


def keep_if(fit: Fit, condition: Bool[Array, ""]) -> Fit:
    """``fit`` if the condition holds, else without active sources."""
    return fit._replace(active=fit.active & condition)


def standard_deviations(
    fit: Fit, noise_variance: Float[Array, ""], cosines: Float[Array, "K 3"]
) -> Float[Array, "K 3"]:
    """Standard deviations of (azimuth, elevation, range) from the Fisher information 2 T / noise variance.

    That of the range is r^2 times that of 1/r (delta method), because the likelihood is nearly Gaussian in 1/r.
    """
    curvature = fit.curvature
    slots = fit.active.shape[0]
    diagonal = jnp.diagonal(curvature)
    used = diagonal > 0
    scale = jnp.where(used, jax.lax.rsqrt(jnp.where(used, diagonal, 1.0)), 0.0)
    unit = curvature * scale[:, None] * scale[None, :] + jnp.diag(jnp.where(used, 1e-7, 1.0))
    identity = jnp.eye(3 * slots, dtype=unit.dtype)
    inverse = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(unit), True), identity)
    covariance = 0.5 * noise_variance * inverse * scale[:, None] * scale[None, :]
    blocks = covariance.reshape(slots, 3, slots, 3)[jnp.arange(slots), :, jnp.arange(slots), :]
    jacobian = jax.vmap(jax.jacfwd(to_position))(cosines)
    variance = jnp.einsum("kij,kjl,kil->ki", jacobian, blocks, jacobian, precision="highest")
    is_positive = variance > 0  # the derivative of the root is infinite at zero, where inactive slots are
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, variance, 1.0)), 0.0)


def noise_from_residual(fit: Fit, num_measurements: Float[Array, ""]) -> Float[Array, ""]:
    """Noise variance of the fit: its residual over the remaining complex degrees of freedom."""
    used = 2.5 * jnp.sum(fit.active)
    return jnp.maximum(fit.residual, 0.0) / jnp.maximum(num_measurements - used, 1.0)


def estimates_from_fit(
    fit: Fit,
    data: SufficientStatistics,
    *,
    position: Float[Array, "K 3"] | None = None,
    std: Float[Array, "K 3"] | None = None,
    existence: Float[Array, " K"] | None = None,
) -> Estimates:
    """A fit as `Estimates`, strongest first.

    ``score`` is the increase of the residual without the source over the noise variance, which is the log-likelihood
    ratio for fixed positions and fitted amplitudes.

    Args:
        fit: fit of one scene.
        data: statistics of the scene.
        position: positions to report in place of those of the fit.
        std: standard deviations to report in place of those of the Fisher information.
        existence: probabilities of existence; None reports NaN.
    """
    noise_variance = noise_from_residual(fit, data.num_measurements)
    position = to_position(fit.cosines) if position is None else position
    std = standard_deviations(fit, noise_variance, fit.cosines) if std is None else std
    power = jnp.where(fit.active, jnp.abs(fit.amplitude) ** 2, -1.0)
    existence = jnp.full_like(power, jnp.nan) if existence is None else existence
    order = jnp.argsort(-power)
    active, finite = fit.active[order], jnp.isfinite(fit.residual)
    active = active & finite
    row = active[:, None]
    score = fit.contribution / jnp.maximum(noise_variance, jnp.finfo(power.dtype).tiny)
    return Estimates(
        position=jnp.where(row, position[order], 0.0),
        amplitude=jnp.where(active, fit.amplitude[order], 0),
        active=active,
        std=jnp.where(row, std[order], jnp.inf),
        score=jnp.where(active, score[order], 0.0),
        existence=jnp.where(active, existence[order], jnp.where(jnp.isnan(existence[order]), jnp.nan, 0.0)),
    )
