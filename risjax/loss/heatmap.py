"""The refiner's loss: a focal loss on Gaussian targets over the search grid."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from risjax.precision import check_upcast, upcast

_FOCUS = 2.0
_LENIENCE = 4.0
"""alpha and beta of Zhou, Wang and Kraehenbuehl, "Objects as points" (2019), eq. 1."""


def gaussian_targets(
    cosines: Float[Array, "Gu Gv Gs 3"],
    sources: Float[Array, "K 3"],
    active: Bool[Array, " K"],
    width: Float[Array, "3"],
) -> Float[Array, "Gu Gv Gs"]:
    """What the map of one scene should show: 1 at the grid point nearest to each source, and around it a Gaussian.

    Args:
        cosines: (u, v, s) of the grid.
        sources: (u, v, s) of the sources, finite in inactive slots too.
        active: which of them there are.
        width: standard deviations of the Gaussian in (u, v, s); those of a grid cell leave the nearest point well
            above its neighbours.
    """
    offset = (cosines[None] - sources[:, None, None, None, :]) / width[None, None, None, None, :]
    distance = jnp.where(active[:, None, None, None], jnp.sum(offset**2, axis=-1), jnp.inf)
    nearest = distance.reshape(active.shape[0], -1).argmin(axis=1)
    centres = jnp.zeros(distance[0].size, bool).at[nearest].max(active).reshape(distance.shape[1:])
    return jnp.where(centres, 1.0, jnp.max(jnp.exp(-0.5 * distance), axis=0))


def heatmap_focal(
    logits: Float[Array, "batch Gu Gv Gs"], targets: Float[Array, "batch Gu Gv Gs"], counted: Bool[Array, "Gu Gv Gs"]
) -> Float[Array, " batch"]:
    """The focal loss of each scene's map over its number of sources.

    With p the map and t the target: -(1 - p)^2 log p where t is 1, else -(1 - t)^4 p^2 log(1 - p), so that points near
    a source are hardly charged for thinking that they are it, and the many that are surely none do not drown the few.
    In full precision: half-precision maps and targets are upcast at the door.

    Args:
        logits: of the map; any finite number has a finite loss and gradient.
        targets: of `gaussian_targets`.
        counted: grid points inside the field of view.
    """
    logits, targets = upcast((logits, targets))
    check_upcast((logits, targets), name="heatmap")
    likely = jax.nn.sigmoid(logits)
    found = (1.0 - likely) ** _FOCUS * jax.nn.softplus(-logits)
    invented = (1.0 - targets) ** _LENIENCE * likely**_FOCUS * jax.nn.softplus(logits)
    centre = targets >= 1.0
    charged = jnp.where(counted[None] | centre, jnp.where(centre, found, invented), 0.0)
    return jnp.sum(charged, axis=(1, 2, 3)) / jnp.maximum(jnp.sum(centre, axis=(1, 2, 3)), 1)
