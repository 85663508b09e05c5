"""Stochastic maximum likelihood for per-snapshot symbols: positions, powers and noise variance.

====== ================================================================ =============
symbol meaning                                                          shape
====== ================================================================ =============
p_k    expected power of source k                                       [K]
C_l    sum_k p_k d_kl d_kl^H + sigma^2 I with d_kl = H diag(c_l) a_k,   [M, M]
       covariance of y_l
theta  (u, v, s) of the sources, log p_k, log sigma^2                   [4 K + 1]
V      sum_l log det C_l + y_l^H C_l^-1 y_l, to be minimised            []
B_il   G_l^-1 (dC_l / d theta_i) G_l^-H with G_l G_l^H = C_l            [M, M]
====== ================================================================ =============

With z_l = G_l^-1 y_l the gradient of V is sum_l tr B_il - z_l^H B_il z_l, and its expected Hessian, which is the
Fisher information, is sum_l tr B_il B_jl. The minimisation is Fisher scoring with the damping of Levenberg and
Marquardt. It starts at the peaks of the sparse fit. Unlike the sparse fit it is unbiased for sources between grid
points, whose power the sparse fit distributes over neighbouring points.

float32: sigma^2 is at least 1e-4 of the mean power of the snapshots, so that C_l can be factorised.

References:
    P. Stoica, A. Nehorai, "Performance study of conditional and unconditional direction-of-arrival estimation", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 38 (1990), doi:10.1109/29.60109.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import ArrayConfig, PhysicsConfig
from risjax.estimators.joint_ml import damped_solve
from risjax.physics.array import steering_at
from risjax.physics.scaling import in_units_of, normalise_scene, restore_estimates
from risjax.spectral.grid import Field, field_of_view, into_field, to_cosines, to_position
from risjax.types import Estimates, Observation

NOISE_FLOOR = 1e-4
"""Smallest noise variance, relative to the mean power of the snapshots."""
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
_LONGEST_STEP = (0.1, 0.1, 0.5)
"""Largest step of (u, v, s)."""


class Evaluation(NamedTuple):
    """V and its derivatives at some parameters.

    Attributes:
        value: V, [].
        gradient: dV / d theta, [P].
        information: Fisher information of theta, [P, P].
    """

    value: Float[Array, ""]
    gradient: Float[Array, " P"]
    information: Float[Array, "P P"]


class StochasticLikelihood(NamedTuple):
    """The likelihood of one scene, with snapshots of unit mean power.

    Attributes:
        array: the surface and its wavefront.
        field: field of view.
        observation: snapshots divided by the root of ``scale``, channel and codes.
        active: slots that hold a source, [K].
        scale: mean |y|^2 of the snapshots, 1 for an empty scene, [].
        lift: mean power in the snapshots of a source of unit power, [].
    """

    array: ArrayConfig
    field: Field
    observation: Observation
    active: Bool[Array, " K"]
    scale: Float[Array, ""]
    lift: Float[Array, ""]

    @property
    def is_used(self) -> Bool[Array, " P"]:
        """Parameters of active sources, and the noise variance."""
        return jnp.concatenate([jnp.repeat(self.active, 3), self.active, jnp.ones(1, bool)])

    def split(self, theta: Float[Array, " P"]) -> tuple[Float[Array, "K 3"], Float[Array, " K"], Float[Array, ""]]:
        """(u, v, s), log powers times ``lift`` over ``scale``, and log noise variance over ``scale``."""
        count = self.active.shape[0]
        return theta[: 3 * count].reshape(count, 3), theta[3 * count : -1], theta[-1]

    def covariances(self, theta: Float[Array, " P"]) -> Complex[Array, "L M M"]:
        """C_l over ``scale``."""
        cosines, log_powers, log_noise = self.split(theta)
        channel, codes = self.observation.channel, self.observation.codes
        vectors = steering_at(self.array, cosines, self.observation.geometry)
        vectors = vectors * jnp.exp(0.5 * log_powers)[:, None]
        vectors = jnp.where(self.active[:, None], vectors, 0) / jnp.sqrt(self.lift)
        images = jnp.matmul(codes[:, None, :] * vectors[None], channel.T, precision="highest")
        signal = jnp.matmul(jnp.swapaxes(images, 1, 2), images.conj(), precision="highest")
        return signal + jnp.exp(log_noise) * jnp.eye(channel.shape[0], dtype=signal.dtype)[None]

    def evaluate(self, theta: Float[Array, " P"]) -> Evaluation:
        """V, its gradient and the Fisher information."""
        lower = jnp.linalg.cholesky(self.covariances(theta))
        slopes = jnp.moveaxis(jax.jacfwd(self.covariances)(theta), -1, 1)
        stacked = jnp.broadcast_to(lower[:, None], slopes.shape)
        half = _solve_lower(stacked, slopes)
        white = _solve_lower(stacked, jnp.swapaxes(half, -1, -2).conj())
        z = _solve_lower(lower, self.observation.snapshots[:, :, None])[:, :, 0]
        diagonal = jnp.diagonal(lower, axis1=1, axis2=2).real
        value = jnp.sum(2 * jnp.log(diagonal)) + jnp.sum(z.real**2 + z.imag**2)
        traces = jnp.sum(jnp.trace(white, axis1=2, axis2=3).real, axis=0)
        quadratic = jnp.einsum("lm,lpmn,ln->p", z.conj(), white, z, precision="highest").real
        information = jnp.einsum("lpmn,lqmn->pq", white, white.conj(), precision="highest").real
        return Evaluation(value, traces - quadratic, information)

    def into_domain(self, theta: Float[Array, " P"]) -> Float[Array, " P"]:
        """theta with positions inside the field of view and the noise variance at `NOISE_FLOOR` or above."""
        cosines, log_powers, log_noise = self.split(theta)
        inside = into_field(cosines, self.field).reshape(-1)
        return jnp.concatenate([inside, log_powers, jnp.maximum(log_noise, self._floor(theta))[None]])

    def is_free(self, theta: Float[Array, " P"], gradient: Float[Array, " P"]) -> Bool[Array, " P"]:
        """Parameters that may move: all used ones but ranges and a noise variance that leave the domain downhill."""
        count = self.active.shape[0]
        s, slope = theta[2 : 3 * count : 3], gradient[2 : 3 * count : 3]
        outward = jnp.where(slope > 0, s <= self.field.s[0], s >= self.field.s[1])
        mask = self.is_used.at[jnp.arange(count) * 3 + 2].set(self.active & ~outward)
        return mask.at[-1].set((theta[-1] > self._floor(theta)) | (gradient[-1] < 0))

    def _floor(self, theta: Array) -> Array:
        return jnp.log(jnp.asarray(NOISE_FLOOR, theta.dtype))


def polish_stochastic(
    observation: Observation, estimates: Estimates, physics: PhysicsConfig, *, iterations: int
) -> Estimates:
    """Move sources to the nearest optimum of the stochastic likelihood, one scene; for ``per_snapshot`` symbols.

    Args:
        observation: snapshots, channel and codes.
        estimates: the start; position, active and |amplitude|^2, the power, are used.
        physics: array and field of view.
        iterations: number of steps. A step that does not lower V is rejected, and the damping increases.

    Returns:
        The same sources in the same slots. ``amplitude`` is the root of the fitted power, ``std`` follows from the
        Fisher information with unknown powers and noise variance, and ``score`` is the power relative to that of the
        strongest source in dB. A scene with values that are not finite has no active source.
    """
    unit, scale = normalise_scene(observation)
    return restore_estimates(_polish(unit, in_units_of(estimates, scale), physics, iterations), scale)


def _polish(observation: Observation, estimates: Estimates, physics: PhysicsConfig, iterations: int) -> Estimates:
    """`polish_stochastic` of a normalised scene."""
    likelihood = make_likelihood(observation, estimates.active, physics)
    theta, there = minimise(likelihood, initial_parameters(likelihood, estimates), iterations=iterations)
    cosines, log_powers, _ = likelihood.split(theta)
    snapshots = likelihood.observation.snapshots
    has_energy = jnp.any((snapshots.real != 0) | (snapshots.imag != 0))
    good = estimates.active & jnp.isfinite(there.value) & has_energy
    power = jnp.where(good, jnp.exp(log_powers) * likelihood.scale / likelihood.lift, 0.0)
    tiny = jnp.finfo(power.dtype).tiny
    level_db = 10 * jnp.log10(jnp.maximum(power, tiny) / jnp.maximum(jnp.max(power), tiny))
    row = good[:, None]
    return estimates._replace(
        position=jnp.where(row, to_position(cosines), 0.0),
        amplitude=jnp.sqrt(power).astype(observation.snapshots.dtype),
        active=good,
        std=jnp.where(row, standard_deviations(likelihood, cosines, there.information), jnp.inf),
        score=jnp.where(good, level_db, 0.0),
    )


def make_likelihood(
    observation: Observation, active: Bool[Array, " K"], physics: PhysicsConfig
) -> StochasticLikelihood:
    """The likelihood of one scene for the given active slots."""
    snapshots, channel = observation.snapshots, observation.channel
    energy = jnp.mean(snapshots.real**2 + snapshots.imag**2)
    scale = jnp.where(energy > 0, energy, 1.0)
    lift = jnp.mean(jnp.sum(jnp.abs(channel) ** 2, axis=1)) / channel.shape[1]
    scaled = observation._replace(snapshots=snapshots / jnp.sqrt(scale))
    return StochasticLikelihood(physics.array, field_of_view(physics), scaled, active, scale, lift)


def initial_parameters(likelihood: StochasticLikelihood, estimates: Estimates) -> Float[Array, " P"]:
    """theta at the estimates, with powers within 40 dB of the snapshots' and a noise variance of a tenth of it."""
    active, real = estimates.active, likelihood.scale.dtype
    position = jnp.where(active[:, None], estimates.position, 1.0).astype(real)
    power = jnp.abs(estimates.amplitude) ** 2 * likelihood.lift / likelihood.scale
    # The clip is needed for methods whose heights of a spectrum are not powers.
    log_powers = jnp.log(jnp.clip(jnp.where(active & jnp.isfinite(power), power, 1.0), 1e-4, 1e4))
    parts = [to_cosines(position).reshape(-1), log_powers, jnp.log(jnp.full(1, 0.1, real))]
    return jnp.concatenate(parts).astype(real)


