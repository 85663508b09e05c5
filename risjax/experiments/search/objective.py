"""One trial: train with its values, report the metric after every epoch, end with a value or a reason.

The value of a trial is the best validation metric that its averaged (EMA) model reached, on scenes that are
the same for all trials. A trial that cannot give one (a non-finite training, values that do not go together,
no memory) is pruned with its reason and has no value: nothing is made up for it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from risjax.config import Config, SearchConfig
from risjax.config.errors import ConfigError
from risjax.config.io import to_yaml
from risjax.config.metric import lower_is_better
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train.health import NonFiniteTraining

Train = Callable[..., Any]
"""`risjax.train.loop.train`, called with (config, directory, terminal, on_epoch=...)."""


@dataclass(frozen=True)
class Verdict:
    """How a trial ended: complete with a value, or pruned with a reason."""

    state: TrialState
    value: float | None
    reason: str | None


def pruned(reason: str) -> Verdict:
    """The verdict on a trial without a value."""
    return Verdict(TrialState.PRUNED, None, reason)


class Judge:
    """Listens to one training: reports the metric, lets the pruner stop it, knows the value in the end.

    Args:
        search: metric, epochs and pruner.
        trial: where the metric is reported, epoch 1 first.
        on_report: called with (epoch, metric) after every epoch.
    """

    def __init__(self, search: SearchConfig, trial: optuna.Trial, on_report: Callable[[int, float], None]):
        self._search, self._trial, self._on_report = search, trial, on_report
        self._seen: list[float] = []

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Takes an epoch's record.

        Raises:
            optuna.TrialPruned: the metric is not finite, or the pruner stops the trial; with the reason.
            optuna.exceptions.UpdateFinishedTrialError: the trial was taken from this worker.
        """
        metric, epochs = self._search.metric, self._search.epochs
        value, epoch = float(record["validation"][metric]), len(self._seen) + 1
        if not math.isfinite(value):
            raise optuna.TrialPruned(f"{metric} is {value} after epoch {epoch}")
        self._seen.append(value)
        self._trial.report(value, epoch)
        self._on_report(epoch, value)
        if epoch < epochs and self._trial.should_prune():
            raise optuna.TrialPruned(
                f"{metric} {value:.4g} after epoch {epoch} of {epochs}: {self._search.pruner} pruner"
            )

    def verdict(self) -> Verdict:
        """The verdict on a training that came to its end.

        Raises:
            RuntimeError: it never reported.
        """
        if not self._seen:
            raise RuntimeError("the training ended without calling on_epoch, so the trial has no value")
        best = min if lower_is_better(self._search.metric) else max
        return Verdict(TrialState.COMPLETE, best(self._seen), None)


def refusal_text(error: ConfigError) -> str:
    """Return the reason for pruning a trial whose configuration is refused."""
    return "invalid configuration: " + "; ".join(f"{problem.path} {problem.text}".strip() for problem in error.problems)


def run_trial(config: Config, judge: Judge, directory: RunDirectory, *, train: Train) -> Verdict:
    """Trains one configuration and judges it.

    Args:
        config: the trial's configuration.
        judge: who listens.
        directory: the trial's own run directory.
        train: the training, `risjax.train.loop.train`.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: when the trial was taken from this worker.
        Exception: whatever else the training raises.
    """
    write_atomically(directory.config_path, to_yaml(config))
    try:
        train(config, directory, Terminal(quiet=True), on_epoch=judge.on_epoch)
    except optuna.TrialPruned as stopped:
        return pruned(str(stopped))
    except NonFiniteTraining as error:
        return pruned(f"non-finite training: {error}")
    except ConfigError as error:
        return pruned(refusal_text(error))
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's word for no memory
            raise
        return pruned(f"out of memory: {str(error).splitlines()[0]}")
    return judge.verdict()
