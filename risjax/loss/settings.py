"""Traced settings of the loss, and the weights of its terms over a training.

======== =========================================================================================
symbol   meaning
======== =========================================================================================
t        share of the updates already applied, in [0, 1]
w, f     ``loss.schedule.warmup_fraction`` and ``final_fraction``
m(t)     factor on a term's weight: linear from ``warmup`` at t = 0 to 1 at t = w, 1 until
         t = 1 - f, linear to ``final`` at t = 1
======== =========================================================================================

A term of weight zero and a constant schedule are left out of the settings and therefore out of the compiled program. A
term whose weight is zero only at first is part of the program and takes its time.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from risjax.config import LossConfig

Number = Float[Array, ""] | float


class WeightSchedule(NamedTuple):
    """Schedule of the weights over a training.

    Attributes:
        warmup_fraction: w.
        final_fraction: f.
        warmup: factor on each active term's weight at the first update.
        final: factor at the last update.
    """

    warmup_fraction: Number
    final_fraction: Number
    warmup: Mapping[str, Number]
    final: Mapping[str, Number]


class LossSettings(NamedTuple):
    """Numbers of `LossConfig` that the program takes as arguments, so that one program serves many configurations.

    Attributes:
        weights: weight of each term that is part of the program.
        alignment_loading: ``alignment.loading``; None without that term.
        schedule: None for constant weights.
    """

    weights: Mapping[str, Number]
    alignment_loading: Number | None = None
    schedule: WeightSchedule | None = None


def active_weights(config: LossConfig) -> dict[str, float]:
    """Weights above zero; only their terms are part of the program."""
    return {name: term.weight for name, term in config.terms.items() if term.weight > 0}


def loss_settings(config: LossConfig) -> LossSettings:
    """Settings of a configuration, as Python numbers."""
    active = {name: term for name, term in config.terms.items() if term.weight > 0}
    multiples = [(term.warmup, term.final) for term in active.values()]
    return LossSettings(
        weights=active_weights(config),
        alignment_loading=config.alignment.loading if "alignment" in active else None,
        schedule=None
        if all(pair == (1, 1) for pair in multiples)
        else WeightSchedule(
            warmup_fraction=config.schedule.warmup_fraction,
            final_fraction=config.schedule.final_fraction,
            warmup={name: term.warmup for name, term in active.items()},
            final={name: term.final for name, term in active.items()},
        ),
    )


def at_progress(settings: LossSettings, progress: Number) -> LossSettings:
    """Settings at one point of the training, without a schedule.

    Args:
        settings: settings of the whole training.
        progress: t, the share of the updates already applied.
    """
    schedule = settings.schedule
    if schedule is None:
        return settings
    begun = _ramp(progress, schedule.warmup_fraction)
    left = _ramp(1.0 - progress, schedule.final_fraction)

    def now(name: str, weight: Number) -> Number:
        multiple = 1.0 + (schedule.warmup[name] - 1.0) * (1.0 - begun) + (schedule.final[name] - 1.0) * (1.0 - left)
        return weight * multiple

    return settings._replace(weights={name: now(name, w) for name, w in settings.weights.items()}, schedule=None)


def _ramp(progress: Number, length: Number) -> Number:
    """min(progress / length, 1); 1 for a phase of length zero."""
    return jnp.where(jnp.asarray(length) > 0, jnp.clip(progress / jnp.where(length > 0, length, 1.0), 0.0, 1.0), 1.0)
