"""One trial: train with its values, report the metric after every epoch, end with a value or a reason.

The value of a trial is the best validation metric of its averaged (EMA) parameters, on scenes that are the same for all
trials. A trial without one (non-finite training, invalid configuration, out of memory) is pruned with the reason and
has no value; no penalty takes its place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import optuna
from optuna.trial import TrialState

from risjax.config import Config, SearchConfig
from risjax.config.errors import ConfigError
from risjax.config.io import to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.search.record import STANDARD_ERROR
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train.health import NonFiniteTraining


@runtime_checkable
class TrainFunction(Protocol):
    """A training as a search calls it; `risjax.train.loop.train` is the real one."""

    def __call__(
        self,
        config: Config,
        directory: RunDirectory,
        terminal: Terminal,
        *,
        on_epoch: Callable[[dict[str, Any]], None],
    ) -> object:
        """Train ``config`` in ``directory`` and call ``on_epoch`` with the record of every epoch, which contains
        ``validation``, the metrics by name. An exception from ``on_epoch`` ends the training."""
        ...


@dataclass(frozen=True)
class TrialOutcome:
    """End of a trial: complete with a value, or pruned with a reason."""

    state: TrialState
    value: float | None
    reason: str | None


def pruned(reason: str) -> TrialOutcome:
    """Return the outcome of a trial without a value."""
    return TrialOutcome(TrialState.PRUNED, None, reason)


class TrialMonitor:
    """Reports the metric of one training to the study, asks the pruner whether to stop it, and returns its outcome.

    Args:
        search: metric, epochs and pruner.
        trial: where the metric is reported, epoch 1 first.
        on_report: called with (epoch, metric) after every epoch.
        may_prune: whether the pruner may stop it.
    """

    def __init__(
        self,
        search: SearchConfig,
        trial: optuna.Trial,
        on_report: Callable[[int, float], None],
        *,
        may_prune: bool = True,
    ):
        self._search, self._trial, self._on_report, self._may_prune = search, trial, on_report, may_prune
        self._values: list[float] = []
        self._better = min if lower_is_better(search.metric) else max

    @property
    def is_best_epoch(self) -> bool:
        """True if the last reported epoch has the best value so far."""
        return bool(self._values) and self._values[-1] == self._better(self._values)

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Report an epoch's metric.

        Raises:
            optuna.TrialPruned: the metric is not finite, or the pruner stops the trial; with the reason.
            optuna.exceptions.UpdateFinishedTrialError: the trial was taken from this worker.
        """
        metric, epochs = self._search.metric, self._search.epochs
        value, epoch = float(record["validation"][metric]), len(self._values) + 1
        if not math.isfinite(value):
            raise optuna.TrialPruned(f"{metric} is {value} after epoch {epoch}")
        self._values.append(value)
        self._trial.report(value, epoch)
        if self.is_best_epoch and f"{metric}_error" in record["validation"]:
            self._trial.set_user_attr(STANDARD_ERROR, record["validation"][f"{metric}_error"])
        self._on_report(epoch, value)
        if self._may_prune and epoch < epochs and self._trial.should_prune():
            raise optuna.TrialPruned(
                f"{metric} {value:.4g} after epoch {epoch} of {epochs}: {self._search.pruner} pruner"
            )

    def outcome(self) -> TrialOutcome:
        """Return the outcome of a training that was not stopped.

        Raises:
            RuntimeError: `on_epoch` was never called.
        """
        if not self._values:
            raise RuntimeError("the training ended without calling on_epoch, so the trial has no value")
        return TrialOutcome(TrialState.COMPLETE, self._better(self._values), None)


def refusal_text(error: ConfigError) -> str:
    """Return the reason for pruning a trial whose configuration is refused."""
    return "invalid configuration: " + "; ".join(f"{problem.path} {problem.text}".strip() for problem in error.problems)


def run_trial(config: Config, monitor: TrialMonitor, directory: RunDirectory, *, train: TrainFunction) -> TrialOutcome:
    """Train one configuration and return its outcome.

    Args:
        config: the trial's configuration.
        monitor: receives the epochs.
        directory: the trial's own run directory.
        train: the training.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the trial was taken from this worker.
        Exception: any other exception of the training.
    """
    write_atomically(directory.config_path, to_yaml(config))
    try:
        train(config, directory, Terminal(quiet=True), on_epoch=monitor.on_epoch)
    except optuna.TrialPruned as stopped:
        return pruned(str(stopped))
    except NonFiniteTraining as error:
        return pruned(f"non-finite training: {error}")
    except ConfigError as error:
        return pruned(refusal_text(error))
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's name for out of memory
            raise
        return pruned(f"out of memory: {str(error).splitlines()[0]}")
    return monitor.outcome()
