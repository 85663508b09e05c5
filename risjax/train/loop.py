"""The training loop: the host's side of training. The numbers are made in `risjax.train.step`."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from risjax.checks import drop_checks, wait_for_checks
from risjax.config import Config
from risjax.config.metric import Metric, lower_is_better
from risjax.environment import installed_environment
from risjax.events import EventFiles
from risjax.model import Params
from risjax.pipeline import POSTERIOR
from risjax.run_directory import RunDirectory
from risjax.terminal import Bar, Terminal
from risjax.train.checkpoint import Checkpoints
from risjax.train.health import NonFiniteTraining, find_culprits, locate
from risjax.train.optimizer import schedule_count
from risjax.train.settings import total_steps
from risjax.train.state import StepInfo, TrainState
from risjax.train.trainer import Trainer
from risjax.train.validation import make_validation
from risjax.weights_file import read_weights

LOG_INTERVAL_STEPS = 10
"""Steps between visits of the host: reports are fetched, assertions waited for, lines written."""


class Outcome(NamedTuple):
    """What a training came to.

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
    """Trains, or goes on training, the configuration in a run directory.

    Args:
        config: what to train.
        directory: where ``log.jsonl`` and ``checkpoints/`` are; with a sound checkpoint in it training goes on
            after that epoch, to the numbers of an unbroken run.
        terminal: where progress is shown.
        on_epoch: called with each epoch's record; what it raises ends the training.

    Raises:
        NonFiniteTraining: a loss, prediction, label, gradient or state is not finite, or
            ``train.max_consecutive_skips`` steps in a row were skipped.
        CheckpointError: checkpoints are there, but none is sound.
    """
    trainer = Trainer(config)
    validate = make_validation(config)
    checkpoints = Checkpoints(directory.checkpoints)
    state, metadata = trainer.init(), {"epoch": 0, "best_epoch": 0, "best": {}}
    resumed = checkpoints.load_last(state)
    if resumed is not None:
        state, metadata = resumed
        terminal.say(f"going on after epoch {metadata['epoch']} of {config.train.epochs}")
    directory.truncate_log(lambda record: record["kind"] in ("step", "epoch") and record["epoch"] > metadata["epoch"])
    if metadata["epoch"] == 0:
        device = jax.devices()[0]
        directory.append_log({"kind": "environment", **installed_environment(), "device": device.device_kind})
        directory.append_log({"kind": "dtypes", **trainer.dtypes()})

    done = metadata["epoch"] * config.train.steps_per_epoch
    events = EventFiles(directory.path / "tensorboard" if config.train.tensorboard else None, done)
    shown = terminal.progress("train", total=total_steps(config.train), completed=done)
    with contextlib.closing(events), shown as progress:
        for epoch in range(metadata["epoch"] + 1, config.train.epochs + 1):
            started = time.perf_counter()
            state, health = _run_epoch(trainer, state, epoch, directory, events, progress)
            trained = time.perf_counter() - started
            validation = validate(state.ema)
            metadata = _judge(config, metadata, epoch, validation)
            record = {
                "kind": "epoch",
                "epoch": epoch,
                **health,
                "validation": validation,
                "best_epoch": metadata["best_epoch"],
                "skipped_steps": int(state.skipped),
                "applied_updates": int(state.step - state.skipped),
                "schedule_count": int(schedule_count(state.opt_state)),
                "scenes_per_second": config.train.steps_per_epoch * config.train.batch_size / trained,
                "seconds": time.perf_counter() - started,
            }
            checkpoints.save(state, metadata, best_epoch=metadata["best_epoch"])
            directory.append_log(record)
            events.add(record, epoch * config.train.steps_per_epoch)
            terminal.say(_epoch_lines(record, config.train.epochs))
            if on_epoch is not None:
                on_epoch(record)
    return Outcome(
        best_epoch=metadata["best_epoch"],
        validation=metadata["best"],
        epochs=metadata["epoch"],
        skipped_steps=int(state.skipped),
        applied_updates=int(state.step - state.skipped),
        schedule_count=int(schedule_count(state.opt_state)),
    )


def load_best(config: Config, directory: RunDirectory) -> Params:
    """The EMA parameters of the best epoch of a finished or unfinished training, and the posterior head's where it
    has been trained.

    Raises:
        CheckpointError: there is no sound checkpoint.
    """
    like = Trainer(config).init()
    checkpoints = Checkpoints(directory.checkpoints)
    last = checkpoints.load_last(like)
    if last is None:
        raise FileNotFoundError(f"no checkpoint in {directory.checkpoints}: run the stage `train` first")
    params = checkpoints.load(last.metadata["best_epoch"], like).state.ema
    if not directory.posterior_path.exists():
        return params
    return {**params, POSTERIOR: read_weights(directory.posterior_path)[0]}


