"""One epoch of a training: its steps, its validation and its record, for the run of a stage and for `fit_network`."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.checks import drop_checks, wait_for_checks
from risjax.config import Config
from risjax.config.metric import lower_is_better
from risjax.model import Params
from risjax.train.health import NonFiniteTraining, find_nonfinite_terms, locate
from risjax.train.mesh import make_mesh, one_copy
from risjax.train.records import counts, health_of, step_record
from risjax.train.settings import log_intervals
from risjax.train.state import StepInfo, TrainState
from risjax.train.trainer import Trainer
from risjax.train.validation import make_validation

Log = Callable[[dict[str, Any]], None]
"""Called with the record of each step."""


class Best(NamedTuple):
    """The best epoch so far.

    Attributes:
        epoch: whose EMA parameters scored best on ``train.best_metric``; 0 before the first epoch.
        validation: its metrics.
    """

    epoch: int = 0
    validation: dict[str, float] = {}  # noqa: RUF012 (never changed)


class Epoch(NamedTuple):
    """Result of an epoch.

    Attributes:
        state: after it.
        copy: the same, once, whatever the number of devices.
        best: the best epoch up to this one.
        record: its line of the log.
    """

    state: TrainState
    copy: TrainState
    best: Best
    record: dict[str, Any]


def run_epoch(
    trainer: Trainer,
    validate: Callable[[Params], dict[str, float]],
    state: TrainState,
    epoch: int,
    best: Best,
    *,
    log: Log,
    advance: Callable[..., None],
) -> Epoch:
    """Train and validate one epoch.

    Args:
        trainer: of the configuration.
        validate: from EMA parameters to metrics.
        state: before the epoch.
        epoch: its number, from 1.
        best: the best epoch before it.
        log: called with the record of each step.
        advance: called with the number of steps finished since the last call, and ``loss``.

    Raises:
        NonFiniteTraining: a value of a step is not finite, or too many steps in a row were skipped.
    """
    settings, started = trainer.config.train, time.perf_counter()
    state, health = _train_epoch(trainer, state, epoch, log, advance)
    trained = time.perf_counter() - started
    copy = one_copy(state)
    validation = validate(copy.ema)
    best = _better(trainer.config, best, Best(epoch, validation))
    record = {
        "kind": "epoch",
        "epoch": epoch,
        **health,
        "validation": validation,
        "best_epoch": best.epoch,
        **counts(state),
        "scenes_per_second": settings.steps_per_epoch * settings.batch_size / trained,
        "seconds": time.perf_counter() - started,
    }
    return Epoch(state, copy, best, record)


def fit_network(config: Config, *, on_epoch: Callable[[dict[str, Any]], None] | None = None) -> Params:
    """Train a network in memory; return the EMA parameters of its best epoch.

    Args:
        config: what to train.
        on_epoch: called with each epoch's record; an exception from it ends the training.

    Raises:
        ConfigError: the scenes or the network cannot be built; nothing was trained.
        NonFiniteTraining: see `run_epoch`.
    """
    trainer = Trainer(config, make_mesh(config.train))
    trainer.dtypes()
    validate, state = make_validation(config), trainer.init()
    best, params = Best(), {}
    for epoch in range(1, config.train.epochs + 1):
        done = run_epoch(trainer, validate, state, epoch, best, log=_ignore, advance=_ignore)
        state, best = done.state, done.best
        if best.epoch == epoch:
            params = done.copy.ema
        if on_epoch is not None:
            on_epoch(done.record)
    return params


def _ignore(*_: Any, **__: Any) -> None:
    """Log and progress of a training in memory."""


def _train_epoch(
    trainer: Trainer, state: TrainState, epoch: int, log: Log, advance: Callable[..., None]
) -> tuple[TrainState, dict[str, Any]]:
    """Train one epoch; return the state and the means of its steps' reports."""
    records: list[dict[str, Any]] = []
    for interval in log_intervals(trainer.config.train.steps_per_epoch):
        pending, started = [], time.perf_counter()
        before = state if trainer.config.debug.locate_nonfinite else None
        try:
            for _ in interval:
                with jax.transfer_guard("disallow"):
                    state, info = trainer.advance(state)
                pending.append(info)
            wait_for_checks(state)
        except AssertionError as error:  # chex's value assertions
            drop_checks()
            raise NonFiniteTraining(_explain(trainer, before, state, pending, str(error))) from error
        infos = jax.device_get(pending)
        seconds = (time.perf_counter() - started) / len(infos)
        first = int(state.step) - len(infos)
        rate = trainer.config.train.batch_size / seconds
        new = [step_record(first + offset, epoch, info, rate) for offset, info in enumerate(infos)]
        for record in new:
            log(record)
        records += new
        if infos[-1].skipped_in_a_row >= trainer.config.train.max_consecutive_skips:
            reason = f"{int(infos[-1].skipped_in_a_row)} steps in a row had a gradient that is not finite"
            raise NonFiniteTraining(_explain(trainer, before, state, pending, reason))
        advance(len(infos), loss=f"{records[-1]['loss']:.3f}")
    return state, health_of(records)


def _explain(
    trainer: Trainer, before: TrainState | None, state: TrainState, pending: list[StepInfo], reason: str
) -> str:
    """Return step, terms and scenes of the first bad step among those not yet logged; with the state ``before`` them,
    also the operation that produced the first non-finite value."""
    infos = jax.device_get(pending)
    first = int(state.step) - len(infos)
    bad = next((first + i for i, info in enumerate(infos) if not info.finite or not np.isfinite(info.loss)), first)
    # On one device, with the whole batch: several devices give the same, and the other processes have stopped.
    trainer, state, before = Trainer(trainer.config), one_copy(state), None if before is None else one_copy(before)
    nonfinite_terms = find_nonfinite_terms(trainer, state, trainer.draw(jnp.asarray(bad)))
    if before is not None:
        for _ in range(first, bad):
            before, _ = trainer.advance(before)
        nonfinite_terms += locate(trainer, before, trainer.draw(jnp.asarray(bad)))
    return "\n  ".join(
        [f"training stopped at step {bad} (the {bad}th batch of the stream): {reason}", *nonfinite_terms]
    )


def _better(config: Config, old: Best, new: Best) -> Best:
    """Return the better of two epochs, the old one of two equal ones."""
    metric = config.train.best_metric
    if not old.epoch:
        return new
    value, least = new.validation[metric], old.validation[metric]
    return new if (value < least if lower_is_better(metric) else value > least) else old
