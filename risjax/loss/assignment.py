"""The optimal assignment of sources to slots, exact, by dynamic programming over subsets of the sources.

========= =========================================================================== ========
symbol    meaning                                                                     shape
========= =========================================================================== ========
J, K      slots, sources; J >= K
c_jk      cost of slot j taking source k                                              [J, K]
V_j(S)    least cost of the first j slots taking exactly the sources of the set S,    [2^K]
          at most one each: min of V_(j-1)(S) and, over k in S, V_(j-1)(S - k) + c_jk
========= =========================================================================== ========

The answer is V_J(active) and the choices that led to it. All shapes are static, J 2^K K sums and comparisons (800 for
five and five), and how many sources there are differs from scene to scene.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def optimal_assignment(cost: Float[Array, "J K"], active: Bool[Array, " K"]) -> Bool[Array, "J K"]:
    """Which slot takes which source, so that every active source is taken and the sum of costs is least.

    Of equally cheap assignments it is one, the same whenever asked. A cost that is NaN is taken for the least, so that
    a sum over what was assigned is NaN and nobody is deceived. Nothing is differentiated: the least cost has the
    derivative of the costs assigned.

    Args:
        cost: of every pair.
        active: which sources there are.

    Raises:
        ValueError: at trace time, with fewer slots than sources.
    """
    num_slots, num_sources = cost.shape
    if num_slots < num_sources:
        raise ValueError(f"{num_slots} slots cannot take {num_sources} sources; give the geometry head more slots")
    cost = jax.lax.stop_gradient(cost)
    member, without = _subsets(num_sources)

    def visit(least: Float[Array, " sets"], mine: Float[Array, " K"]) -> tuple[Array, Int[Array, " sets"]]:
        taking = jnp.where(member, least[without] + mine[None, :], jnp.inf)
        options = jnp.concatenate([least[:, None], taking], axis=1)
        return jnp.min(options, axis=1), jnp.argmin(options, axis=1)

    nothing = jnp.where(jnp.arange(len(member)) == 0, 0.0, jnp.inf).astype(cost.dtype)
    _, choices = jax.lax.scan(visit, nothing, cost)

    def go_back(left: Int[Array, ""], choice: Int[Array, " sets"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        taken = choice[left]  # 0: none, else the source after it
        return jnp.where(taken > 0, without[left, jnp.maximum(taken - 1, 0)], left), taken

    everyone = jnp.sum(jnp.where(active, 2 ** np.arange(num_sources), 0))
    _, taken = jax.lax.scan(go_back, everyone, choices, reverse=True)
    return taken[:, None] == 1 + jnp.arange(num_sources)[None, :]


def _subsets(count: int) -> tuple[Bool[Array, "sets K"], Int[Array, "sets K"]]:
    """Of every set, as the number whose bits are its members: who is in it, and the set without each of them."""
    sets, bits = np.arange(2**count)[:, None], 2 ** np.arange(count)[None, :]
    return jnp.asarray((sets & bits) > 0), jnp.asarray(sets & ~bits)
