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

from risjax.physics.measurement import (
    FieldFit,
    cholesky_solve,
    fit_field,
    gram,
    loaded_cholesky,
    matched_filter,
    noise_variance,
)
from risjax.types import Observation

NOISE_TO_SIGNAL_RANGE = (1e-6, 1e3)
"""Bounds of sigma^2 L M / (p_x tr Phi^H Phi). Below the lower one, float32's Cholesky factorisation loses the small
pivots; above the upper one, the energy balance contains no signal."""


class MeasuredField(NamedTuple):
    """Part of one scene's field that the snapshots determine.

    Attributes:
        fit: unconstrained least-squares fit of the field to the snapshots.
        degrees_of_freedom: tr[Phi^H Phi (Phi^H Phi + alpha I)^-1] at rho = 1, the dimensions of the field that are
            observed above the noise, between 0 and N, [].
        evenness: these degrees of freedom over those of a Phi with equal singular values and the same energy, N / (1 +
            alpha N / tr Phi^H Phi), between 0 and 1, [].
    """

    fit: FieldFit
    degrees_of_freedom: Float[Array, "*batch"]
    evenness: Float[Array, "*batch"]


class FieldImages(NamedTuple):
    """Images of the coherent field at several regularisations.

    Attributes:
        field: x_hat, one image per regularisation, [A, N].
        noise_to_signal: estimated noise energy over estimated signal energy in the snapshots, [].
        measured: the field's fit and degrees of freedom, from the factors of the images. A program that does not
            return it does not compute it.
    """

    field: Complex[Array, "*batch A N"]
    noise_to_signal: Float[Array, "*batch"]
    measured: MeasuredField


def noise_to_signal(observation: Observation) -> Float[Array, ""]:
    """Estimated noise energy over estimated signal energy in the snapshots of one scene, within bounds."""
    return _noise_to_signal(observation, fit_field(observation))


def _noise_to_signal(observation: Observation, fit: FieldFit) -> Float[Array, ""]:
    snapshots = observation.snapshots
    energy = _energy(snapshots)
    noise_energy = noise_variance(observation, fit) * snapshots.size
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


def regularised_images(observation: Observation, multiples: tuple[float, ...]) -> FieldImages:
    """Images of one scene's field for ridge weights ``multiples`` times sigma^2 / p_x as estimated from the data.

    Args:
        observation: observation of one scene; batch by vmap.
        multiples: rho of each image; the first is 1, whose factor also gives the degrees of freedom.

    Raises:
        ValueError: at trace time, if the first multiple is not 1, or unless L M > N.
    """
    if multiples[0] != 1:
        raise ValueError(f"got multiples {multiples} of the noise-to-signal ratio, expected the first to be 1")
    fit = fit_field(observation)
    ratio = _noise_to_signal(observation, fit)
    ridges = jnp.asarray(multiples, ratio.dtype) * ridge(observation, ratio)
    factors = jax.vmap(loaded_cholesky, in_axes=(None, 0))(gram(observation), ridges)
    fields = jax.vmap(cholesky_solve, in_axes=(0, None))(factors, matched_filter(observation))
    freedom = factors.shape[-1] - ridges[0] * _inverse_energy(factors[0])
    even = factors.shape[-1] / (1 + ratio * factors.shape[-1] / observation.snapshots.size)
    return FieldImages(fields, ratio, MeasuredField(fit, freedom, freedom / even))


def _inverse_energy(lower: Complex[Array, "N N"]) -> Float[Array, ""]:
    """||L^-1||_F^2 = tr (L L^H)^-1 of a lower triangular matrix, by halves: three quarters of the time of L^-1."""
    half = lower.shape[0] // 2
    first, last = _inverse(lower[:half, :half]), _inverse(lower[half:, half:])
    between = jnp.matmul(last, jnp.matmul(lower[half:, :half], first, precision="highest"), precision="highest")
    return _energy(first) + _energy(last) + _energy(between)


def _inverse(lower: Complex[Array, "n n"]) -> Complex[Array, "n n"]:
    identity = jnp.eye(lower.shape[0], dtype=lower.dtype)
    return jax.lax.linalg.triangular_solve(lower, identity, left_side=True, lower=True)


def _energy(values: Complex[Array, "..."]) -> Float[Array, ""]:
    return jnp.sum(values.real**2 + values.imag**2)
