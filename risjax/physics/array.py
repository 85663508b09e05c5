"""The surface and its steering vectors: the one manifold that simulator, loss and estimators share.

====== =================================================== ========= ====
symbol meaning                                             shape     unit
====== =================================================== ========= ====
p_n    position of element n in the (horizontal, vertical) [2]       m
       plane
u      direction (sin phi cos theta, sin theta), the part  [2]       1
       of the unit vector that lies in the panel's plane
d_n    distance from the source to element n               [N]       m
k      wavenumber 2 pi / wavelength                                  rad/m
====== =================================================== ========= ====
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from risjax.config import ArrayConfig


def element_positions(array: ArrayConfig) -> Float[np.ndarray, "N 2"]:
    """Positions of the elements in the panel's plane, horizontal index fastest, in metres, float64."""

    def axis(count: int) -> np.ndarray:
        offset = (count - 1) / 2 if array.origin == "centre" else count // 2
        return (np.arange(count) - offset) * array.spacing_m

    vertical, horizontal = np.meshgrid(axis(array.num_vertical), axis(array.num_horizontal), indexing="ij")
    return np.stack([horizontal.ravel(), vertical.ravel()], axis=-1)


def direction_cosines(azimuth_rad: Array, elevation_rad: Array) -> Float[Array, "*shape 2"]:
    """(sin phi cos theta, sin theta): the source's direction along the horizontal and the vertical axis."""
    return jnp.stack([jnp.sin(azimuth_rad) * jnp.cos(elevation_rad), jnp.sin(elevation_rad)], axis=-1)


def steering(
    array: ArrayConfig, position: Float[Array, "*shape 3"], *, elements: Float[Array, "N 2"] | None = None
) -> Complex[Array, "*shape N"]:
    """Steering vectors a_n = exp(+j k (r - d_n)) / sqrt(N), unit norm.

    ``spherical``: d_n = ||r u - p_n||, exact. ``fresnel``: to second order in p/r,
    d_n = r - u.p + (||p||^2 - (u.p)^2) / 2r. ``paraxial`` (the original pipeline's): d_n = r - u.p + ||p||^2 / 2r.

    The difference r - d_n is never formed by subtraction, which in float32 would lose a digit for every
    decade of range: the exact form is (2 r u.p - ||p||^2) / (r + d_n).

    Args:
        array: the surface and the wavefront.
        position: (azimuth [rad], elevation [rad], range [m]); its dtype decides complex64 or complex128.
        elements: positions of the elements in metres where they differ from the nominal ones.

    Returns:
        Steering vectors, unit norm, of the phase reference r = 0.
    """
    azimuth_rad, elevation_rad, range_m = position[..., 0], position[..., 1], position[..., 2, None]
    plane = jnp.asarray(element_positions(array) if elements is None else elements, position.dtype)
    projection_m = jnp.matmul(direction_cosines(azimuth_rad, elevation_rad), plane.T, precision="highest")
    squared_m2 = jnp.broadcast_to(jnp.sum(plane**2, axis=-1), projection_m.shape)
    match array.wavefront:
        case "spherical":
            distance_m = jnp.sqrt(range_m**2 - 2 * range_m * projection_m + squared_m2)
            path_difference_m = (2 * range_m * projection_m - squared_m2) / (range_m + distance_m)
        case "fresnel":
            path_difference_m = projection_m - (squared_m2 - projection_m**2) / (2 * range_m)
        case "paraxial":
            path_difference_m = projection_m - squared_m2 / (2 * range_m)
    phase = (2 * np.pi / array.wavelength_m) * path_difference_m
    return (jnp.cos(phase) + 1j * jnp.sin(phase)) / np.sqrt(plane.shape[0])
