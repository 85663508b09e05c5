"""Covariance in the form of a low-rank factor and a diagonal loading."""

from typing import NamedTuple

from jaxtyping import Array, Float, Inexact


class LowRankCovariance(NamedTuple):
    """R = F F^H + delta I, the form of all covariances of the package.

    Attributes:
        factor: F, [N, rank], complex or real.
        loading: delta >= 0, [] real.
    """

    factor: Inexact[Array, "*batch N rank"]
    loading: Float[Array, "*batch"]
