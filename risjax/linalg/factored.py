"""Covariance in the form of a low-rank factor and a diagonal loading."""

from typing import NamedTuple

from jaxtyping import Array, Float, Inexact


class LowRankCovariance(NamedTuple):
    """R = F F^H + delta I, the form of all covariances of the package.

    Attributes:
        factor: F, [N, rank], complex or real.
        loading: delta >= 0, [] real.

    Example:
        >>> import jax.numpy as jnp
        >>> covariance = LowRankCovariance(factor=jnp.ones((4, 1)), loading=jnp.array(0.1))
        >>> covariance.factor.shape
        (4, 1)
    """

    factor: Inexact[Array, "*batch N rank"]
    loading: Float[Array, "*batch"]
