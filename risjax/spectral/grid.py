"""The search grid: uniform in direction cosines and in inverse range, over the scenes' field of view.

====== ============================================== ===== ====
symbol meaning                                        shape unit
====== ============================================== ===== ====
u      sin(azimuth) cos(elevation)                    []    1
v      sin(elevation)                                 []    1
s      inverse range 1 / r                            []    1/m
G      grid points, u slowest and s fastest           []    1
====== ============================================== ===== ====

A beam of the surface has the same width everywhere in (u, v), and the same depth everywhere in s, so a
grid that is uniform in (u, v, s) samples every beam alike. A grid uniform in r
has too many points beyond 5 m and skips whole beams below 1 m. ``cosines`` below means (u, v, s).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import GridConfig, PhysicsConfig
from risjax.physics.array import steering_at
from risjax.types import Geometry

_EDGE = 1.0 - 1e-6


class Grid(NamedTuple):
    """A search grid with its steering vectors, to be passed as an argument of jitted functions.

    Attributes:
        cosines: (u, v, s) of every point, [Gu, Gv, Gs, 3].
        inside: points within the field of view; the corners of the (u, v) rectangle are not, [Gu, Gv, Gs].
        steering: unit-norm steering vectors, [G, N].
    """

    cosines: Float[Array, "Gu Gv Gs 3"]
    inside: Bool[Array, "Gu Gv Gs"]
    steering: Complex[Array, "G N"]


class Field(NamedTuple):
    """The field of view as bounds, so that refinement can be held inside it.

    Attributes:
        sin_azimuth: [least, most] of sin(azimuth).
        v: [least, most] of sin(elevation).
        s: [least, most] of inverse range in 1/m.
    """

    sin_azimuth: tuple[float, float]
    v: tuple[float, float]
    s: tuple[float, float]


def field_of_view(physics: PhysicsConfig) -> Field:
    """Return the bounds of the scenes' law in (sin(azimuth), sin(elevation), 1/r)."""
    scene = physics.scene
    low_sine, high_sine = (float(np.sin(np.radians(angle))) for angle in scene.azimuth_deg)
    low_v, high_v = (float(np.sin(np.radians(angle))) for angle in scene.elevation_deg)
    return Field((low_sine, high_sine), (low_v, high_v), (1.0 / scene.range_m[1], 1.0 / scene.range_m[0]))


def to_position(cosines: Float[Array, "*shape 3"]) -> Float[Array, "*shape 3"]:
    """(u, v, s) to (azimuth [rad], elevation [rad], range [m]); directions beyond the panel's plane are clipped."""
    v = jnp.clip(cosines[..., 1], -_EDGE, _EDGE)
    sin_azimuth = jnp.clip(cosines[..., 0] / jnp.sqrt(1.0 - v**2), -_EDGE, _EDGE)
    return jnp.stack([jnp.arcsin(sin_azimuth), jnp.arcsin(v), 1.0 / cosines[..., 2]], axis=-1)


def to_cosines(position: Float[Array, "*shape 3"]) -> Float[Array, "*shape 3"]:
    """(azimuth [rad], elevation [rad], range [m]) to (u, v, s)."""
    azimuth_rad, elevation_rad, range_m = position[..., 0], position[..., 1], position[..., 2]
    return jnp.stack([jnp.sin(azimuth_rad) * jnp.cos(elevation_rad), jnp.sin(elevation_rad), 1.0 / range_m], axis=-1)


def into_field(cosines: Float[Array, "*shape 3"], field: Field) -> Float[Array, "*shape 3"]:
    """Return the cosines clipped to the field of view, coordinate by coordinate."""
    v = jnp.clip(cosines[..., 1], *field.v)
    cosine = jnp.sqrt(jnp.maximum(1.0 - v**2, 1.0 - _EDGE))
    u = jnp.clip(cosines[..., 0], field.sin_azimuth[0] * cosine, field.sin_azimuth[1] * cosine)
    return jnp.stack([u, v, jnp.clip(cosines[..., 2], *field.s)], axis=-1)


def grid_axes(physics: PhysicsConfig, grid: GridConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the grid's u, v and s, float64, ends included.

    The u axis spans sin(azimuth) at the elevation nearest to the horizon, where a given azimuth reaches furthest.
    """
    field = field_of_view(physics)
    elevations = np.arcsin(field.v)
    furthest = 1.0 if elevations[0] <= 0 <= elevations[1] else float(np.cos(np.min(np.abs(elevations))))
    nearest = float(np.cos(np.max(np.abs(elevations))))
    low, high = field.sin_azimuth
    ends = (low * (furthest if low < 0 else nearest), high * (furthest if high > 0 else nearest))
    return (
        np.linspace(*ends, grid.num_azimuth),
        np.linspace(*field.v, grid.num_elevation),
        np.linspace(*field.s, grid.num_range),
    )


def make_grid(physics: PhysicsConfig, grid: GridConfig, dtype: str = "float32") -> Grid:
    """Return the grid of a field of view with its steering vectors, computed once and kept on the device.

    Points up to half a cell outside the field belong to ``inside``, so that a source on its edge is bracketed.

    Args:
        physics: array, wavefront and field of view.
        grid: points an axis.
        dtype: ``float32`` or ``float64``.
    """
    return _make_grid(physics, grid, dtype)


@functools.lru_cache(maxsize=8)
def _make_grid(physics: PhysicsConfig, grid: GridConfig, dtype: str) -> Grid:
    u, v, s = grid_axes(physics, grid)
    cosines = np.stack(np.meshgrid(u, v, s, indexing="ij"), axis=-1)
    field = field_of_view(physics)
    cosine = np.sqrt(np.maximum(1.0 - cosines[..., 1] ** 2, 1e-12))
    half_cell = 0.5 * (u[1] - u[0]) + 1e-9
    low, high = (sine * cosine for sine in field.sin_azimuth)
    inside = (cosines[..., 0] >= low - half_cell) & (cosines[..., 0] <= high + half_cell)
    with jax.ensure_compile_time_eval():
        points = cosines.astype(dtype)
        vectors = jax.jit(jax.vmap(lambda x: steering_at(physics.array, x)))(points.reshape(-1, 3))
        return Grid(jnp.asarray(points), jnp.asarray(inside), vectors)


def grid_for(grid: Grid, physics: PhysicsConfig, geometry: Geometry | None) -> Grid:
    """Return the grid with the steering vectors of a scene's own surface; ``grid`` itself for the nominal surface.

    Under vmap these are G N complex numbers a scene: map over a large batch a few scenes at a time
    (`risjax.physics.chunked_vmap.over_scenes`).
    """
    if geometry is None:
        return grid
    return grid._replace(steering=steering_at(physics.array, grid.cosines.reshape(-1, 3), geometry))


def grid_like(
    array: Array,
    physics: PhysicsConfig,
    grid: GridConfig,
    given: Grid | None = None,
    geometry: Geometry | None = None,
) -> Grid:
    """Return ``given``, or `make_grid` in the precision of ``array`` where it is None, on the scene's own surface.

    Raises:
        ValueError: at trace time, if the given grid was made for a surface of another size.
    """
    if given is None:
        return grid_for(make_grid(physics, grid, jnp.finfo(array.dtype).dtype.name), physics, geometry)
    num_elements = physics.array.num_elements
    if given.steering.shape[-1] != num_elements:
        raise ValueError(
            f"the search grid was made for a surface of {given.steering.shape[-1]} elements, got one of "
            f"{num_elements}; make it with make_grid(physics, ...) of the same physics"
        )
    return grid_for(given, physics, geometry)
