"""Loss of the spectrum refiner: a focal loss on Gaussian targets over the search grid.

References:
    X. Zhou, D. Wang, P. Krähenbühl, "Objects as points" (2019), arXiv:1904.07850, eq. 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from risjax.precision import check_upcast, upcast

_FOCUS = 2.0
_LENIENCE = 4.0
"""Exponents alpha and beta of the reference."""


def gaussian_targets(
    cosines: Float[Array, "Gu Gv Gs 3"],
    sources: Float[Array, "K 3"],
    active: Bool[Array, " K"],
    width: Float[Array, "3"],
) -> Float[Array, "Gu Gv Gs"]:
    """Target map of one scene: 1 at the grid point nearest to each source, a Gaussian around it.

    Args:
        cosines: (u, v, s) of the grid.
        sources: (u, v, s) of the sources, finite in inactive slots too.
        active: slots that hold a source.
        width: standard deviations of the Gaussian in (u, v, s). With the size of a grid cell, the nearest point is well
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
    """Focal loss of each scene's map, divided by its number of sources.

    With p the map and t the target it is the sum of -(1 - p)^2 log p where t is 1, and of -(1 - t)^4 p^2 log(1 - p)
    elsewhere. Points near a source get a small weight, and so do the many points that are clearly no source.
    Half-precision maps and targets are upcast first.

    Args:
        logits: of the map. Every finite logit has a finite loss and gradient.
        targets: from `gaussian_targets`.
        counted: grid points inside the field of view.
    """
    logits, targets = upcast((logits, targets))
    check_upcast((logits, targets), name="heatmap")
    probability = jax.nn.sigmoid(logits)
    detection = (1.0 - probability) ** _FOCUS * jax.nn.softplus(-logits)
    false_alarm = (1.0 - targets) ** _LENIENCE * probability**_FOCUS * jax.nn.softplus(logits)
    centre = targets >= 1.0
    terms = jnp.where(counted[None] | centre, jnp.where(centre, detection, false_alarm), 0.0)
    return jnp.sum(terms, axis=(1, 2, 3)) / jnp.maximum(jnp.sum(centre, axis=(1, 2, 3)), 1)
