"""The simulator's own laws as a prior: draws from it and its density, in the coordinates of the sampler.

========= ====================================================== ======== =====
symbol    meaning                                                shape    unit
========= ====================================================== ======== =====
q         (azimuth, elevation, inverse range) of every slot      [K, 3]   rad, rad, 1/m
active    which slots hold a source                              [K]
log_gain  logarithm of the scene's amplitude gain g              []
log_noise logarithm of the noise variance                        []
d         variance of an amplitude, (g lambda / 4 pi r)^2        [K]      W
========= ====================================================== ======== =====

Snapshots are brought to unit mean power beforehand, so g and the noise variance are those of the scene over that.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from risjax.config import ImpairmentsConfig, PhysicsConfig, SceneConfig
from risjax.config.physics import UniformSnr
from risjax.physics.array import amplitude_norm
from risjax.physics.scene import path_gain

_NEPERS_PER_DB = math.log(10.0) / 20


class Bounds(NamedTuple):
    """The prior's support.

    Attributes:
        low: least (azimuth [rad], elevation [rad], inverse range [1/m]).
        high: greatest.
        log_gain: least and greatest logarithm of the amplitude gain, before the scene's scale is taken out.
        log_snr: least and greatest logarithm of the signal power over the noise variance.
        num_sources: least and most.
        snr_reference: ``scene.snr_reference``, which defines the signal power.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    log_gain: tuple[float, float]
    log_snr: tuple[float, float]
    num_sources: tuple[int, int]
    snr_reference: Literal["received", "transmitted"]


def require_sampled_laws(physics: PhysicsConfig) -> None:
    """Refuses scenes whose prior is not the one of this module.

    Raises:
        ValueError: naming every setting whose law is not supported.
    """
    scene, nominal = physics.scene, ImpairmentsConfig()
    expected = {
        "symbols": (scene.symbols, "constant"),
        "modulus": (scene.modulus, "rayleigh"),
        "min_separation_deg": (scene.min_separation_deg, 0.0),
        "power_db": (scene.power_db, (0.0, 0.0)),
        "snr_law": (scene.snr_law, UniformSnr()),
    }
    wrong = [f"physics.scene.{name} = {got}, expected {want}" for name, (got, want) in expected.items() if got != want]
    for name in ("snr_db", "gain_db"):
        low, high = getattr(scene, name)
        if low == high:
            wrong.append(f"physics.scene.{name} = [{low}, {high}], expected an interval of some width")
    if physics.impairments != nominal:
        wrong.append("physics.impairments are on, expected none: the prior knows the nominal model only")
    if physics.codebook.measured and scene.snr_reference == "transmitted":
        wrong.append("physics.codebook.measured = true, expected false: the transmitted power is that of unit moduli")
    if wrong:
        raise ValueError("the Bayes limit is not supported for this law of scenes: " + "; ".join(wrong))


def bounds(scene: SceneConfig) -> Bounds:
    """The support of a law of scenes."""
    (azimuth_low, azimuth_high), (elevation_low, elevation_high) = (
        tuple(math.radians(angle) for angle in interval) for interval in (scene.azimuth_deg, scene.elevation_deg)
    )
    nearest, furthest = scene.range_m
    gain, snr = ((low * _NEPERS_PER_DB, high * _NEPERS_PER_DB) for low, high in (scene.gain_db, scene.snr_db))
    return Bounds(
        (azimuth_low, elevation_low, 1 / furthest),
        (azimuth_high, elevation_high, 1 / nearest),
        gain,
        (2 * snr[0], 2 * snr[1]),
        scene.num_sources,
        scene.snr_reference,
    )


def draw_coordinates(key: Key[Array, ""], limits: Bounds) -> Float[Array, "3"]:
    """q of one source, uniform in azimuth, elevation and range."""
    unit = jax.random.uniform(key, (3,))
    low, high = jnp.asarray(limits.low), jnp.asarray(limits.high)
    furthest, nearest = 1 / low[2], 1 / high[2]
    angles = low[:2] + unit[:2] * (high[:2] - low[:2])
    return jnp.append(angles, 1 / (nearest + unit[2] * (furthest - nearest)))


def draw_count(key: Key[Array, ""], limits: Bounds, slots: int) -> Bool[Array, " K"]:
    """The first slots, as many as the uniform law of the number of sources says."""
    least, most = limits.num_sources
    return jnp.arange(slots) < jax.random.randint(key, (), least, most + 1)


def log_density(q: Float[Array, "*shape 3"], limits: Bounds) -> Float[Array, "*shape"]:
    """Return the log-density of one source's q, -inf outside the prior's support.

    Uniform in range is 1 / (r_max - r_min) s^-2 in inverse range s.
    """
    low, high = jnp.asarray(limits.low), jnp.asarray(limits.high)
    inside = jnp.all((q >= low) & (q <= high), axis=-1)
    sides = (high[0] - low[0]) * (high[1] - low[1]) * (1 / low[2] - 1 / high[2])
    return jnp.where(inside, -jnp.log(sides) - 2 * jnp.log(jnp.where(inside, q[..., 2], 1.0)), -jnp.inf)


def to_polar(q: Float[Array, "*shape 3"]) -> Float[Array, "*shape 3"]:
    """(azimuth [rad], elevation [rad], range [m]) of q."""
    return jnp.concatenate([q[..., :2], 1 / q[..., 2:]], axis=-1)


def amplitude_variance(
    q: Float[Array, "K 3"], log_gain: Float[Array, ""], physics: PhysicsConfig
) -> Float[Array, " K"]:
    """d: Rayleigh symbols behind free-space path loss and the elements' amplitudes."""
    position = to_polar(q)
    modulus = path_gain(position[:, 2], physics.array.wavelength_m) * amplitude_norm(physics.array, position)
    return jnp.exp(2 * log_gain) * modulus**2
