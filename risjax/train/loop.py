"""The training loop: the host's side of training. The numbers are made in `risjax.train.step`."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.checks import chexified, wait_for_checks
from risjax.config import Config
from risjax.config.metric import lower_is_better
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.model import Params, build, make_inputs
from risjax.precision import upcast
from risjax.loss import make_labels
from risjax.run_directory import RunDirectory
from risjax.terminal import Terminal
from risjax.train.checkpoint import Checkpoints
from risjax.train.health import NonFiniteTraining, find_culprits
from risjax.train.optimizer import make_optimizer, schedule_count, total_steps
from risjax.train.state import StepInfo, TrainState, init_state
from risjax.train.step import make_step
from risjax.train.validation import make_validation
from risjax.types import Scene

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


class Trainer:
    """The compiled functions of one configuration and the state they start from."""

    def __init__(self, config: Config):
        self.config = config
        self.network = build(config.physics.array, config.model, config.precision)
        optimizer = make_optimizer(config.train)
        step = jax.jit(make_step(config, self.network, optimizer))
        self.step = chexified(step) if config.checks.finite else step
        self.draw = jax.jit(self._draw)
        self.state = jax.jit(lambda: init_state(config, self.network, optimizer))()

    def _draw(self, step: jax.Array) -> Scene:
        train = self.config.train
        batches = max(1, train.dataset_scenes // train.batch_size)
        index = step % batches if train.dataset_scenes else step
        return scene_batch(self.config.physics, self.config.run.seed, Purpose.TRAIN_SCENES, index, train.batch_size)

    def dtypes(self) -> dict[str, dict[str, str]]:
        """The dtype of every leaf of the predictions, as the network emits them, and of the labels, before and
        after the upcast."""

        def make(state: TrainState, batch: Scene) -> dict[str, Any]:
            inputs = jax.vmap(lambda observation: make_inputs(observation, self.config.model))(batch.observation)
            prediction = self.network.apply(state.params, inputs.features)
            return {"prediction": prediction, "labels": make_labels(batch, inputs.sample)}

        before = jax.eval_shape(make, self.state, jax.eval_shape(self._draw, self.state.step))
        after = jax.eval_shape(upcast, before)
        return {"before": _dtypes(before), "after": _dtypes(after)}


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
    state, metadata = trainer.state, {"epoch": 0, "best_epoch": 0, "best": {}}
    resumed = checkpoints.load_last(state)
    if resumed is not None:
        state, metadata = resumed
        terminal.say(f"going on after epoch {metadata['epoch']} of {config.train.epochs}")
    directory.truncate_log(lambda record: record["kind"] in ("step", "epoch") and record["epoch"] > metadata["epoch"])
    if metadata["epoch"] == 0:
        directory.append_log({"kind": "dtypes", **trainer.dtypes()})

    remaining = total_steps(config.train) - metadata["epoch"] * config.train.steps_per_epoch
    with terminal.progress("training", total=remaining) as progress:
        for epoch in range(metadata["epoch"] + 1, config.train.epochs + 1):
            started = time.perf_counter()
            state, losses = _run_epoch(trainer, state, epoch, directory, progress)
            trained = time.perf_counter() - started
            validation = validate(state.ema)
            metadata = _judge(config, metadata, epoch, validation)
            record = {
                "kind": "epoch",
                "epoch": epoch,
                "loss": float(np.mean(losses)),
                "validation": validation,
                "best_epoch": metadata["best_epoch"],
                "finite": bool(np.isfinite(losses).all()),
                "skipped_steps": int(state.skipped),
                "applied_updates": int(state.step - state.skipped),
                "schedule_count": int(schedule_count(state.opt_state)),
                "scenes_per_second": config.train.steps_per_epoch * config.train.batch_size / trained,
                "seconds": time.perf_counter() - started,
            }
            checkpoints.save(state, metadata, best_epoch=metadata["best_epoch"])
            directory.append_log(record)
            terminal.epoch(record, config.train.epochs)
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
    """The EMA parameters of the best epoch of a finished or unfinished training.

    Raises:
        CheckpointError: there is no sound checkpoint.
    """
    like = Trainer(config).state
    checkpoints = Checkpoints(directory.checkpoints)
    last = checkpoints.load_last(like)
    if last is None:
        raise FileNotFoundError(f"no checkpoint in {directory.checkpoints}: run the stage `train` first")
    return checkpoints.load(last.metadata["best_epoch"], like).state.ema


def estimate_step_seconds(config: Config) -> float:
    """Seconds of one training step on this machine, scenes included, compilation apart; a few steps are run."""
    trainer = Trainer(config)
    state = trainer.state
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(trainer.step(state, trainer.draw(state.step)))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))


def _run_epoch(
    trainer: Trainer, state: TrainState, epoch: int, directory: RunDirectory, progress: Any
) -> tuple[TrainState, np.ndarray]:
    losses, pending, started = [], [], time.perf_counter()
    for _ in range(trainer.config.train.steps_per_epoch):
        try:
            with jax.transfer_guard("disallow"):
                state, info = trainer.step(state, trainer.draw(state.step))
            pending.append(info)
            if len(pending) < LOG_INTERVAL_STEPS and len(losses) + len(pending) < trainer.config.train.steps_per_epoch:
                continue
            wait_for_checks()
        except AssertionError as error:  # chex's value assertions
            raise NonFiniteTraining(_explain(trainer, state, pending, str(error))) from error
        infos = jax.device_get(pending)
        seconds = (time.perf_counter() - started) / len(infos)
        first = int(state.step) - len(infos)
        for offset, info in enumerate(infos):
            directory.append_log(_step_record(first + offset, epoch, info, trainer.config.train.batch_size / seconds))
        losses += [float(info.loss) for info in infos]
        if infos[-1].skipped_in_a_row >= trainer.config.train.max_consecutive_skips:
            reason = f"{int(infos[-1].skipped_in_a_row)} steps in a row had a gradient that is not finite"
            raise NonFiniteTraining(_explain(trainer, state, pending, reason))
        progress.advance(len(infos), loss=f"{losses[-1]:.3f}")
        pending, started = [], time.perf_counter()
    return state, np.asarray(losses)


def _explain(trainer: Trainer, state: TrainState, pending: list[StepInfo], reason: str) -> str:
    """Names step, terms and scenes of the first bad step among those not yet logged."""
    infos = jax.device_get(pending)
    first = int(state.step) - len(infos)
    bad = next((first + i for i, info in enumerate(infos) if not info.finite or not np.isfinite(info.loss)), first)
    culprits = find_culprits(trainer.config, trainer.network, state, trainer.draw(jnp.asarray(bad)))
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


def _dtypes(tree: Any) -> dict[str, str]:
    return {jax.tree_util.keystr(path, simple=True, separator="."): str(leaf.dtype) for path, leaf in jax.tree.leaves_with_path(tree)}
