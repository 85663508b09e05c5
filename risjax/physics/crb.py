"""Cramér-Rao bounds on where the sources are.

====== ====================================================== ============ =====
symbol meaning                                                shape        unit
====== ====================================================== ============ =====
eta    positions (azimuth, elevation, range) of the K sources [K, 3]       rad, rad, m
mu     Phi A(eta) alpha, mean of the snapshots                [L, M]       sqrt(W)
alpha  complex amplitudes, nuisance parameters                [K]          sqrt(W)
J      Fisher information of eta with the nuisance projected  [3 K, 3 K]
       out
====== ====================================================== ============ =====

Derivatives of the manifold are exact, by forward-mode autodiff of `risjax.physics.array.steering`, whatever its
wavefront. Bounds are computed in the observation's dtype after scaling every parameter to unit information; in
float32 they are good to a relative 1e-3 as long as the scaled information's condition number stays below 1e4, and two
sources that coincide give a huge finite bound. Batch by vmap.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import ArrayConfig
from risjax.physics.array import cartesian, steering
from risjax.physics.measurement import forward, measure
from risjax.types import Observation, Sources


class Bound(NamedTuple):
    """The least error that an unbiased estimator can have on one scene.

    Attributes:
        std: root of the bound on the variance of each of (azimuth, elevation, range), rad, rad, m, [K, 3]; inf where
            inactive.
        position_m: root of the bound on the mean squared distance in space, [K]; inf where inactive.
        covariance: bound on the covariance of all positions, [3 K, 3 K], source by source; zero where inactive.
    """

    std: Float[Array, "*batch K 3"]
    position_m: Float[Array, "*batch K"]
    covariance: Float[Array, "*batch P P"]


def deterministic_crb(
    array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Float[Array, ""] | float
) -> Bound:
    """The bound for ``constant`` symbols, amplitudes unknown and deterministic.

    J = 2 / sigma^2 Re(D^H P D) with D the derivatives of mu by the positions and P the projector orthogonal to the
    sources' own images Phi a_k. An unknown noise variance costs nothing: it is decoupled.

    Args:
        array: the surface and its wavefront.
        observation: channel, codes and geometry that the receiver knows; the snapshots' values are not used.
        sources: where the sources are and their complex amplitudes.
        noise_variance: sigma^2 of the complex noise.
    """
    position, active = _safe_positions(sources)
    amplitude = jnp.where(active, sources.amplitude, 0)
    vectors, derivatives = _manifold(array, position, observation)
    images = _images(observation, jnp.where(active[:, None], vectors, 0))
    slopes = _images(observation, (derivatives * amplitude[:, None, None]).reshape(-1, vectors.shape[-1]))
    projected = _project_out(_project_out(slopes, images, active), images, active)
    information = 2 / noise_variance * jnp.matmul(projected.conj(), projected.T, precision="highest").real
    return _bound(information, position, active)


def stochastic_crb(
    array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Float[Array, ""] | float
) -> Bound:
    """The bound for ``per_snapshot`` Gaussian symbols: y_l is CN(0, C_l), the powers and the noise variance unknown.

    C_l = Phi_l A diag(|amplitude|^2) A^H Phi_l^H + sigma^2 I, J_ij = sum_l tr(C_l^-1 dC_l/di C_l^-1 dC_l/dj).

    Args:
        array: the surface and its wavefront.
        observation: channel, codes and geometry that the receiver knows; the snapshots' values are not used.
        sources: where the sources are; |amplitude|^2 is the expected power.
        noise_variance: sigma^2 of the complex noise.
    """
    position, active = _safe_positions(sources)
    power = jnp.where(active, jnp.abs(sources.amplitude) ** 2, 0)
    variance = jnp.asarray(noise_variance, power.dtype)

    def covariances(position: Array, log_power: Array, log_variance: Array) -> Complex[Array, "L M M"]:
        vectors = jnp.where(active[:, None], steering(array, position, observation.geometry), 0)
        images = jax.vmap(lambda vector: forward(observation, vector), out_axes=-1)(vectors)
        scaled = images * (jnp.sqrt(power) * jnp.exp(log_power / 2))[None, None, :]
        signal = jnp.einsum("lmk,lnk->lmn", scaled, scaled.conj(), precision="highest")
        return signal + variance * jnp.exp(log_variance) * jnp.eye(signal.shape[-1])[None]

    zeros, zero = jnp.zeros_like(power), jnp.zeros_like(variance)
    lower = jnp.linalg.cholesky(covariances(position, zeros, zero))
    slopes = jax.jacfwd(covariances, argnums=(0, 1, 2))(position, zeros, zero)
    num_snapshots, num_antennas = lower.shape[:2]
    stacked = jnp.concatenate(
        [slope.reshape(num_snapshots, num_antennas, num_antennas, -1) for slope in slopes], axis=-1
    )
    half = _solve_lower(lower, jnp.moveaxis(stacked, -1, 1))
    white = _solve_lower(lower, half.conj().swapaxes(-1, -2))
    information = jnp.einsum("lpmn,lqmn->pq", white, white.conj(), precision="highest").real
    wanted = position.size
    nuisance_active = jnp.concatenate([active, jnp.ones(1, bool)])
    cross, nuisance = information[:wanted, wanted:], information[wanted:, wanted:]
    explained = cross @ _scaled_inverse(nuisance, nuisance_active) @ cross.T
    return _bound(information[:wanted, :wanted] - explained, position, active)


def _solve_lower(lower: Complex[Array, "L M M"], right: Complex[Array, "L P M M"]) -> Complex[Array, "L P M M"]:
    stacked = jnp.broadcast_to(lower[:, None], right.shape)
    return jax.lax.linalg.triangular_solve(stacked, right, left_side=True, lower=True)


def _safe_positions(sources: Sources) -> tuple[Float[Array, "K 3"], Bool[Array, " K"]]:
    """Positions with inactive slots moved to where the manifold and its derivative exist."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)
    return jnp.where(sources.active[:, None], sources.position, ahead[None, :]), sources.active


