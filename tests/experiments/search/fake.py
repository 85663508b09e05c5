"""A training that costs nothing, for the tests of the search; run as a script it is one worker.

Its metric falls over the epochs towards a value that depends on the configuration alone, so that two
studies can be compared number by number.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import optuna

from risjax.config import Config, Distribution, SearchConfig
from risjax.experiments.search.objective import TrialOutcome, pruned
from risjax.experiments.search.study import search
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train.health import NonFiniteTraining

SPACE = {
    "train.learning_rate": Distribution(log_uniform=(1.0e-4, 1.0e-2)),
    "loss.projector.weight": Distribution(uniform=(0.0, 2.0)),
    "model.layers": Distribution(integer=(1, 6)),
    "model.width": Distribution(choice=(64, 128, 256)),
    "physics.scene.snr_db": Distribution(choice=((-5.0, 20.0), (0.0, 20.0))),
}


def make_config(**search_settings: Any) -> Config:
    """A configuration whose search is described by keywords, over `SPACE` unless said otherwise."""
    settings = {"trials": 8, "epochs": 3, "metric": "gospa_m", "startup_trials": 3, "space": SPACE}
    return Config(stages=("search", "train"), search=SearchConfig(**(settings | search_settings)))


def metric_of(config: Config, epoch: int) -> float:
    """The fake GOSPA in metres after an epoch, from 1."""
    distance = math.log10(config.train.learning_rate / 1.0e-3) ** 2 + (config.loss.projector.weight - 0.5) ** 2
    luck = 0.01 * math.sin(17.0 * config.run.seed)
    return luck + distance + abs(config.model.layers - 4) / 10 + 64 / config.model.width + 1.0 / epoch


class FakeTrain:
    """Trains nothing.

    Args:
        epoch_s: how long an epoch lasts.
        poison: values of ``model.layers`` at which the training goes non-finite, and how.
    """

    def __init__(self, epoch_s: float = 0.0, poison: dict[int, str] | None = None):
        self.epoch_s, self.poison = epoch_s, poison or {}
        self.configs: list[Config] = []
        self.epochs_done: list[int] = []

    def __call__(
        self, config: Config, directory: RunDirectory, terminal: Terminal, *, on_epoch: Callable[[dict], None] | None
    ) -> None:
        self.configs.append(config)
        self.epochs_done.append(0)
        weights = directory.checkpoints / "epoch_00001" / "weights"
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_text("many bytes")
        kind = self.poison.get(config.model.layers)
        if kind == "raise":
            raise NonFiniteTraining("loss term 'projector': gradient of scenes 3")
        if kind == "bug":
            raise ZeroDivisionError("a bug")
        for epoch in range(1, config.train.epochs + 1):
            time.sleep(self.epoch_s)
            value = math.nan if kind == "nan" and epoch == 2 else metric_of(config, epoch)
            directory.append_log({"kind": "epoch", "epoch": epoch})
            self.epochs_done[-1] = epoch
            if on_epoch is not None:
                on_epoch({"epoch": epoch, "validation": {"gospa_m": value, "f1_3d": -value, "nmse": value}})


def fake_population(configs, monitors, directories) -> list[TrialOutcome]:
    """Trains several together, epoch by epoch, as the real one does."""
    outcomes: list[TrialOutcome | None] = [None] * len(configs)
    for epoch in range(1, configs[0].train.epochs + 1):
        for member, (config, monitor) in enumerate(zip(configs, monitors, strict=True)):
            if outcomes[member] is None:
                try:
                    monitor.on_epoch({"epoch": epoch, "validation": {"gospa_m": metric_of(config, epoch)}})
                except optuna.TrialPruned as stopped:
                    outcomes[member] = pruned(str(stopped))
    return [outcome or monitor.outcome() for outcome, monitor in zip(outcomes, monitors, strict=True)]


def main() -> None:
    """One worker: ``python -m tests.experiments.search.fake DIRECTORY EPOCH_SECONDS [key=value ...]``."""
    settings: dict[str, Any] = {}
    for argument in sys.argv[3:]:
        key, _, value = argument.partition("=")
        settings[key] = value if key in ("storage", "study", "pruner") else float(value) if "_s" in key else int(value)
    directory = RunDirectory(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    search(make_config(**settings), directory, Terminal(quiet=True), train=FakeTrain(float(sys.argv[2])))


if __name__ == "__main__":
    main()
