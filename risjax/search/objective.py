"""One trial: train with its values, report the metric after every epoch, end with a value or a reason.

The value of a trial is the best validation metric that its averaged (EMA) model reached, on scenes that are
the same for all trials. A trial that cannot give one (a non-finite training, values that do not go together,
no memory) is pruned with its reason and has no value: nothing is made up for it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from risjax.config import Config
from risjax.config.errors import ConfigError
from risjax.config.io import to_yaml
from risjax.config.metric import lower_is_better
from risjax.run_directory import RunDirectory, write_atomically
from risjax.search.space import trial_config
from risjax.terminal import Terminal
from risjax.train.health import NonFiniteTraining

Train = Callable[..., Any]
"""`risjax.train.loop.train`, called with (config, directory, terminal, on_epoch=...)."""


@dataclass(frozen=True)
class Verdict:
    """How a trial ended: complete with a value, or pruned with a reason."""

    state: TrialState
    value: float | None
    reason: str | None


def run_trial(
    config: Config,
    values: Mapping[str, Any],
    trial: optuna.Trial,
    directory: RunDirectory,
    terminal: Terminal,
    *,
    train: Train,
    on_report: Callable[[int, float], None],
) -> Verdict:
    """Trains one configuration and judges it.

    Args:
        config: the search's configuration.
        values: the trial's own, {dotted path: value}.
        trial: where the metric is reported, epoch 1 first, and which the pruner may stop.
        directory: the trial's own run directory.
        terminal: where the training speaks.
        train: the training, `risjax.train.loop.train`.
        on_report: called with (epoch, metric) after every epoch.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: when the trial was taken from this worker.
        Exception: whatever else the training raises.
    """
    metric, epochs = config.search.metric, config.search.epochs
    seen: list[float] = []

    def on_epoch(record: dict) -> None:
        value = float(record["validation"][metric])
        epoch = len(seen) + 1
        if not math.isfinite(value):
            raise optuna.TrialPruned(f"{metric} is {value} after epoch {epoch}")
        seen.append(value)
        trial.report(value, epoch)
        on_report(epoch, value)
        if epoch < epochs and trial.should_prune():
            raise optuna.TrialPruned(
                f"{metric} {value:.4g} after epoch {epoch} of {epochs}: {config.search.pruner} pruner"
            )

    try:
        trial_settings = trial_config(config, values)
        write_atomically(directory.config_path, to_yaml(trial_settings))
        train(trial_settings, directory, terminal, on_epoch=on_epoch)
    except optuna.TrialPruned as pruned:
        return Verdict(TrialState.PRUNED, None, str(pruned))
    except ConfigError as error:
        text = "; ".join(problem.text for problem in error.problems)
        return Verdict(TrialState.PRUNED, None, f"values do not go together: {text}")
    except NonFiniteTraining as error:
        return Verdict(TrialState.PRUNED, None, f"non-finite training: {error}")
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's word for no memory
            raise
        return Verdict(TrialState.PRUNED, None, f"out of memory: {str(error).splitlines()[0]}")
    if not seen:
        raise RuntimeError("the training ended without calling on_epoch, so the trial has no value")
    return Verdict(TrialState.COMPLETE, min(seen) if lower_is_better(metric) else max(seen), None)