def _manifold(
    array: ArrayConfig, position: Float[Array, "K 3"], observation: Observation
) -> tuple[Complex[Array, "K N"], Complex[Array, "K 3 N"]]:
    """Steering vectors and their derivatives by azimuth, elevation and range."""
    geometry, dtype = observation.geometry, observation.channel.dtype
    derivative = jax.vmap(jax.jacfwd(lambda one: steering(array, one, geometry)))(position)
    return steering(array, position, geometry).astype(dtype), derivative.swapaxes(-1, -2).astype(dtype)


def _images(observation: Observation, fields: Complex[Array, "P N"]) -> Complex[Array, "P LM"]:
    """Phi times each row."""
    return jax.vmap(lambda field: measure(observation.channel, observation.codes, field).ravel())(fields)


def _project_out(
    rows: Complex[Array, "P LM"], images: Complex[Array, "K LM"], active: Bool[Array, " K"]
) -> Complex[Array, "P LM"]:
    """Rows less their parts in the span of the images; applied twice it is orthogonal to working precision."""
    norm = jnp.sqrt(jnp.sum(jnp.abs(images) ** 2, axis=-1, keepdims=True))
    unit = images / jnp.where(norm > 0, norm, 1)
    inner = jnp.matmul(unit.conj(), unit.T, precision="highest")
    inverse = _scaled_inverse(inner, active)
    weights = inverse @ jnp.matmul(unit.conj(), rows.T, precision="highest")
    return rows - jnp.matmul(weights.T, unit, precision="highest")


def _scaled_inverse(matrix: Array, active: Bool[Array, " P"]) -> Array:
    """Inverse of a Hermitian positive matrix over its active rows, zero elsewhere, scaled to a unit diagonal inside."""
    diagonal = jnp.where(active, jnp.diagonal(matrix).real, 0)
    scale = jnp.where(diagonal > 0, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 0)
    scaled = matrix * scale[:, None] * scale[None, :]
    used = scale > 0
    # The loading keeps a singular matrix (two equal sources) finite; below 1e-6 of a unit diagonal nothing is known.
    loading = 4 * jnp.finfo(diagonal.dtype).eps
    lower = jnp.linalg.cholesky(scaled + jnp.diag(jnp.where(used, loading, 1.0)).astype(matrix.dtype))
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    half = jax.lax.linalg.triangular_solve(lower, identity, left_side=True, lower=True)
    inverse = jnp.matmul(half.conj().T, half, precision="highest")
    return inverse * scale[:, None] * scale[None, :]


def _bound(information: Float[Array, "P P"], position: Float[Array, "K 3"], active: Bool[Array, " K"]) -> Bound:
    """From the information of all positions to standard deviations and distances."""
    covariance = _scaled_inverse(information, jnp.repeat(active, 3))
    count = position.shape[0]
    blocks = jnp.moveaxis(jnp.diagonal(covariance.reshape(count, 3, count, 3), axis1=0, axis2=2), -1, 0)
    variance = jnp.where(active[:, None], jnp.diagonal(blocks, axis1=-2, axis2=-1), jnp.inf)
    jacobian = jax.vmap(jax.jacfwd(cartesian))(position)
    squared_m2 = jnp.einsum("kci,kij,kcj->k", jacobian, blocks, jacobian, precision="highest")
    return Bound(jnp.sqrt(variance), jnp.sqrt(jnp.where(active, squared_m2, jnp.inf)), covariance)
