"""Misspecified Cramér–Rao bound: bias and variance of maximum likelihood with a wrong manifold.

====== ==================================================================== =========
symbol meaning                                                              shape
====== ==================================================================== =========
mu_0   true mean of the snapshots                                           [L, M]
xi     parameters of the assumed model: positions, real and imaginary parts [5 K]
       of the amplitudes over their starting moduli
r(xi)  mu(xi) - mu_0, real and imaginary parts                              [2 L M]
====== ==================================================================== =========

A maximum-likelihood estimator of the assumed model converges to the pseudo-true xi* = argmin ||r(xi)||^2, and its
covariance at high SNR is bounded by sigma^2 / 2 * S^-1 (J^T J) S^-1 with J = dr/dxi and S the Hessian of ||r||^2 / 2 at
xi*. For the right manifold r(xi*) = 0, S = J^T J, and the bound is the Cramér-Rao bound.

The Hessian is a difference of nearly equal terms, so this needs x64 and float64 inputs.

References:
    S. Fortunati, F. Gini, M. S. Greco, C. D. Richmond, "Performance bounds for parameter estimation under misspecified
    models: fundamental findings and applications", IEEE Signal Processing Magazine 34 (2017),
    doi:10.1109/MSP.2017.2738017, arXiv:1709.08210.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.config import ArrayConfig
from risjax.physics.array import steering
from risjax.physics.measurement import forward
from risjax.types import Observation, Sources


class MisspecifiedCrb(NamedTuple):
    """Bias and variance of estimates with the assumed manifold; inactive slots hold zeros, and inf in ``std``.

    Attributes:
        pseudo_true: limit of the estimator, (azimuth [rad], elevation [rad], range [m]), [K, 3].
        std: root of the bound on the variance, rad, rad, m, [K, 3].
        bias: ``pseudo_true`` minus the true position, [K, 3].
        residual: ||r(xi*)||^2 / ||mu_0||^2, the share of energy outside the assumed manifold, [].
    """

    pseudo_true: Float[Array, "*batch K 3"]
    std: Float[Array, "*batch K 3"]
    bias: Float[Array, "*batch K 3"]
    residual: Float[Array, "*batch"]

    @property
    def root_mean_square_error(self) -> Float[Array, "*batch K 3"]:
        """sqrt(std^2 + bias^2), the bound on the error with respect to the truth."""
        return jnp.sqrt(self.std**2 + self.bias**2)


class _Problem(NamedTuple):
    observation: Observation
    target: Complex[Array, "L M"]
    start: Sources
    unit: Float[Array, " K"]

    def residual(self, array: ArrayConfig, parameters: Float[Array, " P"]) -> Float[Array, " Q"]:
        """r(xi), in units of the target's norm."""
        position, amplitude = self.split(parameters)
        vectors = steering(array, position, self.observation.geometry)
        vectors = jnp.where(self.start.active[:, None], vectors, 0)
        difference = (forward(self.observation, amplitude @ vectors) - self.target).ravel()
        return jnp.concatenate([difference.real, difference.imag]) / jnp.linalg.norm(self.target)

    def split(self, parameters: Float[Array, " P"]) -> tuple[Float[Array, "K 3"], Complex[Array, " K"]]:
        count = self.unit.shape[0]
        position, real, imaginary = jnp.split(parameters, [3 * count, 4 * count])
        return position.reshape(count, 3), (real + 1j * imaginary) * self.unit

    def join(self) -> Float[Array, " P"]:
        weights = self.start.amplitude / self.unit
        return jnp.concatenate([self.start.position.ravel(), weights.real, weights.imag])


def fit(
    array: ArrayConfig, observation: Observation, target: Complex[Array, "L M"], start: Sources, *, iterations: int = 40
) -> Sources:
    """Sources on the assumed manifold that minimise ||mu(xi) - target||^2, by Levenberg–Marquardt from ``start``."""
    problem = _problem(observation, target, start)
    position, amplitude = problem.split(_minimise(array, problem, iterations))
    active = start.active
    return Sources(jnp.where(active[:, None], position, 0), jnp.where(active, amplitude, 0), active)