def minimise(
    likelihood: StochasticLikelihood, start: Float[Array, " P"], *, iterations: int
) -> tuple[Float[Array, " P"], Evaluation]:
    """Minimise V from ``start`` by damped Fisher scoring; return the parameters and V there."""
    size, real, count = start.shape[0], start.dtype, likelihood.active.shape[0]
    limits = jnp.asarray([*_LONGEST_STEP * count, *[1.0] * (count + 1)], real)

    def body(_: Array | int, state: tuple) -> tuple:
        theta, here, damping = state
        free = likelihood.is_free(theta, here.gradient)
        curvature = jnp.where(free[:, None] & free[None, :], here.information, 0.0)
        step = damped_solve(curvature, jnp.where(free, here.gradient, 0.0), damping)
        trial = likelihood.into_domain(theta - jnp.clip(step, -limits, limits))
        there = likelihood.evaluate(trial)
        better = there.value < here.value
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), (trial, there), (theta, here))
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 4), _LEAST_DAMPING, _MOST_DAMPING)
        return *kept, damping

    # The first pass has gradient zero and evaluates the start, so that V is traced once.
    nowhere = Evaluation(jnp.full((), jnp.inf, real), jnp.zeros(size, real), jnp.zeros((size, size), real))
    initial = (likelihood.into_domain(start), nowhere, jnp.asarray(1e-2, real))
    theta, there, _ = jax.lax.fori_loop(0, iterations + 1, body, initial)
    return theta, there


def standard_deviations(
    likelihood: StochasticLikelihood, cosines: Float[Array, "K 3"], information: Float[Array, "P P"]
) -> Float[Array, "K 3"]:
    """Standard deviations of (azimuth, elevation, range) from the Fisher information of theta."""
    count, used = cosines.shape[0], likelihood.is_used
    information = jnp.where(used[:, None] & used[None, :], information, 0.0)
    undamped = jnp.asarray(0.0, information.dtype)
    identity = jnp.eye(information.shape[0], dtype=information.dtype)
    covariance = jax.vmap(lambda row: damped_solve(information, row, undamped))(identity)
    index = jnp.arange(count)
    blocks = covariance[: 3 * count, : 3 * count].reshape(count, 3, count, 3)[index, :, index]
    jacobian = jax.vmap(jax.jacfwd(to_position))(cosines)
    variance = jnp.einsum("kij,kjl,kil->ki", jacobian, blocks, jacobian, precision="highest")
    return jnp.sqrt(jnp.maximum(variance, 0.0))


def _solve_lower(lower: Complex[Array, "*shape M M"], right: Complex[Array, "*shape M C"]) -> Complex[Array, "..."]:
    return jax.lax.linalg.triangular_solve(lower, right, left_side=True, lower=True)
