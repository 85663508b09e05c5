"""Features of a spectrum's peaks, from which a small network decides which peaks are sources.

A threshold relative to the highest peak does not separate weak sources from side lobes. These features do: the power of
the peak after the measurement relative to the noise, its height and position relative to its neighbours, and its
position in the field of view. They do not depend on units, and the receiver knows all of them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.config import PhysicsConfig
from risjax.estimators.forward_selection import search_energy
from risjax.estimators.likelihood import SufficientStatistics
from risjax.linalg import LowRankCovariance
from risjax.spectral.grid import field_of_view
from risjax.spectral.peak_search import Peaks
from risjax.spectral.spectrum import bartlett_spectrum

NUM_PEAK_FEATURES = 17
_NEAR = 2.76
"""12 dB, as a logarithm."""


def peak_features(
    peaks: Peaks,
    vectors: Complex[Array, "J N"],
    covariance: LowRankCovariance,
    data: SufficientStatistics,
    noise_to_signal: Float[Array, ""],
    physics: PhysicsConfig,
) -> Float[Array, "J F"]:
    """Return the features of every peak, F = `NUM_PEAK_FEATURES` numbers; zero in slots without a peak.

    Args:
        peaks: of `risjax.estimators.mvdr.mvdr_peaks`.
        vectors: steering vectors of the peaks.
        covariance: R_eff, whose spectrum has these peaks.
        data: of the scene; G gives the received energy of a source.
        noise_to_signal: of `risjax.physics.images.FieldImages`.
        physics: field of view.
    """
    field, tiny = field_of_view(physics), jnp.finfo(noise_to_signal.dtype).tiny
    alive, slots = peaks.alive, peaks.alive.shape[0]

    def log(x: Array) -> Array:
        return jnp.log(jnp.maximum(x, tiny))

    height = jnp.where(alive, peaks.heights, 0.0)
    arriving = search_energy(data, vectors)
    columns = covariance.factor.T
    modelled = jnp.sum(search_energy(data, columns)) + covariance.loading * jnp.trace(data.gram).real
    share = height * arriving / jnp.maximum(modelled, tiny)
    highest = jnp.maximum(jnp.max(height), tiny)
    below = jnp.where(alive, log(height / highest), 0.0)
    # Heights of the next lower and next higher peak; suppressed slots lie between the others, so order is not enough.
    lower = jnp.max(jnp.where(height[None, :] < height[:, None], height[None, :], 0.0), axis=1)
    higher = jnp.min(jnp.where(height[None, :] > height[:, None], height[None, :], jnp.inf), axis=1)
    apart = peaks.cosines[:, None, :2] - peaks.cosines[None, :, :2]
    distance = jnp.sqrt(jnp.sum(apart**2, axis=-1))
    nearest = jnp.min(jnp.where(alive[None, :] & (height[None, :] > height[:, None]), distance, 2.0), axis=1)
    s = peaks.cosines[:, 2]
    columns_of_peaks = [
        below,
        log(height),
        log(share * data.num_measurements / noise_to_signal),
        log(arriving * slots / jnp.maximum(jnp.sum(arriving), tiny)),
        log(bartlett_spectrum(covariance, vectors) / jnp.maximum(height, tiny)),
        log(height / jnp.maximum(lower, 1e-3 * highest)),
        log(jnp.where(jnp.isfinite(higher), higher, height) / jnp.maximum(height, tiny)),
        log(nearest),
        (jnp.cumsum(alive) - 1.0) / slots,
        jnp.full(slots, log(noise_to_signal)),
        jnp.full(slots, jnp.sum(alive & (below > -_NEAR)) / slots),
        log(s),
        (s - field.s[0]) / (field.s[1] - field.s[0]),
        peaks.cosines[:, 0],
        peaks.cosines[:, 1],
        jnp.abs(peaks.cosines[:, 0]),
        jnp.abs(peaks.cosines[:, 1]),
    ]
    features = jnp.stack([column.astype(height.dtype) for column in columns_of_peaks], axis=1)
    held = alive & jnp.all(jnp.isfinite(features), axis=1)
    return jnp.where(held[:, None], features, 0.0)