def misspecified_crb(
    array: ArrayConfig,
    observation: Observation,
    mean: Complex[Array, "L M"],
    sources: Sources,
    noise_variance: Float[Array, ""] | float,
    *,
    iterations: int = 40,
) -> MisspecifiedCrb:
    """Misspecified Cramér–Rao bound for ``constant`` symbols.

    Args:
        array: manifold that the estimator assumes.
        observation: channel, codes and geometry that the estimator assumes; the values of the snapshots are not used.
        mean: mu_0, the snapshots without noise.
        sources: true sources, the start of the search for the pseudo-true parameters.
        noise_variance: sigma^2 of the complex noise.
        iterations: Levenberg–Marquardt steps.
    """
    problem = _problem(observation, mean, sources)
    parameters = _minimise(array, problem, iterations)

    def cost(at: Array) -> Array:
        return jnp.sum(problem.residual(array, at) ** 2) / 2

    jacobian = jax.jacfwd(lambda at: problem.residual(array, at))(parameters)
    information = jnp.matmul(jacobian.T, jacobian, precision="highest")
    used, scale = _scaling(information)
    hessian = jax.hessian(cost)(parameters) * scale[:, None] * scale[None, :] + jnp.diag(jnp.where(used, 0.0, 1.0))
    inverse = jnp.linalg.inv(hessian) * scale[:, None] * scale[None, :]
    relative_variance = noise_variance / jnp.sum(jnp.abs(mean) ** 2)
    spread = jnp.matmul(jnp.matmul(inverse, information, precision="highest"), inverse, precision="highest")
    active = sources.active[:, None]
    position, _ = problem.split(parameters)
    variance = relative_variance / 2 * jnp.diagonal(spread)[: position.size].reshape(position.shape)
    pseudo_true = jnp.where(active, position, 0)
    return MisspecifiedCrb(
        pseudo_true=pseudo_true,
        std=jnp.where(active, jnp.sqrt(variance), jnp.inf),
        bias=jnp.where(active, pseudo_true - sources.position, 0),
        residual=2 * cost(parameters),
    )


def _problem(observation: Observation, target: Complex[Array, "L M"], start: Sources) -> _Problem:
    ahead = jnp.asarray([0.0, 0.0, 1.0], start.position.dtype)
    position = jnp.where(start.active[:, None], start.position, ahead[None, :])
    modulus = jnp.abs(start.amplitude)
    return _Problem(
        observation, target, start._replace(position=position), jnp.where(start.active & (modulus > 0), modulus, 1)
    )


def _scaling(information: Float[Array, "P P"]) -> tuple[Array, Array]:
    """Parameters with information, and the scale that gives those a unit diagonal."""
    diagonal = jnp.diagonal(information)
    used = diagonal > 0
    return used, jnp.where(used, 1 / jnp.sqrt(jnp.where(used, diagonal, 1)), 1)


def _minimise(array: ArrayConfig, problem: _Problem, iterations: int) -> Float[Array, " P"]:
    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        parameters, damping = state
        residual = problem.residual(array, parameters)
        jacobian = jax.jacfwd(lambda at: problem.residual(array, at))(parameters)
        information = jnp.matmul(jacobian.T, jacobian, precision="highest")
        used, scale = _scaling(information)
        scaled = information * scale[:, None] * scale[None, :]
        scaled = scaled + jnp.diag(jnp.where(used, damping, 1.0))
        gradient = jnp.matmul(jacobian.T, residual, precision="highest") * scale
        proposal = parameters - scale * jnp.linalg.solve(scaled, gradient)
        better = jnp.sum(problem.residual(array, proposal) ** 2) < jnp.sum(residual**2)
        return (jnp.where(better, proposal, parameters), jnp.where(better, damping / 10, damping * 4)), None

    start = problem.join()
    damping = jnp.asarray(1e-3, start.dtype)
    return jax.lax.scan(step, (start, damping), length=iterations)[0][0]
