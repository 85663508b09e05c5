"""Regularised images of the field on the surface, from the observation alone.

    x_hat(alpha) = (Phi^H Phi + alpha I)^-1 Phi^H y,    alpha = rho * sigma^2 / p_x

with the noise variance sigma^2 from the least-squares residual and the field's mean power p_x of an element from the
energy balance E||y||^2 = p_x tr(Phi^H Phi) + L M sigma^2. At rho = 1 this is the linear minimum-mean-square-error
estimate of a white field. All functions compute in the observation's dtype, complex64 or complex128.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.physics.measurement import back_projection, gram, loaded_cholesky, noise_variance
from risjax.types import Observation

NOISE_TO_SIGNAL_RANGE = (1e-6, 1e3)
"""Bounds of sigma^2 L M / (p_x tr Phi^H Phi). Below the lower one, float32's Cholesky factorisation loses the small
pivots; above the upper one, the energy balance contains no signal."""


class FieldImages(NamedTuple):
    """Images of the coherent field at several regularisations.

    Attributes:
        field: x_hat, one image per regularisation, [A, N].
        noise_to_signal: estimated noise energy over estimated signal energy in the snapshots, [].
    """

    field: Complex[Array, "*batch A N"]
    noise_to_signal: Float[Array, "*batch"]


def noise_to_signal(observation: Observation) -> Float[Array, ""]:
    """Estimated noise energy over estimated signal energy in the snapshots of one scene, within bounds."""
    snapshots = observation.snapshots
    energy = jnp.sum(snapshots.real**2 + snapshots.imag**2)
    noise_energy = noise_variance(observation) * snapshots.size
    low, high = NOISE_TO_SIGNAL_RANGE
    # Clipped before the division: a scene of pure noise has no signal energy by this balance.
    signal_energy = jnp.maximum(energy - noise_energy, noise_energy / high)
    ratio = noise_energy / jnp.where(signal_energy > 0, signal_energy, 1.0)
    return jnp.clip(ratio, low, high)


def ridge(observation: Observation, ratio: Float[Array, ""]) -> Float[Array, ""]:
    """alpha = sigma^2 / p_x of one scene, [].

    Args:
        observation: observation of one scene.
        ratio: its `noise_to_signal`.
    """
    # tr(Phi^H Phi) / (L M) = ||H||_F^2 / M for codes of unit modulus; exact for impaired ones too:
    trace = jnp.sum(
        jnp.sum(jnp.abs(observation.channel) ** 2, axis=0) * jnp.sum(jnp.abs(observation.codes) ** 2, axis=0)
    )
    return ratio * trace / observation.snapshots.size


def degrees_of_freedom(observation: Observation) -> Float[Array, ""]:
    """tr[Phi^H Phi (Phi^H Phi + alpha I)^-1], the dimensions of the field that are observed above the noise, [].

    Between 0 (nothing is seen) and N. alpha = sigma^2 / p_x is that of the first image, so that the factor is shared.
    """
    alpha = ridge(observation, noise_to_signal(observation))
    lower = loaded_cholesky(gram(observation), alpha)
    identity = jnp.eye(lower.shape[0], dtype=lower.dtype)
    inverse = jax.lax.linalg.triangular_solve(lower, identity, left_side=True, lower=True)
    return lower.shape[0] - alpha * jnp.sum(inverse.real**2 + inverse.imag**2)


def regularised_images(observation: Observation, multiples: tuple[float, ...]) -> FieldImages:
    """Images of one scene's field for ridge weights ``multiples`` times sigma^2 / p_x as estimated from the data.

    Args:
        observation: observation of one scene; batch by vmap.
        multiples: rho of each image.
    """
    ratio = noise_to_signal(observation)
    ridges = jnp.asarray(multiples, ratio.dtype) * ridge(observation, ratio)
    return FieldImages(jax.vmap(lambda alpha: back_projection(observation, alpha))(ridges), ratio)
