"""The joint polish for per-snapshot symbols: stochastic maximum likelihood in positions, powers and noise variance.

====== ================================================================ =============
symbol meaning                                                          shape
====== ================================================================ =============
p_k    expected power of source k                                       [K]
C_l    sum_k p_k d_kl d_kl^H + sigma^2 I with d_kl = H diag(c_l) a_k,   [M, M]
       covariance of y_l
V      sum_l log det C_l + y_l^H C_l^-1 y_l, to be minimised            []
B_il   L_l^-1 (dC_l / d theta_i) L_l^-H with L_l L_l^H = C_l            [M, M]
====== ================================================================ =============

With z_l = L_l^-1 y_l the gradient of V is sum_l tr B_il - z_l^H B_il z_l, and its expected Hessian, which is the
Fisher information, sum_l tr B_il B_jl (Stoica and Nehorai 1990): Fisher scoring, damped as Levenberg and Marquardt do.
A cell of the sparse fit's grid is where it starts; the neighbours of a grid point, which hold part of an off-grid
source's power there and bias its peak by a hundredth of a beamwidth, have no part in it.

float32: the noise variance is kept above 1e-4 of the snapshots' mean power, so that C_l can be factorised.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.config import PhysicsConfig
from risjax.estimators.joint_ml import _scaled_solve
from risjax.physics.array import steering_at
from risjax.spectral.grid import field_of_view, into_field, to_cosines, to_position
from risjax.types import Estimates, Observation

NOISE_FLOOR = 1e-4
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
_LONGEST_STEP = (0.1, 0.1, 0.5)


def _solve_lower(lower: Complex[Array, "*shape M M"], right: Complex[Array, "*shape M C"]) -> Complex[Array, "..."]:
    return jax.lax.linalg.triangular_solve(lower, right, left_side=True, lower=True)


def polish_stochastic(
    observation: Observation, estimates: Estimates, physics: PhysicsConfig, *, iterations: int
) -> Estimates:
    """Moves sources to the nearest optimum of the stochastic likelihood, one scene; for ``per_snapshot`` symbols.

    Args:
        observation: snapshots, channel and codes.
        estimates: position, active and |amplitude|^2, the power, are read.
        physics: array and field of view.
        iterations: steps; one that does not lower V is refused and damped.

    Returns:
        The same sources in the same slots, ``amplitude`` the root of the fitted power, ``std`` from the Fisher
        information with powers and noise variance unknown, ``score`` the power in dB below the scene's highest. A scene
        that is not finite comes back empty.
    """
    snapshots, channel, codes = observation[:3]
    active, slots = estimates.active, estimates.active.shape[0]
    real = snapshots.real.dtype
    energy = jnp.mean(snapshots.real**2 + snapshots.imag**2)
    scale = jnp.where(energy > 0, energy, 1.0)
    outer = (snapshots / jnp.sqrt(scale))[:, :, None]
    field = field_of_view(physics)
    # Powers in units of what a source gives the snapshots on average, so that all parameters are of order one.
    lift = jnp.mean(jnp.sum(jnp.abs(channel) ** 2, axis=1)) / channel.shape[1]

    def covariances(theta: Float[Array, " P"]) -> Complex[Array, "L M M"]:
        cosines, powers, noise = theta[: 3 * slots].reshape(slots, 3), theta[3 * slots : -1], theta[-1]
        vectors = steering_at(physics.array, cosines, observation.geometry)
        vectors = vectors * jnp.exp(0.5 * powers)[:, None]
        vectors = jnp.where(active[:, None], vectors, 0) / jnp.sqrt(lift)
        images = jnp.matmul(codes[:, None, :] * vectors[None], channel.T, precision="highest")
        signal = jnp.matmul(jnp.swapaxes(images, 1, 2), images.conj(), precision="highest")
        return signal + jnp.exp(noise) * jnp.eye(channel.shape[0], dtype=signal.dtype)[None]

    def evaluate(theta: Float[Array, " P"]) -> tuple[Array, Array, Array]:
        lower = jnp.linalg.cholesky(covariances(theta))
        slopes = jnp.moveaxis(jax.jacfwd(covariances)(theta), -1, 1)
        stacked = jnp.broadcast_to(lower[:, None], slopes.shape)
        half = _solve_lower(stacked, slopes)
        white = _solve_lower(stacked, jnp.swapaxes(half, -1, -2).conj())
        z = _solve_lower(lower, outer)[:, :, 0]
        diagonal = jnp.diagonal(lower, axis1=1, axis2=2).real
        value = jnp.sum(2 * jnp.log(diagonal)) + jnp.sum(z.real**2 + z.imag**2)
        traces = jnp.sum(jnp.trace(white, axis1=2, axis2=3).real, axis=0)
        quadratic = jnp.einsum("lm,lpmn,ln->p", z.conj(), white, z, precision="highest").real
        information = jnp.einsum("lpmn,lqmn->pq", white, white.conj(), precision="highest").real
        return value, traces - quadratic, information

    limits = jnp.asarray([*_LONGEST_STEP * slots, *[1.0] * (slots + 1)], real)
    used = jnp.concatenate([jnp.repeat(active, 3), active, jnp.ones(1, bool)])
    floor = jnp.log(jnp.asarray(NOISE_FLOOR, real))

    def held(theta: Float[Array, " P"]) -> Float[Array, " P"]:
        cosines = into_field(theta[: 3 * slots].reshape(slots, 3), field)
        return jnp.concatenate([cosines.reshape(-1), theta[3 * slots : -1], jnp.maximum(theta[-1:], floor)])

    def free(theta: Float[Array, " P"], gradient: Float[Array, " P"]) -> Array:
        """Parameters that may move: not a range or the noise variance that the gradient presses against its end."""
        s, slope = theta[2 : 3 * slots : 3], gradient[2 : 3 * slots : 3]
        outward = jnp.where(slope > 0, s <= field.s[0], s >= field.s[1])
        mask = used.at[jnp.arange(slots) * 3 + 2].set(active & ~outward)
        return mask.at[-1].set((theta[-1] > floor) | (gradient[-1] < 0))

    def body(_: Array | int, state: tuple) -> tuple:
        theta, (value, gradient, information), damping = state
        moving = free(theta, gradient)
        curvature = jnp.where(moving[:, None] & moving[None, :], information, 0.0)
        step = _scaled_solve(curvature, jnp.where(moving, gradient, 0.0), damping)
        trial = held(theta - jnp.clip(step, -limits, limits))
        there = evaluate(trial)
        better = there[0] < value
        kept = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, there), (theta, (value, gradient, information))
        )
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 4), _LEAST_DAMPING, _MOST_DAMPING)
        return *kept, damping

    position = jnp.where(active[:, None], estimates.position, 1.0).astype(real)
    power = jnp.abs(estimates.amplitude) ** 2 * lift / scale
    # A spectrum's heights are no powers where nothing scaled them; all sources start within 40 dB of the snapshots.
    powers = jnp.log(jnp.clip(jnp.where(active & jnp.isfinite(power), power, 1.0), 1e-4, 1e4))
    start = jnp.concatenate([to_cosines(position).reshape(-1), powers, jnp.log(jnp.full(1, 0.1, real))]).astype(real)
    size = start.shape[0]
    nowhere = (jnp.full((), jnp.inf, real), jnp.zeros(size, real), jnp.zeros((size, size), real))
    initial = (held(start), nowhere, jnp.asarray(1e-2, real))
    theta, (value, _, information), _ = jax.lax.fori_loop(0, iterations + 1, body, initial)

    good = active & jnp.isfinite(value) & (energy > 0)
    cosines = theta[: 3 * slots].reshape(slots, 3)
    fitted = jnp.where(good, jnp.exp(theta[3 * slots : -1]) * scale / lift, 0.0)
    information = jnp.where(used[:, None] & used[None, :], information, 0.0)
    covariance = jax.vmap(lambda row: _scaled_solve(information, row, jnp.asarray(0.0, real)))(
        jnp.eye(size, dtype=real)
    )
    blocks = covariance[: 3 * slots, : 3 * slots].reshape(slots, 3, slots, 3)[jnp.arange(slots), :, jnp.arange(slots)]
    jacobian = jax.vmap(jax.jacfwd(to_position))(cosines)
    variance = jnp.einsum("kij,kjl,kil->ki", jacobian, blocks, jacobian, precision="highest")
    tiny = jnp.finfo(real).tiny
    level = 10 * jnp.log10(jnp.maximum(fitted, tiny) / jnp.maximum(jnp.max(fitted), tiny))
    row = good[:, None]
    return estimates._replace(
        position=jnp.where(row, to_position(cosines), 0.0),
        amplitude=jnp.sqrt(fitted).astype(snapshots.dtype),
        active=good,
        std=jnp.where(row, jnp.sqrt(jnp.maximum(variance, 0.0)), jnp.inf),
        score=jnp.where(good, level, 0.0),
    )
