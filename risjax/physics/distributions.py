"""Random draws with the distributions of scenes: intervals, complex Gaussians and SNRs.

A scene takes all uniform numbers from one call of the generator and all Gaussian numbers from another, because each
further call adds half a second of compilation on a CPU. The first n numbers of a call do not depend on how many follow,
so a distribution that needs more numbers (per-snapshot symbols) leaves the other draws unchanged.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extended
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Key, UInt32

from risjax.config import SceneConfig
from risjax.config.physics import ChoiceSnr, NormalSnr

End = float | Float[Array, ""]


def scale(unit: Float[Array, "*shape"], interval: tuple[End, End]) -> Float[Array, "*shape"]:
    """low + unit (high - low): draws uniform on [0, 1) mapped to the interval."""
    return interval[0] + unit * (interval[1] - interval[0])


def complex_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Complex[Array, "*shape"]:
    """Circular complex Gaussian draws of unit variance; ``dtype`` is the real dtype.

    In float32 the two words of a Threefry block give the real and the imaginary part. `jax.random.normal` uses a block
    for each real number, which took half of the time of a scene.
    """
    key_data = jax.random.key_data(key)
    if jnp.dtype(dtype) != jnp.float32 or key_data.shape != (2,):
        parts = jax.random.normal(key, (*shape, 2), dtype) * math.sqrt(0.5)
        return jax.lax.complex(parts[..., 0], parts[..., 1])
    count = jnp.arange(math.prod(shape), dtype=jnp.uint32)
    real, imaginary = extended.threefry2x32_p.bind(key_data[0], key_data[1], jnp.zeros_like(count), count)
    return jax.lax.complex(_half_normal(real), _half_normal(imaginary)).reshape(shape)


def _half_normal(words: UInt32[Array, " n"]) -> Float[Array, " n"]:
    """Gaussian draws of variance 1/2 from random words: erf_inv(u), u uniform on the odd multiples of 2^-23.

    u is an integer times a power of two, computed exactly. In the form (x - 3) + 2^-23, XLA adds the constants first,
    loses the smaller one and draws -infinity once in 2^23 numbers.
    """
    odd = 2 * (words >> np.uint32(9)).astype(jnp.int32) + (1 - 2**23)
    return jax.lax.erf_inv(odd.astype(jnp.float32) * np.float32(2**-23))


def draw_snr_db(unit: Float[Array, ""], scene: SceneConfig) -> Float[Array, ""]:
    """SNR in dB with the distribution ``scene.snr_law``, from a draw uniform on [0, 1)."""
    law, (low, high) = scene.snr_law, scene.snr_db
    if isinstance(law, NormalSnr):
        ends = [0.5 * (1 + math.erf((end - law.mean_db) / (law.std_db * math.sqrt(2)))) for end in (low, high)]
        normal = jax.scipy.special.ndtri(scale(unit, (ends[0], ends[1])))
        return jnp.clip(law.mean_db + law.std_db * normal, low, high)
    if isinstance(law, ChoiceSnr):
        weights = np.ones(len(law.values_db)) if law.weights is None else np.asarray(law.weights)
        passed = jnp.asarray(np.cumsum(weights)[:-1] / weights.sum(), unit.dtype)
        return jnp.asarray(law.values_db, unit.dtype)[jnp.sum(unit >= passed)]
    return scale(unit, scene.snr_db)
