"""Cramér–Rao bounds on the positions of the sources.

====== ===================================================== ============ =========
symbol meaning                                               shape        unit
====== ===================================================== ============ =========
eta    positions (azimuth, elevation, range) of the sources  [K, 3]       rad, rad, m
mu     Phi A(eta) alpha, mean of the snapshots               [L, M]       sqrt(W)
alpha  complex amplitudes, nuisance parameters               [K]          sqrt(W)
C_l    covariance of snapshot l for random symbols           [M, M]       W
sigma2 variance of the complex noise                         []           W
====== ===================================================== ============ =========

Derivatives of the steering vectors are exact, by forward-mode automatic differentiation of
`risjax.physics.array.steering`, for every wavefront. A parameter without information has an infinite bound.

`deterministic_crb` and `stochastic_crb` take one scene and are batched by `jax.vmap`. Both compute in float64, also
inside a program that is traced without x64, and return the observation's precision: two sources 0.03 degrees apart have
an azimuth with a standard deviation of 93 rad, for which float32 gives 0.1 rad. A value is right to 1 % or infinite.

Both have a reverse-mode derivative by every argument (no forward mode). A bound that is infinite has gradient zero.
Active sources in exactly the same place cannot be separated and have infinite bounds; the other sources of their scene
then have the bounds of a scene that holds one of them. `crb_in_float64` evaluates a batch of scenes for a report.

References:
    P. Stoica, A. Nehorai, "Performance study of conditional and unconditional direction-of-arrival estimation", IEEE
    Transactions on Acoustics, Speech, and Signal Processing 38 (1990), doi:10.1109/29.60109.
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import ArrayConfig
from risjax.physics.array import cartesian, steering
from risjax.physics.fisher import InverseInformation, inverse_information
from risjax.physics.measurement import forward, measure
from risjax.types import Observation, Sources

_SCENES_PER_BATCH = 64


class CramerRaoBound(NamedTuple):
    """Smallest error that an unbiased estimator can have on one scene.

    Attributes:
        std: root of the bound on the variance of each of (azimuth, elevation, range), rad, rad, m, [K, 3]; inf where
            the slot is inactive or the data do not determine it.
        position_m: root of the bound on the mean squared distance in space, [K]; inf likewise.
        covariance: bound on the covariance of all positions, [3 K, 3 K], source by source; zero in rows and columns
            whose ``std`` is inf.
    """

    std: Float[Array, "*batch K 3"]
    position_m: Float[Array, "*batch K"]
    covariance: Float[Array, "*batch P P"]


Crb = Callable[[ArrayConfig, Observation, Sources, Float[Array, ""] | float], CramerRaoBound]
"""`deterministic_crb` or `stochastic_crb`."""

_Tree = TypeVar("_Tree")


def widened(tree: _Tree) -> _Tree:
    """A tree with its real leaves in float64 and its complex ones in complex128; booleans unchanged."""

    def widen(leaf: Array | np.ndarray) -> Array | np.ndarray:
        if leaf.dtype == bool:
            return leaf
        return leaf.astype(jnp.complex128 if jnp.iscomplexobj(leaf) else jnp.float64)

    return jax.tree.map(widen, tree)


def _computed_in_float64(crb: Callable[[ArrayConfig, Observation, Sources, Array], CramerRaoBound]) -> Crb:
    """``crb`` in float64 whatever the precision of its arguments, and its result in theirs.

    The reverse-mode rule is stated here because JAX transposes a traced program outside the context that enables x64.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def computed(
        array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Array
    ) -> CramerRaoBound:
        dtype = sources.position.dtype
        with jax.enable_x64(True):
            bound = crb(array, *widened((observation, sources, noise_variance)))
            return jax.tree.map(lambda leaf: leaf.astype(dtype), bound)

    def forward_pass(
        array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Array
    ) -> tuple[CramerRaoBound, tuple[Observation, Sources, Array]]:
        return computed(array, observation, sources, noise_variance), (observation, sources, noise_variance)

    def backward_pass(array: ArrayConfig, scene: tuple, cotangent: CramerRaoBound) -> tuple:
        with jax.enable_x64(True):
            _, pull = jax.vjp(lambda *wide: crb(array, *wide), *widened(scene))
            wide = pull(widened(cotangent))
            return jax.tree.map(
                lambda leaf, given: leaf if given.dtype == bool else leaf.astype(given.dtype), wide, scene
            )

    computed.defvjp(forward_pass, backward_pass)

    @wraps(crb)
    def in_given_precision(
        array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Float[Array, ""] | float
    ) -> CramerRaoBound:
        variance = jnp.asarray(noise_variance, sources.position.dtype)
        return computed(array, observation, sources, variance)

    return in_given_precision


