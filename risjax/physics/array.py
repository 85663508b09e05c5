"""Geometry of the surface and its steering vectors, for simulator, loss, codebooks and estimators.

====== =================================================== ========= ====
symbol meaning                                             shape     unit
====== =================================================== ========= ====
p_n    position of element n in the (horizontal, vertical) [2]       m
       plane
u      direction (sin phi cos theta, sin theta), the part  [2]       1
       of the unit vector that lies in the panel's plane
d_n    distance from the source to element n               [N]       m
g_n    amplitude (r / d_n) cos(psi_n)^q; 1 by default      [N]       1
psi_n  angle between element n's boresight and the source            rad
k      wavenumber 2 pi / wavelength                                  rad/m
====== =================================================== ========= ====

The time dependence is exp(+j omega t): a longer path d_n has the phase exp(-j k d_n), and an element closer to the
source than the phase reference has a positive phase. A code exp(-j phase of a_n) therefore focuses on the source.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from risjax.config import ArrayConfig
from risjax.types import Geometry

_GRAZING = 1e-6
"""Smallest squared cosine of the angle to boresight."""


def element_positions(array: ArrayConfig) -> Float[np.ndarray, "N 2"]:
    """Positions of the elements in the panel's plane, horizontal index fastest, in metres, float64.

    Example:
        >>> element_positions(ArrayConfig(num_horizontal=2, num_vertical=2, spacing_m=0.2)).tolist()
        [[-0.1, -0.1], [0.1, -0.1], [-0.1, 0.1], [0.1, 0.1]]
    """
    if array.elements_m is not None:
        return np.asarray(array.elements_m, np.float64)

    def axis(count: int) -> np.ndarray:
        offset = (count - 1) / 2 if array.origin == "centre" else count // 2
        return (np.arange(count) - offset) * array.spacing_m

    vertical, horizontal = np.meshgrid(axis(array.num_vertical), axis(array.num_horizontal), indexing="ij")
    return np.stack([horizontal.ravel(), vertical.ravel()], axis=-1)


def direction_cosines(azimuth_rad: Array, elevation_rad: Array) -> Float[Array, "*shape 2"]:
    """(sin phi cos theta, sin theta), the direction cosines along the horizontal and the vertical axis."""
    return jnp.stack([jnp.sin(azimuth_rad) * jnp.cos(elevation_rad), jnp.sin(elevation_rad)], axis=-1)


def cartesian(position: Float[Array, "*shape 3"]) -> Float[Array, "*shape 3"]:
    """(horizontal, vertical, boresight) coordinates in metres of (azimuth [rad], elevation [rad], range [m])."""
    azimuth_rad, elevation_rad, range_m = position[..., 0], position[..., 1], position[..., 2]
    plane = direction_cosines(azimuth_rad, elevation_rad)
    boresight = jnp.cos(azimuth_rad) * jnp.cos(elevation_rad)
    return range_m[..., None] * jnp.stack([plane[..., 0], plane[..., 1], boresight], axis=-1)


def steering(
    array: ArrayConfig, position: Float[Array, "*shape 3"], geometry: Geometry | None = None
) -> Complex[Array, "*shape N"]:
    """Steering vectors a_n = g_n exp(+j k (r - d_n)) / ||g||, unit norm; g_n = 1 and ||g|| = sqrt(N) by default.

    ``spherical``: d_n = ||r u - p_n||, exact. ``fresnel``: to second order in p/r,
    d_n = r - u.p + (||p||^2 - (u.p)^2) / 2r. ``paraxial`` (the original pipeline's): d_n = r - u.p + ||p||^2 / 2r.

    The difference r - d_n is computed as (2 r u.p - ||p||^2) / (r + d_n), because the subtraction would lose a digit
    for every decade of range in float32.

    Args:
        array: the surface, the wavefront and the elements' amplitudes.
        position: (azimuth [rad], elevation [rad], range [m]), range > 0; its dtype decides complex64 or complex128.
        geometry: measured geometry of the scene's surface; None takes that of ``array``. It has no batch axis.

    Returns:
        Steering vectors of unit norm, with phase reference p = 0. `amplitude_norm` returns the norm before
        normalisation.

    Raises:
        ValueError: at trace time, a geometry with another number of elements or with a batch axis.

    Example:
        An element closer to the source has a larger phase:

        >>> three = ArrayConfig(num_horizontal=3, num_vertical=1)
        >>> phases = np.angle(steering(three, jnp.array([np.radians(20.0), 0.0, 5.0])))
        >>> bool(phases[0] < phases[1] < phases[2])
        True
    """
    return _steering(array, _place_of(position), geometry)


def steering_at(
    array: ArrayConfig, cosines: Float[Array, "*shape 3"], geometry: Geometry | None = None
) -> Complex[Array, "*shape N"]:
    """`steering` at (u, v, s): direction cosines along the horizontal and the vertical axis, and s = 1/r [1/m].

    Searches and fits differentiate this function, whose derivative has 1.7 times fewer instructions than that by
    angles. (u, v) outside the unit circle, as at corners of a grid, is replaced by the nearest point on it.
    """
    plane = cosines[..., :2]
    square = plane[..., 0, None] ** 2 + plane[..., 1, None] ** 2
    largest = 1.0 - _GRAZING
    plane = plane * jnp.sqrt(largest / jnp.maximum(square, largest))
    ahead = jnp.sqrt(1.0 - jnp.minimum(square, largest))
    return _steering(array, _Place(plane, ahead, 1.0 / cosines[..., 2, None]), geometry)


def amplitude_norm(
    array: ArrayConfig, position: Float[Array, "*shape 3"], geometry: Geometry | None = None
) -> Float[Array, "*shape"]:
    """||g|| / sqrt(N), the norm of a source's field relative to unit amplitudes; 1 by default."""
    if _is_uniform(array):
        return jnp.ones(position.shape[:-1], position.dtype)
    place = _place_of(position)
    return _root_mean_square(_amplitude(array, place, *_lengths(array, place, geometry)))[..., 0]


class _Place(NamedTuple):
    """Direction cosines in the panel's plane [..., 2] and along boresight [..., 1], and range in metres [..., 1]."""

    cosines: Array
    ahead: Array
    range_m: Array


def _place_of(position: Array) -> _Place:
    azimuth_rad, elevation_rad = position[..., 0], position[..., 1]
    ahead = jnp.cos(azimuth_rad) * jnp.cos(elevation_rad)
    return _Place(direction_cosines(azimuth_rad, elevation_rad), ahead[..., None], position[..., 2, None])


def _steering(array: ArrayConfig, place: _Place, geometry: Geometry | None) -> Complex[Array, "*shape N"]:
    projection_m, squared_m2 = _lengths(array, place, geometry)
    range_m = place.range_m
    match array.wavefront:
        case "spherical":
            distance_m = _distance(range_m, projection_m, squared_m2)
            path_difference_m = (2 * range_m * projection_m - squared_m2) / (range_m + distance_m)
        case "fresnel":
            path_difference_m = projection_m - (squared_m2 - projection_m**2) / (2 * range_m)
        case "paraxial":
            path_difference_m = projection_m - squared_m2 / (2 * range_m)
    phase = (2 * np.pi / _wavelength_m(array, geometry, range_m.dtype)) * path_difference_m
    wave = (jnp.cos(phase) + 1j * jnp.sin(phase)) / math.sqrt(phase.shape[-1])
    if _is_uniform(array):
        return wave
    amplitude = _amplitude(array, place, projection_m, squared_m2)
    return wave * (amplitude / _root_mean_square(amplitude))


def _is_uniform(array: ArrayConfig) -> bool:
    return array.amplitude == "uniform" and array.pattern_exponent == 0


def _wavelength_m(array: ArrayConfig, geometry: Geometry | None, dtype: DTypeLike) -> Array | float:
    if geometry is None or geometry.wavelength_m is None:
        return array.wavelength_m
    return jnp.asarray(geometry.wavelength_m, dtype)


def _lengths(array: ArrayConfig, place: _Place, geometry: Geometry | None) -> tuple[Array, Array]:
    """u.p_n and ||p_n||^2, [..., N]."""
    moved = None if geometry is None else geometry.elements_m
    plane = jnp.asarray(element_positions(array) if moved is None else moved, place.range_m.dtype)
    if plane.shape != (array.num_elements, 2):
        raise ValueError(
            f"geometry.elements_m has shape {list(plane.shape)}, expected [N, 2] = [{array.num_elements}, 2] of one "
            "scene; use jax.vmap for a batch"
        )
    projection_m = jnp.matmul(place.cosines, plane.T, precision="highest")
    # No sum over an axis: for a batch of geometries jaxlib 0.10.2 computes it wrong (docs/physics.md).
    squared_m2 = jnp.broadcast_to(plane[:, 0] ** 2 + plane[:, 1] ** 2, projection_m.shape)
    return projection_m, squared_m2


def _distance(range_m: Array, projection_m: Array, squared_m2: Array) -> Array:
    return jnp.sqrt(range_m**2 - 2 * range_m * projection_m + squared_m2)


def _amplitude(array: ArrayConfig, place: _Place, projection_m: Array, squared_m2: Array) -> Array:
    """g_n, from the exact distances for every wavefront."""
    range_m = place.range_m
    distance_m = _distance(range_m, projection_m, squared_m2)
    amplitude = jnp.ones_like(distance_m)
    if array.amplitude == "spherical":
        amplitude = range_m / distance_m
    if array.pattern_exponent > 0:
        amplitude = amplitude * (range_m * place.ahead / distance_m) ** array.pattern_exponent
    return amplitude


def _root_mean_square(amplitude: Array) -> Array:
    return jnp.sqrt(jnp.mean(amplitude**2, axis=-1, keepdims=True))
