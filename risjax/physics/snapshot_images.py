"""Images of fields that change from snapshot to snapshot (``per_snapshot`` symbols), one for each snapshot.

The image of a snapshot is its regularised minimum-norm solution in the metric of R_0:

    x_l = R_0 D_l^H H^H (H D_l R_0 D_l^H H^H + alpha I)^-1 y_l,    D_l = diag(c_l),    alpha = rho * sigma^2 / p_x

R_0, of trace N, is the mean covariance of fields from the field of view (`risjax.physics.field_of_view`); at R_0 = I
these are the minimum-norm images (`risjax.physics.measurement.minimum_norm_images`), which contain much less of the
sources (benchmarks in docs/learning.md). M equations for N unknowns leave no residual from which the noise could be
estimated. For a white field y_l would have the covariance p_x H H^H + sigma^2 I, and sigma^2 / p_x maximises the
likelihood of all snapshots under that model. The field of few sources is not white, so the ratio is a ridge weight
chosen by the data rather than a noise level; over the default scenes its logarithm has a correlation of -0.8 with the
SNR in dB.

All functions compute in the observation's dtype, complex64 or complex128.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.physics.measurement import solve_loaded
from risjax.types import Observation

WHITE_RATIOS_DB = tuple(range(-30, 21))
"""Candidate ratios of noise energy to signal energy, in dB, for the likelihood of a white field."""


class SnapshotImages(NamedTuple):
    """Images of the field of each snapshot at several regularisations.

    Attributes:
        fields: x_l for each regularisation and snapshot, [A, L, N].
        noise_to_signal: noise energy over signal energy in the snapshots under the model of a white field, [].
    """

    fields: Complex[Array, "*batch A L N"]
    noise_to_signal: Float[Array, "*batch"]


def snapshot_images(
    observation: Observation, prior: Complex[Array, "N r"], multiples: tuple[float, ...]
) -> SnapshotImages:
    """Images of one scene's snapshots for ridge weights ``multiples`` times the one chosen by the data.

    Args:
        observation: observation of one scene; batch by vmap.
        prior: factor of R_0, from `risjax.physics.field_of_view.view_factor`.
        multiples: rho of each set of images.
    """
    snapshots, channel, codes = observation[:3]
    real = snapshots.real.dtype
    through = jnp.matmul(channel[None] * codes[:, None, :], prior, precision="highest")
    grams = jnp.matmul(through, jnp.swapaxes(through.conj(), 1, 2), precision="highest")
    level = jnp.mean(jnp.diagonal(grams, axis1=1, axis2=2).real)
    noise_to_signal = _noise_to_signal(observation)
    ridges = jnp.asarray(multiples, real) * (noise_to_signal * jnp.where(level > 0, level, 1.0))
    solve = jax.vmap(jax.vmap(solve_loaded, in_axes=(0, 0, None)), in_axes=(None, None, 0))
    weights = solve(grams, snapshots, ridges)
    within = jnp.matmul(weights[:, :, None, :], through.conj()[None], precision="highest")[:, :, 0]
    return SnapshotImages(jnp.matmul(within, prior.T, precision="highest"), noise_to_signal)


def _noise_to_signal(observation: Observation) -> Float[Array, ""]:
    """sigma^2 over p_x tr(H H^H) / M under the model of a white field, for codes of unit modulus."""
    snapshots, channel = observation.snapshots, observation.channel
    values, vectors = jnp.linalg.eigh(jnp.matmul(channel, channel.conj().T, precision="highest"))
    values = jnp.maximum(values, 0.0)
    mean_value = jnp.mean(values)
    turned = jnp.matmul(snapshots, vectors.conj(), precision="highest")
    energies = jnp.mean(turned.real**2 + turned.imag**2, axis=0)
    return _white_ratio(values / jnp.where(mean_value > 0, mean_value, 1.0), energies)


def _white_ratio(values: Float[Array, " M"], energies: Float[Array, " M"]) -> Float[Array, ""]:
    """Ratio q that maximises the likelihood of energies with means p (values + q) over p and q, values of mean 1.

    Minimises sum_m log(values_m + q) + M log sum_m energies_m / (values_m + q), which is the result for the best p.
    """
    ratios = 10.0 ** (jnp.asarray(WHITE_RATIOS_DB, values.dtype) / 10)
    means = values[None, :] + ratios[:, None]
    total = jnp.sum(energies[None, :] / means, axis=1)
    misfit = jnp.sum(jnp.log(means), axis=1) + values.shape[0] * jnp.log(jnp.where(total > 0, total, 1.0))
    return ratios[jnp.argmin(misfit)]
