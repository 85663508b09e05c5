"""Normalisation of each scene by powers of two, so that the answer does not depend on the units of y and H.

    y' = y / 2^p,    H' = H / 2^q,    amplitude = amplitude' 2^(p - q)

2^p and 2^q are the largest powers of two that no real or imaginary part exceeds in y and in H. Multiplication by a
power of two is exact, so that results are equal to the bit for all units in powers of two. Without it energies of
y = 1e-20 underflow in float32, and those of 1e20 overflow.
"""

import functools
from collections.abc import Callable
from typing import Concatenate, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from risjax.types import Estimates, Observation, Sources

P = ParamSpec("P")


class SceneScale(NamedTuple):
    """Units that `normalise_scene` removed from one scene.

    Attributes:
        exponent: p - q, []; amplitudes in the scene's units are those of the normalised scene times 2^(p - q).
        is_empty: y or H is zero throughout, so that nothing was measured, [].
    """

    exponent: Int[Array, "*batch"]
    is_empty: Bool[Array, "*batch"]


def normalise_scene(observation: Observation) -> tuple[Observation, SceneScale]:
    """Return one scene in units in which no sum of squares leaves the range of its dtype, and those units."""
    snapshots, snapshots_exponent = _over_power_of_two(observation.snapshots)
    channel, channel_exponent = _over_power_of_two(observation.channel)
    is_empty = ~(jnp.any(observation.snapshots != 0) & jnp.any(observation.channel != 0))
    scale = SceneScale(snapshots_exponent - channel_exponent, is_empty)
    return observation._replace(snapshots=snapshots, channel=channel), scale


def restore_estimates(estimates: Estimates, scale: SceneScale) -> Estimates:
    """Return the estimates of one normalised scene in the scene's own units; none for an empty scene."""
    active = estimates.active & ~scale.is_empty
    row = active[:, None]
    return Estimates(
        position=jnp.where(row, estimates.position, 0.0),
        amplitude=jnp.where(active, _times_power_of_two(estimates.amplitude, scale.exponent), 0),
        active=active,
        std=jnp.where(row, estimates.std, jnp.inf),
        score=jnp.where(active, estimates.score, 0.0),
        existence=jnp.where(active | jnp.isnan(estimates.existence), estimates.existence, 0.0),
    )


def in_units_of(estimates: Estimates, scale: SceneScale) -> Estimates:
    """Return estimates of one scene, stated in its own units, in those of the normalised scene."""
    return estimates._replace(amplitude=_times_power_of_two(estimates.amplitude, -scale.exponent))


def restore_sources(sources: Sources, scale: SceneScale) -> Sources:
    """Return the sources of one normalised scene in the scene's own units; none for an empty scene."""
    active = sources.active & ~scale.is_empty
    amplitude = _times_power_of_two(sources.amplitude, scale.exponent)
    return Sources(jnp.where(active[:, None], sources.position, 0.0), jnp.where(active, amplitude, 0), active)


def restore_field(field: Complex[Array, "*shape"], scale: SceneScale) -> Complex[Array, "*shape"]:
    """Return a field on the surface, of one normalised scene, in the scene's own units."""
    return _times_power_of_two(field, scale.exponent)


def in_normalised_units(
    localise: Callable[Concatenate[Observation, P], Estimates],
) -> Callable[Concatenate[Observation, P], Estimates]:
    """Decorator of an estimator of one scene: it computes on the normalised scene, and its amplitudes are restored."""

    @functools.wraps(localise)
    def normalised(observation: Observation, /, *args: P.args, **kwargs: P.kwargs) -> Estimates:
        unit, scale = normalise_scene(observation)
        return restore_estimates(localise(unit, *args, **kwargs), scale)

    return normalised


def _over_power_of_two(array: Complex[Array, "rows columns"]) -> tuple[Complex[Array, "rows columns"], Int[Array, ""]]:
    """The array over the power of two below its largest part, and the exponent; an all-zero array is unchanged."""
    largest = jnp.maximum(jnp.max(jnp.abs(array.real), initial=0), jnp.max(jnp.abs(array.imag), initial=0))
    info, integer = jnp.finfo(largest.dtype), _integer(largest.dtype)
    biased = jax.lax.bitcast_convert_type(largest, integer) >> info.nmant
    exponent = jnp.clip(biased - (info.maxexp - 1), info.minexp, -info.minexp)
    exponent = jnp.where(largest > 0, exponent, 0)
    return _times_power_of_two(array, -exponent), exponent


def _times_power_of_two(array: Array, exponent: Int[Array, ""]) -> Array:
    """array 2^exponent in two steps, since 2^exponent itself may leave the range of the dtype where the result does
    not."""
    half = exponent // 2
    for part in (half, exponent - half):
        factor = _power_of_two(part, array.real.dtype)
        array = jax.lax.complex(array.real * factor, array.imag * factor)
    return array


def _power_of_two(exponent: Int[Array, ""], dtype: jnp.dtype) -> Float[Array, ""]:
    """2^exponent to the bit, which ``jnp.exp2`` does not promise."""
    info, integer = jnp.finfo(dtype), _integer(dtype)
    return jax.lax.bitcast_convert_type((exponent.astype(integer) + (info.maxexp - 1)) << info.nmant, dtype)


def _integer(dtype: jnp.dtype) -> jnp.dtype:
    return jnp.dtype(jnp.int64 if jnp.finfo(dtype).bits == 64 else jnp.int32)