def _run_epoch(
    trainer: Trainer, state: TrainState, epoch: int, directory: RunDirectory, events: EventFiles, progress: Bar
) -> tuple[TrainState, dict[str, Any]]:
    """One epoch; its health is the mean of its steps' reports."""
    records: list[dict[str, Any]] = []
    pending, started = [], time.perf_counter()
    before = state if trainer.config.debug.locate_nonfinite else None
    for _ in range(trainer.config.train.steps_per_epoch):
        try:
            with jax.transfer_guard("disallow"):
                state, info = trainer.step(state, trainer.draw(state.step))
            pending.append(info)
            if len(pending) < LOG_INTERVAL_STEPS and len(records) + len(pending) < trainer.config.train.steps_per_epoch:
                continue
            wait_for_checks()
        except AssertionError as error:  # chex's value assertions
            drop_checks()
            raise NonFiniteTraining(_explain(trainer, before, state, pending, str(error))) from error
        infos = jax.device_get(pending)
        seconds = (time.perf_counter() - started) / len(infos)
        first = int(state.step) - len(infos)
        rate = trainer.config.train.batch_size / seconds
        new = [_step_record(first + offset, epoch, info, rate) for offset, info in enumerate(infos)]
        for record in new:
            directory.append_log(record)
            events.add(record, record["step"])
        records += new
        if infos[-1].skipped_in_a_row >= trainer.config.train.max_consecutive_skips:
            reason = f"{int(infos[-1].skipped_in_a_row)} steps in a row had a gradient that is not finite"
            raise NonFiniteTraining(_explain(trainer, before, state, pending, reason))
        progress.advance(len(infos), loss=f"{records[-1]['loss']:.3f}")
        pending, started = [], time.perf_counter()
        before = state if before is not None else None
    return state, _health(records)


def _health(records: list[dict[str, Any]]) -> dict[str, Any]:
    def mean(name: str) -> float:
        return float(np.mean([record[name] for record in records]))

    return {
        **{name: mean(name) for name in ("loss", "grad_norm_backbone", "grad_norm_head", "update_norm")},
        "terms": {name: float(np.mean([record["terms"][name] for record in records])) for name in records[0]["terms"]},
        "finite": all(record["finite"] and np.isfinite(record["loss"]) for record in records),
        "loss_scale": records[-1]["loss_scale"],
        "learning_rate": records[-1]["learning_rate"],
    }


def _epoch_lines(record: dict[str, Any], epochs: int) -> str:
    terms = "  ".join(f"{name} {value:.3f}" for name, value in record["terms"].items())
    metrics = "  ".join(
        f"{name} {value:.3f}" for name, value in record["validation"].items() if name in get_args(Metric)
    )
    finite = "all finite" if record["finite"] else "NOT ALL FINITE"
    return (
        f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.3f} ({terms})  "
        f"|gradient| backbone {record['grad_norm_backbone']:.2f} head {record['grad_norm_head']:.2f}  "
        f"|update| {record['update_norm']:.4f}  {finite}  loss scale {record['loss_scale']:g}  "
        f"skipped {record['skipped_steps']}  {record['scenes_per_second']:.0f} scenes/s\n"
        f"  validation  {metrics}" + ("  (best so far)" if record["best_epoch"] == record["epoch"] else "")
    )


def _explain(
    trainer: Trainer, before: TrainState | None, state: TrainState, pending: list[StepInfo], reason: str
) -> str:
    """Names step, terms and scenes of the first bad step among those not yet logged; with the state ``before`` them,
    also the operation that made the first value that is not finite."""
    infos = jax.device_get(pending)
    first = int(state.step) - len(infos)
    bad = next((first + i for i, info in enumerate(infos) if not info.finite or not np.isfinite(info.loss)), first)
    culprits = find_culprits(trainer, state, trainer.draw(jnp.asarray(bad)))
    if before is not None:
        for step in range(first, bad):
            before, _ = trainer.step(before, trainer.draw(jnp.asarray(step)))
        culprits += locate(trainer, before, trainer.draw(jnp.asarray(bad)))
    return "\n  ".join([f"training stopped at step {bad} (the {bad}th batch of the stream): {reason}", *culprits])


def _judge(config: Config, metadata: dict[str, Any], epoch: int, validation: dict[str, float]) -> dict[str, Any]:
    metric = config.train.best_metric
    new, old = validation[metric], metadata["best"].get(metric)
    better = old is None or (new < old if lower_is_better(metric) else new > old)
    best = (epoch, validation) if better else (metadata["best_epoch"], metadata["best"])
    return {"epoch": epoch, "best_epoch": best[0], "best": best[1]}


def _step_record(step: int, epoch: int, info: StepInfo, scenes_per_second: float) -> dict[str, Any]:
    scalars = {name: value for name, value in info._asdict().items() if name not in ("terms", "scene_finite")}
    return {
        "kind": "step",
        "step": step,
        "epoch": epoch,
        **{name: value.item() for name, value in scalars.items()},
        "terms": {name: value.item() for name, value in info.terms.items()},
        "scenes_per_second": scenes_per_second,
    }
