"""The measurement y_l = H diag(c_l) x and what can be said of x from y, never forming Phi.

====== ============================================ ============ =======
symbol meaning                                      shape        unit
====== ============================================ ============ =======
Phi    measurement matrix, row block l H diag(c_l)  [L*M, N]     1
G      Gram matrix Phi^H Phi = (H^H H) o (C^H C)    [N, N]       1
b      matched filter Phi^H y = sum_l c_l^* o H^H y_l [N]        sqrt(W)
====== ============================================ ============ =======

All functions take one observation and run in its dtype with full matmul precision; batch by vmap.
"""

import jax.numpy as jnp
from jaxtyping import Array, Complex

from risjax.types import Observation


def forward(observation: Observation, field: Complex[Array, " N"]) -> Complex[Array, "L M"]:
    """Phi x: the noiseless snapshots of a coherent field x, through the observation's channel and codes."""
    return jnp.matmul(observation.codes * field[None, :], observation.channel.T, precision="highest")


def matched_filter(observation: Observation) -> Complex[Array, " N"]:
    """Phi^H y."""
    back = jnp.matmul(observation.snapshots, observation.channel.conj(), precision="highest")
    return jnp.sum(observation.codes.conj() * back, axis=0)


def gram(observation: Observation) -> Complex[Array, "N N"]:
    """Phi^H Phi = (H^H H) o (C^H C), N^2 (M + L) operations instead of N^2 L M."""
    channel, codes = observation.channel, observation.codes
    return jnp.matmul(channel.conj().T, channel, precision="highest") * jnp.matmul(
        codes.conj().T, codes, precision="highest"
    )
