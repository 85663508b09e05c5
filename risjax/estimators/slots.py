"""Sources that a geometry head names itself: slots with a probability and a place in the field of view.

====== ======================================================================= ===== ====
symbol meaning                                                                 shape unit
====== ======================================================================= ===== ====
x      (sin(azimuth), sin(elevation), 1/r)                                     [3]   1, 1, 1/m
q      share of the field of view, (x - least) / (most - least), in [0, 1]     [3]   1
J      slots
====== ======================================================================= ===== ====

Every q of [0, 1]^3 is inside the field of view, so that a head can name nothing outside, and one unit is the same
effort in all three. A coordinate that is the same in all scenes has the share 1/2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from risjax.config import EstimatorConfig, PhysicsConfig
from risjax.spectral.grid import Field, field_of_view
from risjax.types import Estimates, Slots

_EDGE = 1.0 - 1e-6


def to_share(position: Float[Array, "*shape 3"], field: Field) -> Float[Array, "*shape 3"]:
    """(azimuth [rad], elevation [rad], range [m]) to shares; outside [0, 1] beyond the field of view."""
    least, width = _least_and_width(field)
    sines = jnp.sin(position[..., :2])
    x = jnp.concatenate([sines, 1.0 / position[..., 2:]], axis=-1)
    least, width = (_like(numbers, x) for numbers in (least, width))
    usable = width > 0
    return jnp.where(usable, (x - least) / jnp.where(usable, width, 1.0), 0.5)


def from_share(share: Float[Array, "*shape 3"], field: Field) -> Float[Array, "*shape 3"]:
    """Shares in [0, 1] to (azimuth [rad], elevation [rad], range [m])."""
    least, width = (_like(numbers, share) for numbers in _least_and_width(field))
    x = least + share * width
    angles = jnp.arcsin(jnp.clip(x[..., :2], -_EDGE, _EDGE))
    return jnp.concatenate([angles, 1.0 / x[..., 2:]], axis=-1)


def sources_in_slots(slots: Slots, physics: PhysicsConfig, estimator: EstimatorConfig) -> Estimates:
    """The slots of one scene that are likely to hold a source, at most K_max, the likeliest.

    Args:
        slots: of the scene, in full precision.
        physics: field of view, and K_max.
        estimator: ``posterior.existence``, the least probability.

    Returns:
        Likeliest first; ``amplitude`` zero, ``std`` inf, ``score`` the logit of existence, ``existence`` its
        probability. Empty where a number of the scene is not finite.
    """
    finite = jnp.all(jnp.isfinite(slots.existence)) & jnp.all(jnp.isfinite(slots.place))
    count = min(physics.scene.max_sources, slots.existence.shape[0])
    score, index = jax.lax.top_k(jnp.where(finite, slots.existence, -jnp.inf), count)
    probability = jax.nn.sigmoid(score)
    active = finite & (probability >= estimator.posterior.existence)
    position = from_share(jax.nn.sigmoid(slots.place[index]), field_of_view(physics))
    return Estimates(
        position=jnp.where(active[:, None], position, 0.0),
        amplitude=jnp.zeros(count, jnp.result_type(score, jnp.complex64)),
        active=active,
        std=jnp.full_like(position, jnp.inf),
        score=jnp.where(active, score, 0.0),
        existence=jnp.where(active, probability, 0.0),
    )


def _least_and_width(field: Field) -> tuple[np.ndarray, np.ndarray]:
    ends = np.array([field.sin_azimuth, field.v, field.s])
    return ends[:, 0], ends[:, 1] - ends[:, 0]


def _like(numbers: np.ndarray, array: Float[Array, "*shape 3"]) -> Float[Array, "*ones 3"]:
    return jnp.asarray(numbers, array.dtype).reshape((1,) * (array.ndim - 1) + (3,))