@_computed_in_float64
def deterministic_crb(
    array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Float[Array, ""]
) -> CramerRaoBound:
    """Bound for ``constant`` symbols, whose amplitudes are unknown and deterministic.

    J = sqrt(2 / sigma2) [Re; Im] of d mu / d (eta, Re alpha, Im alpha). The unknown noise variance is decoupled from
    the other parameters and does not change the bound.

    Args:
        array: the surface and its wavefront.
        observation: channel, codes and geometry known to the receiver; the values of the snapshots are not used.
        sources: positions, complex amplitudes and active slots.
        noise_variance: sigma2 of the complex noise, [] >= 0. A negative one gives NaN.
    """
    position, active = _safe_positions(sources)
    is_first, is_alone = _distinct(position, active)
    has_power = is_alone & (sources.amplitude != 0)
    phasor, modulus = _polar(sources.amplitude, is_first & (sources.amplitude != 0))
    vectors, derivatives = _manifold(array, position, observation)
    images = _images(observation, jnp.where(is_first[:, None], vectors, 0))
    # The moduli scale whole columns, so they are applied to the result: their squares could underflow.
    slopes = _images(observation, (derivatives * phasor[:, None, None]).reshape(-1, vectors.shape[-1]))
    columns = jnp.concatenate([slopes, images, 1j * images])
    inverse = inverse_information(jnp.concatenate([columns.real, columns.imag], axis=-1).T)
    sigma = jnp.sqrt(noise_variance / 2)
    return _bound(inverse, sigma / modulus, position, has_power)


@_computed_in_float64
def stochastic_crb(
    array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: Float[Array, ""]
) -> CramerRaoBound:
    """Bound for ``per_snapshot`` Gaussian symbols: y_l is CN(0, C_l), powers and noise variance unknown.

    C_l = Phi_l A diag(|alpha|^2) A^H Phi_l^H + sigma2 I, and the Fisher information is
    sum_l tr(C_l^-1 dC_l/di C_l^-1 dC_l/dj). With C_l = G_l G_l^H its Jacobian is J_i = G_l^-1 dC_l/di G_l^-H.

    Args:
        array: the surface and its wavefront.
        observation: channel, codes and geometry known to the receiver; the values of the snapshots are not used.
        sources: positions and active slots; |alpha|^2 is the expected power.
        noise_variance: sigma2 of the complex noise, [] > 0. A negative one gives NaN.
    """
    position, active = _safe_positions(sources)
    is_first, is_alone = _distinct(position, active)
    has_power = active & (sources.amplitude != 0)
    _, modulus = _polar(sources.amplitude, has_power)
    # In units of the noise's standard deviation, so that nothing depends on the unit of the snapshots.
    relative = jnp.where(has_power, modulus / jnp.sqrt(noise_variance), 0)

    def covariances(position: Array, log_power: Array, log_variance: Array) -> Complex[Array, "L M M"]:
        vectors = jnp.where(active[:, None], steering(array, position, observation.geometry), 0)
        images = jax.vmap(lambda vector: forward(observation, vector), out_axes=-1)(vectors)
        scaled = images * (relative * jnp.exp(log_power / 2))[None, None, :]
        signal = jnp.einsum("lmk,lnk->lmn", scaled, scaled.conj(), precision="highest")
        return signal + jnp.exp(log_variance) * jnp.eye(signal.shape[-1])[None]

    point = (position, jnp.zeros_like(relative), jnp.zeros((), relative.dtype))
    lower = jnp.linalg.cholesky(covariances(*point))
    slopes = jax.jacfwd(covariances, argnums=(0, 1, 2))(*point)
    stacked = jnp.concatenate([slope.reshape(*lower.shape, -1) for slope in slopes], axis=-1)
    is_parameter = jnp.concatenate([jnp.repeat(is_first, 3), is_first, jnp.ones(1, bool)])
    stacked = jnp.where(is_parameter[None, None, None, :], stacked, 0)
    half = _solve_lower(lower, jnp.moveaxis(stacked, -1, 1))
    white = _solve_lower(lower, half.conj().swapaxes(-1, -2))
    columns = jnp.moveaxis(white, 1, -1).reshape(-1, white.shape[1])
    inverse = inverse_information(jnp.concatenate([columns.real, columns.imag]))
    return _bound(inverse, jnp.ones_like(relative), position, is_alone)


