"""Traced settings of the loss, and the weights of its terms over a training.

======== =========================================================================================
symbol   meaning
======== =========================================================================================
t        share of the updates already applied, in [0, 1]
w, f     ``loss.schedule.warmup_fraction`` and ``final_fraction``
m(t)     factor on a term's weight: linear from ``warmup`` at t = 0 to 1 at t = w, 1 until
         t = 1 - f, linear to ``final`` at t = 1
======== =========================================================================================

The numbers are those of the schema, under the same names. A term of weight zero and a constant schedule are left out of
the settings and therefore out of the compiled program. A term whose weight is zero only at first is part of the program
and takes its time.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp

from risjax.config import LossConfig
from risjax.loss.term import Number
from risjax.registry import TermConfig


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
        numbers: further settings of each of these terms that has some, by their names.
        schedule: None for constant weights.
    """

    weights: Mapping[str, Number]
    numbers: Mapping[str, Mapping[str, Number]]
    schedule: WeightSchedule | None = None


def loss_settings(config: LossConfig) -> LossSettings:
    """Settings of a configuration, as Python numbers; only terms with a weight above zero are part of the program."""
    active = {name: term for name, term in config.terms.items() if term.weight > 0}
    numbers = {name: _own_numbers(term) for name, term in active.items()}
    return LossSettings(
        weights={name: term.weight for name, term in active.items()},
        numbers={name: values for name, values in numbers.items() if values},
        schedule=None
        if all((term.warmup, term.final) == (1, 1) for term in active.values())
        else WeightSchedule(
            **config.schedule.model_dump(),
            warmup={name: term.warmup for name, term in active.items()},
            final={name: term.final for name, term in active.items()},
        ),
    )


def _own_numbers(term: TermConfig) -> dict[str, Number]:
    """The settings that a term's section adds to those of every term."""
    return {name: value for name, value in term if name not in TermConfig.model_fields}


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
