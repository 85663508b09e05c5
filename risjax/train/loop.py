"""Training loop on the host; `risjax.train.step` computes the steps."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.checks import drop_checks, wait_for_checks
from risjax.config import Config
from risjax.config.metric import lower_is_better
from risjax.model import Params
from risjax.runs.environment import installed_environment
from risjax.runs.multihost import broadcast_outcome
from risjax.runs.run_directory import RunDirectory, jsonable
from risjax.runs.safetensors_io import read_weights
from risjax.runs.tensorboard import EventFiles
from risjax.runs.terminal import Bar, Terminal
from risjax.train.checkpoint import Checkpoints
from risjax.train.health import NonFiniteTraining, find_nonfinite_terms, locate
from risjax.train.mesh import make_mesh, one_copy, replicate
from risjax.train.multihost_follower import begin, share
from risjax.train.records import (
    ALWAYS_SHOWN,
    counts,
    devices_used,
    epoch_lines,
    epoch_row,
    health_of,
    step_record,
)
from risjax.train.settings import log_intervals, total_steps
from risjax.train.state import StepInfo, TrainState
from risjax.train.trainer import Trainer
from risjax.train.validation import make_validation


class Outcome(NamedTuple):
    """Result of a training.

    Attributes:
        best_epoch: epoch whose EMA parameters scored best on ``train.best_metric``.
        validation: the metrics of that epoch.
        epochs: epochs trained.
        skipped_steps: steps whose gradient was not finite.
        applied_updates: steps that changed the parameters.
        schedule_count: updates that the learning-rate schedule has counted.
    """

    best_epoch: int
    validation: dict[str, float]
    epochs: int
    skipped_steps: int
    applied_updates: int
    schedule_count: int


def train(
    config: Config,
    directory: RunDirectory,
    terminal: Terminal,
    *,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Train a configuration in a run directory, or resume its training.

    Args:
        config: what to train.
        directory: contains ``log.jsonl`` and ``checkpoints/``; with a intact checkpoint training resumes after its
            epoch and gives the numbers of an uninterrupted run.
        terminal: shows progress.
        on_epoch: called with each epoch's record; an exception from it ends the training.

    Raises:
        ConfigError: the scenes or the network cannot be built; nothing was trained.
        NonFiniteTraining: a loss, prediction, label, gradient or state is not finite, or
            ``train.max_consecutive_skips`` steps in a row were skipped.
        CheckpointError: there are checkpoints, but none is sound.
    """
    mesh = make_mesh(config.train)
    trainer = Trainer(config, mesh)
    checkpoints = Checkpoints(directory.checkpoints)
    dtypes = {} if checkpoints.epochs() else trainer.dtypes()
    validate = make_validation(config)
    state, metadata = trainer.init(), {"epoch": 0, "best_epoch": 0, "best": {}}
    resumed = checkpoints.load_last(one_copy(state))
    if resumed is not None:
        metadata = resumed.metadata
        terminal.say(f"resuming after epoch {metadata['epoch']} of {config.train.epochs}")
    begin(config, metadata["epoch"])
    if resumed is not None:
        state = replicate(share(resumed.state), mesh)
    directory.truncate_log(lambda record: record["kind"] in ("step", "epoch") and record["epoch"] > metadata["epoch"])
    _restore_epoch_record(directory, metadata)
    if metadata["epoch"] == 0:
        directory.append_log({"kind": "environment", **installed_environment(), **devices_used(mesh)})
        directory.append_log({"kind": "dtypes", **dtypes})
    if mesh is not None:
        terminal.say(f"{mesh.size} devices share each batch of {config.train.batch_size} scenes")

    done = metadata["epoch"] * config.train.steps_per_epoch
    events = EventFiles(directory.path / "tensorboard" if config.train.tensorboard else None, done)
    shown = terminal.progress("train", total=total_steps(config.train), completed=done)
    table = terminal.growing_table("epochs", mark="best", keep=ALWAYS_SHOWN)
    with contextlib.closing(events), shown as progress, table as rows:
        for record in directory.read_log("epoch"):
            rows.add(epoch_row(record, config.train.epochs), None, marked=record["best_epoch"] == record["epoch"])
        for epoch in range(metadata["epoch"] + 1, config.train.epochs + 1):
            with broadcast_outcome():
                started = time.perf_counter()
                state, health = _run_epoch(trainer, state, epoch, directory, events, progress)
                trained = time.perf_counter() - started
                copy = one_copy(state)
                validation = validate(copy.ema)
                metadata = _judge(config, metadata, epoch, validation)
                record = {
                    "kind": "epoch",
                    "epoch": epoch,
                    **health,
                    "validation": validation,
                    "best_epoch": metadata["best_epoch"],
                    **counts(state),
                    "scenes_per_second": config.train.steps_per_epoch * config.train.batch_size / trained,
                    "seconds": time.perf_counter() - started,
                }
                # The checkpoint contains the log's line too, in case the process is killed between the two writes.
                checkpoints.save(copy, {**metadata, "record": jsonable(record)}, best_epoch=metadata["best_epoch"])
                directory.append_log(record)
                events.add(record, epoch * config.train.steps_per_epoch)
                row, lines = epoch_row(record, config.train.epochs), epoch_lines(record, config.train.epochs)
                rows.add(row, lines, marked=metadata["best_epoch"] == epoch)
                if on_epoch is not None:
                    on_epoch(record)
    return Outcome(
        best_epoch=metadata["best_epoch"],
        validation=metadata["best"],
        epochs=metadata["epoch"],
        **counts(state),
    )