def crb_in_float64(
    crb: Crb, array: ArrayConfig, observation: Observation, sources: Sources, noise_variance: ArrayLike
) -> CramerRaoBound:
    """Bounds of a batch of scenes in float64, NumPy arrays on the host; right to 1 % wherever they are finite.

    Args:
        crb: `deterministic_crb` or `stochastic_crb`.
        array: the surface and its wavefront.
        observation: of S scenes.
        sources: of the same S scenes.
        noise_variance: of the complex noise of each scene, [S].

    Raises:
        ValueError: a noise variance that is negative or not finite.
    """
    variance = np.asarray(noise_variance, np.float64)
    invalid = np.flatnonzero(~(np.isfinite(variance) & (variance >= 0)))
    if invalid.size:
        raise ValueError(
            f"noise_variance of scene {invalid[0]} is {variance.ravel()[invalid[0]]:g}, expected a finite value >= 0; "
            "give the variance of the complex noise in watts, not its level in dB"
        )
    scenes = jax.tree.map(np.asarray, (observation, sources, variance))
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _mapped_crb(crb, array, scenes))


@partial(jax.jit, static_argnums=(0, 1))
def _mapped_crb(crb: Crb, array: ArrayConfig, scenes: tuple[Observation, Sources, Array]) -> CramerRaoBound:
    return jax.lax.map(lambda scene: crb(array, *scene), widened(scenes), batch_size=_SCENES_PER_BATCH)


def _solve_lower(lower: Complex[Array, "L M M"], right: Complex[Array, "L P M M"]) -> Complex[Array, "L P M M"]:
    stacked = jnp.broadcast_to(lower[:, None], right.shape)
    return jax.lax.linalg.triangular_solve(stacked, right, left_side=True, lower=True)


def _safe_positions(sources: Sources) -> tuple[Float[Array, "K 3"], Bool[Array, " K"]]:
    """Positions with inactive slots moved to where the steering vector and its derivative exist."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)
    return jnp.where(sources.active[:, None], sources.position, ahead[None, :]), sources.active


def _distinct(position: Float[Array, "K 3"], active: Bool[Array, " K"]) -> tuple[Bool[Array, " K"], Bool[Array, " K"]]:
    """Active slots whose place no earlier active slot has, and those whose place no other active slot has."""
    is_same = (position[:, None] == position[None]).all(-1) & active[:, None] & active[None]
    return active & ~jnp.tril(is_same, -1).any(-1), active & (is_same.sum(-1) == 1)


def _polar(amplitude: Complex[Array, " K"], has_power: Bool[Array, " K"]) -> tuple[Array, Array]:
    """(alpha / |alpha|, |alpha|), and (0, 1) without power."""
    modulus = jnp.abs(jnp.where(has_power, amplitude, 1))
    return jnp.where(has_power, amplitude, 0) / modulus, modulus


def _manifold(
    array: ArrayConfig, position: Float[Array, "K 3"], observation: Observation
) -> tuple[Complex[Array, "K N"], Complex[Array, "K 3 N"]]:
    """Steering vectors and their derivatives by azimuth, elevation and range."""
    geometry, dtype = observation.geometry, observation.channel.dtype
    derivative = jax.vmap(jax.jacfwd(lambda point: steering(array, point, geometry)))(position)
    return steering(array, position, geometry).astype(dtype), derivative.swapaxes(-1, -2).astype(dtype)


def _images(observation: Observation, fields: Complex[Array, "P N"]) -> Complex[Array, "P LM"]:
    """Phi times each row."""
    return jax.vmap(lambda field: measure(observation.channel, observation.codes, field).ravel())(fields)


def _bound(
    inverse: InverseInformation,
    unit: Float[Array, " K"],
    position: Float[Array, "K 3"],
    has_power: Bool[Array, " K"],
) -> CramerRaoBound:
    """Bound on the first 3 K parameters, in units of ``unit`` for each source."""
    count = position.shape[0]
    is_finite = (inverse.is_resolved[: 3 * count].reshape(count, 3)) & has_power[:, None]
    std = jnp.where(is_finite, inverse.std[: 3 * count].reshape(count, 3), 1) * unit[:, None]
    mask = (is_finite * unit[:, None]).ravel()
    covariance = inverse.covariance[: 3 * count, : 3 * count]
    covariance = jnp.where(mask[:, None] * mask[None, :] == 0, 0, covariance) * mask[:, None] * mask[None, :]
    blocks = jnp.moveaxis(jnp.diagonal(covariance.reshape(count, 3, count, 3), axis1=0, axis2=2), -1, 0)
    jacobian = jax.vmap(jax.jacfwd(cartesian))(position)
    squared_m2 = jnp.einsum("kci,kij,kcj->k", jacobian, blocks, jacobian, precision="highest")
    is_placed = is_finite.all(-1)
    position_m = jnp.where(is_placed, jnp.sqrt(jnp.where(is_placed, squared_m2, 1)), jnp.inf)
    return CramerRaoBound(jnp.where(is_finite, std, jnp.inf), position_m, covariance)
