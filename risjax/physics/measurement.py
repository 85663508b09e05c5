"""Measurement y_l = H diag(c_l) x and linear estimates of x from y, without forming Phi.

====== ============================================ ============ =======
symbol meaning                                      shape        unit
====== ============================================ ============ =======
Phi    measurement matrix, row block l H diag(c_l)  [L*M, N]     1
G      Gram matrix Phi^H Phi = (H^H H) o (C^H C)    [N, N]       1
b      matched filter Phi^H y = sum_l c_l^* o H^H y_l [N]        sqrt(W)
====== ============================================ ============ =======

All functions take one observation and compute in its dtype with full matmul precision; batch by vmap.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import SceneConfig
from risjax.types import Observation


def measure(
    channel: Complex[Array, "M N"], codes: Complex[Array, "L N"], field: Complex[Array, " N"]
) -> Complex[Array, "L M"]:
    """Phi x: the noiseless snapshots of a coherent field x."""
    return jnp.matmul(codes * field[None, :], channel.T, precision="highest")


def forward(observation: Observation, field: Complex[Array, " N"]) -> Complex[Array, "L M"]:
    """Phi x with the channel and the codes of the observation."""
    return measure(observation.channel, observation.codes, field)


def matched_filter(observation: Observation) -> Complex[Array, " N"]:
    """Phi^H y."""
    back = jnp.matmul(observation.snapshots, observation.channel.conj(), precision="highest")
    return jnp.sum(observation.codes.conj() * back, axis=0)


def gram(observation: Observation) -> Complex[Array, "N N"]:
    """Phi^H Phi = (H^H H) o (C^H C), N^2 (M + L) operations instead of N^2 L M."""
    channel, codes = observation.channel, observation.codes
    return jnp.matmul(channel.conj().T, channel, precision="highest") * jnp.matmul(
        codes.conj().T, codes, precision="highest"
    )


def loaded_cholesky(matrix: Complex[Array, "N N"], alpha: Float[Array, ""]) -> Complex[Array, "N N"]:
    """Lower Cholesky factor of matrix + alpha I for a Hermitian positive semidefinite matrix."""
    loaded = matrix + alpha * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    # Hermitian already: averaging it with its transpose would be one more pass over the largest array there is.
    return jax.lax.linalg.cholesky(loaded, symmetrize_input=False)


def cholesky_solve(lower: Complex[Array, "N N"], vector: Complex[Array, " N"]) -> Complex[Array, " N"]:
    """(L L^H)^-1 vector."""
    half = jax.lax.linalg.triangular_solve(lower, vector[:, None], left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(lower, half, left_side=True, lower=True, transpose_a=True, conjugate_a=True)[
        :, 0
    ]


def solve_loaded(
    matrix: Complex[Array, "N N"], vector: Complex[Array, " N"], alpha: Float[Array, ""]
) -> Complex[Array, " N"]:
    """(matrix + alpha I)^-1 vector for a Hermitian positive semidefinite matrix, through the Cholesky factor."""
    return cholesky_solve(loaded_cholesky(matrix, alpha), vector)


def back_projection(observation: Observation, alpha: float | Float[Array, ""]) -> Complex[Array, " N"]:
    """x_hat = (Phi^H Phi + alpha I)^-1 Phi^H y, the regularised image of a coherent field on the surface.

    With alpha = noise variance over the field's mean |x_n|^2 it is the linear MMSE estimate of a white field. For
    ``per_snapshot`` symbols no common field exists: use `minimum_norm_images`.

    Args:
        observation: one scene.
        alpha: ridge weight in the units of Phi^H Phi, > 0.
    """
    matrix = gram(observation)
    return solve_loaded(matrix, matched_filter(observation), jnp.asarray(alpha, matrix.real.dtype))


class FieldFit(NamedTuple):
    """Least-squares fit of an unconstrained coherent field to the snapshots of one scene.

    Attributes:
        residual: energy that the fit leaves, ||y - Phi x_LS||^2, [].
        rank: numerical rank of Phi, [] int: pivots of the Cholesky factor of Phi^H Phi above 1e-4 of its mean
            eigenvalue.
    """

    residual: Float[Array, "*batch"]
    rank: Int[Array, "*batch"]


def require_surplus(observation: Observation) -> int:
    """Return L M - N, the number of measurements beyond the unknowns of the field.

    Raises:
        ValueError: at trace time, if there are no more measurements than elements.
    """
    (num_snapshots, num_antennas), num_elements = observation.snapshots.shape, observation.codes.shape[-1]
    surplus = num_snapshots * num_antennas - num_elements
    if surplus <= 0:
        raise ValueError(
            f"got L * M = {num_snapshots} * {num_antennas} measurements for N = {num_elements} unknowns of the field; "
            "the noise variance can only be estimated from L * M > N: use more codes or antennas"
        )
    return surplus


def fit_field(observation: Observation) -> FieldFit:
    """Fit a coherent field by least squares, whether or not it lies on the manifold of sources.

    A ridge of 1e-6 of the Gram matrix's mean eigenvalue keeps the Cholesky factor positive in float32; its share of the
    residual is below 1e-5 of the signal. A pivot of the factor is zero where a column of Phi depends linearly on those
    before it, so that the positive pivots count the rank.
    """
    matrix = gram(observation)
    mean = jnp.trace(matrix).real / matrix.shape[0]
    lower = loaded_cholesky(matrix, 1e-6 * mean)
    field = cholesky_solve(lower, matched_filter(observation))
    residual = observation.snapshots - forward(observation, field)
    pivots = jnp.diagonal(lower).real ** 2
    return FieldFit(jnp.sum(residual.real**2 + residual.imag**2), jnp.sum(pivots > 1e-4 * mean))


def noise_variance(observation: Observation, fit: FieldFit) -> Float[Array, ""]:
    """sigma^2 = ||y - Phi x_LS||^2 / (L M - N), the unbiased estimate from any coherent field; of the complex noise.

    Args:
        observation: of one scene.
        fit: its `fit_field`.

    Raises:
        ValueError: at trace time, if there are no more measurements than elements.
    """
    return fit.residual / require_surplus(observation)


def minimum_norm_images(observation: Observation, alpha: float | Float[Array, ""]) -> Complex[Array, "L N"]:
    """x_l = Phi_l^H (Phi_l Phi_l^H + alpha I)^-1 y_l, one image a snapshot, for ``per_snapshot`` symbols.

    With M equations for N unknowns, each image is the projection of the field onto M dimensions.

    Args:
        observation: one scene.
        alpha: ridge weight in the units of Phi_l Phi_l^H, > 0.
    """
    channel, codes = observation.channel, observation.codes
    power = codes.real**2 + codes.imag**2
    grams = jnp.einsum("mn,ln,kn->lmk", channel, power.astype(channel.dtype), channel.conj(), precision="highest")
    weights = jax.vmap(solve_loaded, in_axes=(0, 0, None))(
        grams, observation.snapshots, jnp.asarray(alpha, power.dtype)
    )
    return codes.conj() * jnp.matmul(weights, channel.conj(), precision="highest")


def require_common_field(scene: SceneConfig, purpose: str) -> None:
    """Raise unless all snapshots of a scene have the same field.

    Args:
        scene: distribution of the scenes.
        purpose: what needs the common field, for the message.

    Raises:
        ValueError: symbols change from snapshot to snapshot.
    """
    if scene.symbols != "constant":
        raise ValueError(
            f"got scene.symbols = {scene.symbols}, expected constant: {purpose} needs one coherent field in all "
            "snapshots. Without one use model.encoder = minimum_norm or the method sparse"
        )