class BestParams(NamedTuple):
    """Parameters of the best epoch of a training, as far as its intact checkpoints go.

    Attributes:
        params: EMA parameters, with those of the posterior heads if they are trained.
        best_epoch: epoch that they follow.
        last_epoch: epoch of the last intact checkpoint. Later ones in the log are lost.
    """

    params: Params
    best_epoch: int
    last_epoch: int


def load_best(config: Config, directory: RunDirectory) -> Params:
    """Return the parameters of `load_best_checkpoint`."""
    return load_best_checkpoint(config, directory).params


def load_best_checkpoint(config: Config, directory: RunDirectory) -> BestParams:
    """Return the EMA parameters of the best epoch of a finished or unfinished training, with those of the posterior
    heads if they are trained.

    Raises:
        CheckpointError: there is no intact checkpoint.
    """
    like = Trainer(config).init()
    checkpoints = Checkpoints(directory.checkpoints)
    last = checkpoints.load_last(like)
    if last is None:
        raise FileNotFoundError(f"no checkpoint in {directory.checkpoints}: run the stage `train` first")
    best_epoch = last.metadata["best_epoch"]
    params = checkpoints.load(best_epoch, like).state.ema
    if directory.posterior_path.exists():
        params = {**params, **read_weights(directory.posterior_path)[0]}
    return BestParams(params, best_epoch, last.metadata["epoch"])


def _run_epoch(
    trainer: Trainer, state: TrainState, epoch: int, directory: RunDirectory, events: EventFiles, progress: Bar
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
            wait_for_checks()
        except AssertionError as error:  # chex's value assertions
            drop_checks()
            raise NonFiniteTraining(_explain(trainer, before, state, pending, str(error))) from error
        infos = jax.device_get(pending)
        seconds = (time.perf_counter() - started) / len(infos)
        first = int(state.step) - len(infos)
        rate = trainer.config.train.batch_size / seconds
        new = [step_record(first + offset, epoch, info, rate) for offset, info in enumerate(infos)]
        for record in new:
            directory.append_log(record)
            events.add(record, record["step"])
        records += new
        if infos[-1].skipped_in_a_row >= trainer.config.train.max_consecutive_skips:
            reason = f"{int(infos[-1].skipped_in_a_row)} steps in a row had a gradient that is not finite"
            raise NonFiniteTraining(_explain(trainer, before, state, pending, reason))
        progress.advance(len(infos), loss=f"{records[-1]['loss']:.3f}")
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


def _restore_epoch_record(directory: RunDirectory, metadata: Mapping[str, Any]) -> None:
    """Appends the checkpoint's own epoch to a log that ends before it (the process was killed between the two)."""
    record = metadata.get("record")  # (absent from checkpoints of earlier versions)
    if record is not None and all(logged["epoch"] != record["epoch"] for logged in directory.read_log("epoch")):
        directory.append_log(record)


def _judge(config: Config, metadata: dict[str, Any], epoch: int, validation: dict[str, float]) -> dict[str, Any]:
    metric = config.train.best_metric
    new, old = validation[metric], metadata["best"].get(metric)
    better = old is None or (new < old if lower_is_better(metric) else new > old)
    best = (epoch, validation) if better else (metadata["best_epoch"], metadata["best"])
    return {"epoch": epoch, "best_epoch": best[0], "best": best[1]}
