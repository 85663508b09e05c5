"""The effective covariance: one function for training, validation, inference and export.

    R_eff = [(1 - beta) R_pred + beta R_sample + delta I] / (1 + delta),   tr R_eff = N

with R_pred and R_sample of trace N. Both are low-rank, so R_eff stays a factor and a loading, and every
spectrum on it costs a product with ``rank`` columns instead of a solve with N.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from risjax.config import CovarianceConfig, PhysicsConfig
from risjax.linalg import LowRankCovariance, normalise_trace, safe_eigh
from risjax.physics.scene import label_factor, sources_steering
from risjax.types import Geometry, Sources


class CovarianceSettings(NamedTuple):
    """The numbers of `CovarianceConfig` as traced values, so that one program serves many configurations.

    Attributes:
        blend: beta, the share of the sample covariance.
        loading: delta, added to the diagonal at trace N.
    """

    blend: Float[Array, ""]
    loading: Float[Array, ""]


def covariance_settings(config: CovarianceConfig, dtype: DTypeLike = jnp.float32) -> CovarianceSettings:
    """Return a configuration's numbers as scalars that a program traces."""
    return CovarianceSettings(*(jnp.asarray(getattr(config, name), dtype) for name in CovarianceSettings._fields))


def effective_covariance(
    predicted: Complex[Array, "N rank"],
    sample: Complex[Array, "N snapshots"],
    settings: CovarianceConfig | CovarianceSettings,
) -> LowRankCovariance:
    """Return R_eff: predicted and sample covariance blended and loaded.

    Args:
        predicted: factor of R_pred, of any scale; [N, rank].
        sample: factor of R_sample, of any scale, never mean-centred (the mean of a coherent field is the
            signal itself); [N, 1] for constant symbols.
        settings: blend beta and loading delta.

    Returns:
        R_eff of trace N; its factor is [N, rank + snapshots].
    """
    total = 1.0 + settings.loading
    parts = [
        jnp.sqrt(weight / total) * normalise_trace(factor)
        for weight, factor in ((1.0 - settings.blend, predicted), (settings.blend, sample))
    ]
    loading = jnp.asarray(settings.loading / total, parts[0].real.dtype)
    return LowRankCovariance(factor=jnp.concatenate(parts, axis=-1), loading=loading)


def sample_covariance(
    sample: Complex[Array, "N snapshots"], settings: CovarianceConfig | CovarianceSettings
) -> LowRankCovariance:
    """Return R_sample, loaded as R_eff is: R_eff without R_pred.

    Args:
        sample: factor of R_sample, of any scale.
        settings: loading delta.
    """
    total = 1.0 + settings.loading
    factor = jnp.sqrt(1.0 / total) * normalise_trace(sample)
    loading = jnp.asarray(settings.loading / total, factor.real.dtype)
    return LowRankCovariance(factor, loading)


def factor_of_sources(
    sources: Sources, physics: PhysicsConfig, geometry: Geometry | None = None
) -> Complex[Array, "N K"]:
    """Return the factor of sum_k |amplitude_k|^2 a_k a_k^H over one scene's sources, at trace N; zero for none.

    Args:
        sources: whose amplitudes are known.
        physics: whose steering vectors.
        geometry: the scene's own surface; None for the nominal one.
    """
    return label_factor(sources_steering(physics, sources, geometry), sources.amplitude)


def dense(covariance: LowRankCovariance) -> Complex[Array, "N N"]:
    """Return F F^H + delta I as a matrix."""
    factor = covariance.factor
    identity = jnp.eye(factor.shape[0], dtype=factor.dtype)
    return jnp.matmul(factor, factor.conj().T, precision="highest") + covariance.loading * identity


def from_dense(matrix: Complex[Array, "N N"], loading: Float[Array, ""] | float) -> LowRankCovariance:
    """Return a full covariance R + delta I as a factor of N columns, the form that the estimators take.

    Args:
        matrix: R, Hermitian; eigenvalues below zero (rounding) count as zero.
        loading: delta, above zero, in units of R.
    """
    values, vectors = safe_eigh(matrix)
    return LowRankCovariance(
        factor=vectors * jnp.sqrt(jnp.maximum(values, 0.0)).astype(vectors.dtype)[None, :],
        loading=jnp.asarray(loading, values.dtype),
    )
