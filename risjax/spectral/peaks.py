"""Separate peaks of a spectrum on the grid, on the device, in a fixed number of slots."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from risjax.spectral.grid import Grid


def _largest_neighbour(values: Float[Array, "Gu Gv Gs"]) -> Float[Array, "Gu Gv Gs"]:
    """The largest value of each point's 3 x 3 x 3 neighbourhood, itself included, one axis at a time."""
    for axis in range(3):
        pad = [(1, 1) if i == axis else (0, 0) for i in range(3)]
        padded = jnp.pad(values, pad, constant_values=-jnp.inf)
        size = values.shape[axis]
        shifted = [jax.lax.slice_in_dim(padded, start, start + size, axis=axis) for start in range(3)]
        values = jnp.maximum(jnp.maximum(shifted[0], shifted[1]), shifted[2])
    return values


def local_maxima(
    spectrum: Float[Array, " G"], grid: Grid, num_peaks: int
) -> tuple[Float[Array, "J 3"], Float[Array, " J"]]:
    """Return the highest local maxima of a spectrum over the grid, highest first.

    A maximum on the field's edge counts: a source at the edge of the interval of ranges has its peak there.

    Args:
        spectrum: one value a grid point; points outside the field and non-finite values are ignored.
        grid: the grid it was taken on.
        num_peaks: J, slots.

    Returns:
        (u, v, s) of the peaks and their heights, -inf in empty slots.
    """
    usable = grid.inside.reshape(-1) & jnp.isfinite(spectrum)
    values = jnp.where(usable, spectrum, -jnp.inf).reshape(grid.inside.shape)
    peaked = (values >= _largest_neighbour(values)) & (values > -jnp.inf)
    heights, index = jax.lax.top_k(jnp.where(peaked, values, -jnp.inf).reshape(-1), num_peaks)
    return grid.cosines.reshape(-1, 3)[index], heights


def separate(
    cosines: Float[Array, "J 3"],
    heights: Float[Array, " J"],
    *,
    min_separation: float,
    min_range_separation: float,
) -> Bool[Array, " J"]:
    """Greedy non-maximum suppression: which peaks have no higher survivor close by.

    Two peaks are one when their distance in (u, v) over ``min_separation`` and in s over ``min_range_separation``
    lies within the unit ellipsoid. Empty slots (height -inf) never survive.
    """
    scaled = cosines / jnp.asarray([[min_separation, min_separation, min_range_separation]], cosines.dtype)
    close = jnp.sum((scaled[:, None, :] - scaled[None, :, :]) ** 2, axis=-1) < 1.0
    order = jnp.argsort(-heights)
    close = close[order][:, order]

    def body(i: Array | int, alive: Array) -> Array:
        earlier = jnp.arange(alive.shape[0]) < i
        return alive.at[i].set(alive[i] & ~jnp.any(alive & earlier & close[i]))

    alive = jax.lax.fori_loop(0, heights.shape[0], body, heights[order] > -jnp.inf)
    return jnp.zeros_like(alive).at[order].set(alive)


def choose(
    heights: Float[Array, " J"],
    alive: Bool[Array, " J"],
    *,
    num_slots: int,
    threshold_db: float,
    num_sources: Int[Array, ""] | int | None,
) -> tuple[Int[Array, " K"], Bool[Array, " K"]]:
    """Return the surviving peaks that are sources, highest first.

    Args:
        heights: spectrum at the peaks, linear power.
        alive: peaks that survived `separate`.
        num_slots: K, slots of the answer.
        threshold_db: blind to K, peaks further below the highest one are no sources.
        num_sources: K, which overrides the threshold; None for an unknown number.

    Returns:
        Index of the peak in each slot, and which slots are active.
    """
    ranked, index = jax.lax.top_k(jnp.where(alive, heights, -jnp.inf), num_slots)
    if num_sources is None:
        active = ranked > ranked[0] * 10.0 ** (-threshold_db / 10.0)
    else:
        active = jnp.arange(num_slots) < num_sources
    return index, active & (ranked > -jnp.inf)
