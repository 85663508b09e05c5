"""Training loop on the host; `risjax.train.step` computes the steps."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from risjax.config import Config
from risjax.model import Params
from risjax.runs.environment import installed_environment
from risjax.runs.multihost import broadcast_outcome
from risjax.runs.run_directory import RunDirectory, jsonable
from risjax.runs.safetensors_io import read_weights
from risjax.runs.tensorboard import EventFiles
from risjax.runs.terminal import Terminal
from risjax.train.checkpoint import Checkpoints
from risjax.train.epoch import Best, run_epoch
from risjax.train.mesh import make_mesh, one_copy, replicate
from risjax.train.multihost_follower import begin, share
from risjax.train.records import (
    ALWAYS_SHOWN,
    counts,
    devices_used,
    epoch_lines,
    epoch_row,
)
from risjax.train.settings import total_steps
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
        directory: contains ``log.jsonl`` and ``checkpoints/``; with an intact checkpoint training resumes after its
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

    best = Best(metadata["best_epoch"], metadata["best"])
    steps = metadata["epoch"] * config.train.steps_per_epoch
    events = EventFiles(directory.path / "tensorboard" if config.train.tensorboard else None, steps)
    shown = terminal.progress("train", total=total_steps(config.train), completed=steps)

    def log(record: dict[str, Any]) -> None:
        directory.append_log(record)
        events.add(record, record["step"])

    table = terminal.growing_table("epochs", mark="best", keep=ALWAYS_SHOWN)
    with contextlib.closing(events), shown as progress, table as rows:
        for record in directory.read_log("epoch"):
            rows.add(epoch_row(record, config.train.epochs), None, marked=record["best_epoch"] == record["epoch"])
        for epoch in range(metadata["epoch"] + 1, config.train.epochs + 1):
            with broadcast_outcome():
                done = run_epoch(trainer, validate, state, epoch, best, log=log, advance=progress.advance)
                state, best, record = done.state, done.best, done.record
                # The checkpoint contains the log's line too, in case the process is killed between the two writes.
                metadata = {"epoch": epoch, "best_epoch": best.epoch, "best": best.validation}
                checkpoints.save(done.copy, {**metadata, "record": jsonable(record)}, best_epoch=best.epoch)
                directory.append_log(record)
                events.add(record, epoch * config.train.steps_per_epoch)
                row, lines = epoch_row(record, config.train.epochs), epoch_lines(record, config.train.epochs)
                rows.add(row, lines, marked=best.epoch == epoch)
                if on_epoch is not None:
                    on_epoch(record)
    return Outcome(
        best_epoch=best.epoch,
        validation=best.validation,
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
    like = Trainer(config).abstract_state()
    checkpoints = Checkpoints(directory.checkpoints)
    last = checkpoints.load_last(like)
    if last is None:
        raise FileNotFoundError(f"no checkpoint in {directory.checkpoints}: run the stage `train` first")
    best_epoch = last.metadata["best_epoch"]
    # Not tied to a device, as parameters in training are not: otherwise every program would be compiled twice.
    params = jax.device_put(jax.device_get(checkpoints.load(best_epoch, like).state.ema))
    if directory.posterior_path.exists():
        params = {**params, **read_weights(directory.posterior_path)[0]}
    return BestParams(params, best_epoch, last.metadata["epoch"])


def _restore_epoch_record(directory: RunDirectory, metadata: Mapping[str, Any]) -> None:
    """Appends the checkpoint's own epoch to a log that ends before it (the process was killed between the two)."""
    record = metadata.get("record")  # (absent from checkpoints of earlier versions)
    if record is not None and all(logged["epoch"] != record["epoch"] for logged in directory.read_log("epoch")):
        directory.append_log(record)
