"""How far the MVDR spectrum stands out at the true sources, against the directions around them.

======== ============================================================================= =========
symbol   meaning                                                                       shape
======== ============================================================================= =========
P(a)     1 / (a^H R_eff^-1 a), the MVDR spectrum
a_k      steering vector of a true source                                              [N]
a_kg     steering vectors at the source's own range, in directions around it           [K, G, N]
beam     wavelength over aperture, from a beam's peak to its first zero, in each of
         the direction cosines u and v                                                 [2]
c_k      log P(a_k) - log mean_g P(a_kg), the contrast                                 [K]
m        margin
======== ============================================================================= =========

The neighbourhood is two rings of eight directions, half a beam and a beam away. Half a beam is what two sources can
just be told apart by, and half the width of the gate within which an estimate counts as a match (5 degrees) at the
default size. A direction within a beam of another true source is left out, whose power may rightly be there; so is one
that no wave comes from (u^2 + v^2 >= 1).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from risjax.config import ArrayConfig
from risjax.linalg import inverse_quadratic_form
from risjax.physics.array import element_positions, steering
from risjax.spectral.grid import to_cosines, to_position
from risjax.types import Geometry, LowRankCovariance, Sources

RINGS = (0.5, 1.0)
"""Radii of the neighbourhood's rings, in beams."""
DIRECTIONS = 8
"""Directions on a ring."""
VISIBLE = 0.999
"""Largest u^2 + v^2 of a direction that is looked at."""


class Peaks(NamedTuple):
    """Where the spectrum should stand out, and against what.

    Attributes:
        source: a_k, [K, N].
        around: a_kg, [K, G, N].
        counted: which of ``around`` the source is compared with; none for an inactive slot, [K, G].
    """

    source: Complex[Array, "*batch K N"]
    around: Complex[Array, "*batch K G N"]
    counted: Bool[Array, "*batch K G"]


def make_peaks(array: ArrayConfig, sources: Sources, geometry: Geometry | None = None) -> Peaks:
    """The neighbourhoods of one scene's true sources.

    Args:
        array: the surface.
        sources: the truth.
        geometry: ``observation.geometry``: the spectrum is the one that the receiver will look at.
    """
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)  # inactive slots hold r = 0, where no wave exists
    position = jnp.where(sources.active[:, None], sources.position, ahead[None, :])
    cosines = to_cosines(position)
    beam, ring = _beam(array), _ring()
    offsets = jnp.asarray(ring * beam[None, :], position.dtype)
    u = cosines[:, None, 0] + offsets[None, :, 0]
    v = cosines[:, None, 1] + offsets[None, :, 1]
    around = jnp.stack([u, v, jnp.broadcast_to(cosines[:, None, 2], u.shape)], axis=-1)

    apart_u = (u[:, :, None] - cosines[None, None, :, 0]) / beam[0]
    apart_v = (v[:, :, None] - cosines[None, None, :, 1]) / beam[1]
    slots = jnp.arange(len(position))
    others = sources.active[None, :] & (slots[:, None] != slots[None, :])
    is_elsewhere = jnp.any((apart_u**2 + apart_v**2 < 1.0) & others[:, None, :], axis=-1)
    counted = sources.active[:, None] & (u**2 + v**2 < VISIBLE) & ~is_elsewhere
    return Peaks(
        source=steering(array, position, geometry),
        around=steering(array, to_position(around), geometry),
        counted=counted,
    )


def peak_contrast(covariance: LowRankCovariance, peaks: Peaks, margin_db: Float[Array, ""] | float) -> Float[Array, ""]:
    """Mean over sources of softplus(m - c_k) / softplus(m).

    1 for a flat spectrum, near 0 where every source stands out by more than the margin, more than 1 where the spectrum
    is higher beside a source than at it: the mean over directions is one of powers, so that a single peak beside the
    source is enough. Never without a gradient, as a hinge is as soon as it is content. 0 where no source has a
    direction to be compared with.

    Args:
        covariance: R_eff of one scene, loaded.
        peaks: of `make_peaks`.
        margin_db: m.
    """
    margin = jnp.asarray(margin_db, covariance.loading.dtype) * (math.log(10) / 10)
    at_source = -jnp.log(inverse_quadratic_form(covariance, peaks.source))
    beside = -jnp.log(inverse_quadratic_form(covariance, peaks.around))
    count = jnp.sum(peaks.counted, axis=-1)
    compared = count > 0
    beside = jnp.where(
        peaks.counted | ~compared[:, None], beside, -jnp.inf
    )  # an empty logarithm would have no gradient
    mean_beside = jax.nn.logsumexp(beside, axis=-1) - jnp.log(jnp.maximum(count, 1))
    shortfall = jax.nn.softplus(margin - (at_source - mean_beside)) / jax.nn.softplus(margin)
    return jnp.sum(jnp.where(compared, shortfall, 0.0)) / jnp.maximum(jnp.sum(compared), 1)


def _beam(array: ArrayConfig) -> np.ndarray:
    """Wavelength over aperture along u and v; the aperture of n elements is n spacings."""
    return array.wavelength_m / (np.ptp(element_positions(array), axis=0) + array.spacing_m)


def _ring() -> np.ndarray:
    """The neighbourhood's directions as (u, v) offsets in beams, [G, 2]."""
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.concatenate([radius * circle for radius in RINGS])
