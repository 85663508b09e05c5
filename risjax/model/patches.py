"""Conversion between elements of the surface, n = i_v * N_H + i_h, and square patches of them."""

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from risjax.config import ArrayConfig


def num_patches(array: ArrayConfig, patch: int) -> int:
    """Number of patches on the surface.

    Raises:
        ValueError: the side of the patch does not divide both sides of the surface.
    """
    if array.num_horizontal % patch or array.num_vertical % patch:
        raise ValueError(
            f"model.patch = {patch} on a surface of {array.num_horizontal} x {array.num_vertical} elements, expected a "
            "divisor of both sides"
        )
    return (array.num_horizontal // patch) * (array.num_vertical // patch)


def to_patches(
    elements: Shaped[Array, "*batch N C"], array: ArrayConfig, patch: int
) -> Shaped[Array, "*batch T patch_channels"]:
    """Group elements into patches: [..., N, C] to [..., T, patch * patch * C]."""
    *batch, _, channels = elements.shape
    rows, columns = array.num_vertical // patch, array.num_horizontal // patch
    grid = elements.reshape(*batch, rows, patch, columns, patch, channels)
    return jnp.swapaxes(grid, -4, -3).reshape(*batch, rows * columns, patch * patch * channels)


def from_patches(
    tokens: Shaped[Array, "*batch T patch_channels"], array: ArrayConfig, patch: int
) -> Shaped[Array, "*batch N C"]:
    """Inverse of `to_patches`."""
    *batch, _, patch_channels = tokens.shape
    rows, columns = array.num_vertical // patch, array.num_horizontal // patch
    grid = tokens.reshape(*batch, rows, columns, patch, patch, patch_channels // patch**2)
    return jnp.swapaxes(grid, -4, -3).reshape(*batch, array.num_elements, patch_channels // patch**2)
