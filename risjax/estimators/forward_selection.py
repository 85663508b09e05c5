"""Forward selection: sources are added one at a time and refined together.

Source k + 1 starts at the point of a coarse grid of (u, v, 1/r) with the largest decrease of the residual,

    gain(a) = |a^H (b - G A alpha)|^2 / (a^H G a - a^H G A S^-1 A^H G a),

which is exact for fixed positions of the other sources. Then all k + 1 sources move together to the nearest optimum of
the likelihood. The number of sources follows from the residuals of the fits: source k + 1 is kept if

    2 L M ln(rho_k / rho_(k+1)) > penalty * 5 ln(2 L M),

with 2 L M real data, five real parameters of each source and unknown noise variance; penalty 1 is BIC.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.estimators.fit import Fit
from risjax.estimators.joint_ml import maximise
from risjax.estimators.likelihood import SufficientStatistics, solve_hermitian, steering_and_derivatives
from risjax.spectral.grid import Grid, field_of_view

PARAMETERS_PER_SOURCE = 5
"""Azimuth, elevation, range, and the two parts of the amplitude."""


class Path(NamedTuple):
    """The greedy fits with 0, 1, ..., K sources.

    Attributes:
        fits: fits with 1, ..., K sources, leading axis K.
        residuals: residual energy with 0, ..., K sources, [K + 1].
    """

    fits: Fit
    residuals: Float[Array, " K1"]


def search_energy(data: SufficientStatistics, vectors: Complex[Array, "G N"]) -> Float[Array, " G"]:
    """a^H G a of every steering vector."""
    image = jnp.matmul(data.gram, vectors.T, precision="highest")
    return jnp.sum((vectors.T.conj() * image).real, axis=0)


class HeldSources(NamedTuple):
    """The sources of a fit at fixed positions.

    Attributes:
        image: G A, [N, K].
        gram: A^H G A, positive definite also with inactive slots, [K, K].
        residual: b - G A alpha, [N].
    """

    image: Complex[Array, "N K"]
    gram: Complex[Array, "K K"]
    residual: Complex[Array, " N"]


def hold(data: SufficientStatistics, physics: PhysicsConfig, fit: Fit) -> HeldSources:
    """The sources of ``fit``, for `joining_gain`."""
    vectors, _ = steering_and_derivatives(physics.array, fit.cosines, data.geometry)
    vectors = jnp.where(fit.active[None, :], vectors, 0)
    image = jnp.matmul(data.gram, vectors, precision="highest")
    small = jnp.matmul(vectors.conj().T, image, precision="highest")
    scale = jnp.maximum(jnp.max(jnp.diagonal(data.gram).real), jnp.finfo(fit.residual.dtype).tiny)
    small = small + jnp.diag(jnp.where(fit.active, 0, scale)).astype(small.dtype)
    return HeldSources(image, small, data.filtered - jnp.sum(image * fit.amplitude[None, :], axis=1))


def joining_gain(held: HeldSources, vectors: Complex[Array, "G N"], energy: Float[Array, " G"]) -> Float[Array, " G"]:
    """Decrease of the residual if a source at a steering vector is added to a fit with fixed positions.

    Args:
        held: sources already selected.
        vectors: steering vectors of the candidate positions.
        energy: their `search_energy`.
    """
    columns = jnp.concatenate([held.residual[:, None], held.image], axis=1)
    both = jnp.matmul(vectors.conj(), columns, precision="highest")
    correlation, overlap = both[:, 0], both[:, 1:]
    explained = jnp.sum((overlap * solve_hermitian(held.gram, overlap.conj().T).T).real, axis=1)
    left = jnp.maximum(energy - explained, 1e-2 * energy + jnp.finfo(energy.dtype).tiny)
    gain = (correlation.real**2 + correlation.imag**2) / left
    return jnp.where(jnp.isfinite(gain), gain, -jnp.inf)


def gain_on_grid(
    data: SufficientStatistics, physics: PhysicsConfig, fit: Fit, grid: Grid, energy: Array
) -> Float[Array, " G"]:
    """`joining_gain` of every grid point; -inf outside the field of view."""
    gain = joining_gain(hold(data, physics, fit), grid.steering, energy)
    return jnp.where(grid.inside.reshape(-1), gain, -jnp.inf)


def empty_fit(data: SufficientStatistics, physics: PhysicsConfig, dtype: jnp.dtype) -> Fit:
    """Fit without sources, whose residual is the energy of the snapshots."""
    slots, field = physics.scene.max_sources, field_of_view(physics)
    return Fit(
        cosines=jnp.full((slots, 3), 0.5 * (field.s[0] + field.s[1]), dtype),
        active=jnp.zeros(slots, bool),
        amplitude=jnp.zeros(slots, data.filtered.dtype),
        contribution=jnp.zeros(slots, dtype),
        residual=data.energy,
        gradient=jnp.zeros((slots, 3), dtype),
        curvature=jnp.zeros((3 * slots, 3 * slots), dtype),
    )


def greedy_path(data: SufficientStatistics, physics: PhysicsConfig, estimator: EstimatorConfig, grid: Grid) -> Path:
    """Fits with 1 ... K_max sources, each started from the one before; ``grid`` is on the scene's own surface."""
    slots = physics.scene.max_sources
    energy = search_energy(data, grid.steering)
    points = grid.cosines.reshape(-1, 3)

    def body(fit: Fit, index: Array) -> tuple[Fit, Fit]:
        here = jnp.argmax(gain_on_grid(data, physics, fit, grid, energy))
        cosines = fit.cosines.at[index].set(points[here])
        active = fit.active.at[index].set(True)
        fit = maximise(data, physics, cosines, active, iterations=estimator.greedy.iterations)
        return fit, fit

    _, fits = jax.lax.scan(body, empty_fit(data, physics, points.dtype), jnp.arange(slots))
    return Path(fits, jnp.concatenate([data.energy[None], fits.residual]))


def count_by_residual(
    residuals: Float[Array, " K1"], num_measurements: Float[Array, ""], penalty: float
) -> Int[Array, ""]:
    """Number of sources k that minimises 2 L M ln(rho_k) + penalty 5 k ln(2 L M)."""
    data = 2.0 * num_measurements
    floor = residuals[0] * 10 * jnp.finfo(residuals.dtype).eps + jnp.finfo(residuals.dtype).tiny
    sources = jnp.arange(residuals.shape[0], dtype=residuals.dtype)
    cost = data * jnp.log(jnp.maximum(residuals, floor)) + penalty * PARAMETERS_PER_SOURCE * jnp.log(data) * sources
    return jnp.argmin(cost)
