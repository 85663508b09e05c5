"""The set loss of the geometry head: slots optimally matched with the true sources.

====== ============================================================================== ======
symbol meaning                                                                        shape
====== ============================================================================== ======
l_j    logit of slot j holding a source                                               [J]
q_j    shares of the field of view where it would be, sigmoid of the head's logits    [J, 3]
t_k    those of the true sources (`risjax.estimators.slots`)                          [K, 3]
d_jk   sum over the three of sqrt(w^2 + (q_j - t_k)^2) - w: squared below w, the      [J, K]
       distance itself beyond, smooth throughout
p      weight of positions over existence
====== ============================================================================== ======

    (1/J) sum_j BCE(l_j, slot j is matched) + (p/K) sum_k d_(slot of k, k),    the least over all matchings

Being the least over all matchings it depends on the order of neither slots nor sources, is continuous where one
matching gives way to another, and has the gradient of the one that is chosen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from risjax.config import PhysicsConfig
from risjax.estimators.slots import to_share
from risjax.loss.assignment import optimal_assignment
from risjax.spectral.grid import field_of_view
from risjax.types import Slots, Sources


class Places(NamedTuple):
    """Where the true sources are.

    Attributes:
        share: t_k, 1/2 in inactive slots, [K, 3].
        active: which sources there are, [K].
    """

    share: Float[Array, "*batch K 3"]
    active: Bool[Array, "*batch K"]


def make_places(physics: PhysicsConfig, sources: Sources) -> Places:
    """The true sources of one scene as shares of the field of view."""
    ahead = jnp.asarray([0.0, 0.0, 1.0], sources.position.dtype)  # inactive slots hold r = 0
    share = to_share(jnp.where(sources.active[:, None], sources.position, ahead[None, :]), field_of_view(physics))
    return Places(jnp.where(sources.active[:, None], share, 0.5), sources.active)


def geometry_set(
    slots: Slots, places: Places, position: Float[Array, ""] | float, smoothing: Float[Array, ""] | float
) -> Float[Array, ""]:
    """The module's equation, for one scene.

    0 where every source has a slot that is sure of it at its place, and the others are sure of nothing; ln 2 plus the
    positions' part for slots that know nothing of existence. Of a scene without sources only existence is left.

    Args:
        slots: of the head, in full precision.
        places: of `make_places`.
        position: p.
        smoothing: w > 0.

    Raises:
        ValueError: at trace time, with fewer slots than sources.
    """
    offset = jax.nn.sigmoid(slots.place)[:, None, :] - places.share[None, :, :]
    # (sqrt(w^2 + d^2) - w, which would cancel for small d)
    error = jnp.sum(offset**2 / (jnp.sqrt(smoothing**2 + offset**2) + smoothing), axis=-1)
    weight = position / jnp.maximum(jnp.sum(places.active), 1)
    # A slot that is matched is charged softplus(-l) instead of softplus(l), which is l less.
    cost = weight * error - slots.existence[:, None] / slots.existence.shape[0]
    chosen = optimal_assignment(cost, places.active)
    matched = jnp.any(chosen, axis=1)
    existence = jnp.mean(jax.nn.softplus(jnp.where(matched, -slots.existence, slots.existence)))
    return existence + weight * jnp.sum(jnp.where(chosen, error, 0.0))
