"""The stage ``tune``: chooses the settings after the network by paired comparisons, then trains the heads for them.

One setting after the other: each of its values is compared with the settings chosen so far, on the same scenes. The
best value whose paired interval excludes zero is kept. A setting that makes no difference keeps the run's value, so
that the result does not depend on noise. ``tune.json`` is rewritten after every setting; estimates are kept in
``tune/``, so that an interrupted stage resumes.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from risjax.config import Config, SourceConfig
from risjax.config.io import apply_overrides, to_yaml
from risjax.config.metric import lower_is_better
from risjax.experiments.evaluate import EvaluationScenes, as_estimates, load_scenes
from risjax.experiments.tune.network_with_settings import NetworkWithSettings
from risjax.experiments.tune.tuned_settings import check_tune
from risjax.experiments.tune.tuning_tables import METRICS, make_tables
from risjax.keys import Purpose
from risjax.metrics.bootstrap import Drawn, difference, draw_ratios, scene_weights
from risjax.metrics.scoring import score
from risjax.pipeline import HEADS
from risjax.runs.npz_io import read_arrays, write_arrays
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train import load_best, train_posterior
from risjax.train.checkpoint import digest
from risjax.types import Estimates

FILE = "tune.json"


def tune(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Choose the settings of ``config.tune`` on the run's trained network.

    Returns:
        The contents of ``tune.json``: ``{"metric", "scenes", "head_scenes", "settings": {path: chosen value},
        "comparisons": [{"setting", "value", "figures", "differences", "is_chosen"}], "tables"}``.

    Raises:
        ConfigError: `check_tune` refuses the settings.
        FileNotFoundError: no trained network.
        CheckpointError: all checkpoints are damaged.
    """
    check_tune(config)
    source = SourceConfig(name="tune", scenes=config.tune.scenes)
    scenes = load_scenes(config, source, purpose=Purpose.SELECTION_SCENES)
    bench = _Bench(config, scenes, directory, terminal)
    result: dict[str, Any] = {
        "metric": config.tune.metric,
        "scenes": config.tune.scenes,
        "head_scenes": config.tune.head_scenes,
        "settings": {},
        "comparisons": [_entry(None, None, bench.measure({}), {})],
    }
    for path, values in config.tune.settings.items():
        _compare_values(bench, result, path, values)
        result["tables"] = make_tables(result)
        directory.write_json(FILE, result)
    for title, rows in result["tables"].items():
        terminal.table(title, rows)
    chosen = apply_overrides(config, result["settings"])
    if result["settings"]:
        terminal.say("training the posterior heads for the chosen settings")
        train_posterior(chosen, directory, terminal)
    write_atomically(directory.path / "tune" / "best.yaml", to_yaml(chosen))
    return result


def _compare_values(bench: "_Bench", result: dict[str, Any], path: str, values: tuple[Any, ...]) -> None:
    """Compare the values of a setting with those chosen so far, add the rows, and choose the best that is better."""
    metric = result["metric"]
    sign = 1 if lower_is_better(metric) else -1
    chosen = result["settings"]
    current, best, best_change = bench.measure(chosen), None, 0.0
    for value in values:
        if bench.is_same(chosen, {path: value}):
            continue
        found = bench.measure({**chosen, path: value})
        differences = {name: difference(found[name], current[name]) for name in METRICS}
        result["comparisons"].append(entry := _entry(path, value, found, differences))
        # (an undefined difference is no improvement)
        change, *ends = (sign * (differences[metric][part] or 0.0) for part in ("value", "low", "high"))
        if max(ends) < 0 and change < best_change:
            best, best_change = entry, change
    if best is not None:
        best["is_chosen"] = True
        result["settings"] = {**chosen, path: best["value"]}


def _entry(path: str | None, value: Any, found: Mapping[str, Drawn], differences: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "setting": path,
        "value": value,
        "figures": {name: drawn.interval() for name, drawn in found.items()},
        "differences": dict(differences),
        "is_chosen": False,
    }


class _Bench:
    """Metrics of the run's network with any settings after it, kept in ``tune/estimates.npz``."""

    def __init__(self, config: Config, scenes: EvaluationScenes, directory: RunDirectory, terminal: Terminal):
        params = load_best(config, directory)
        self._config, self._scenes = config, scenes
        self._mark = digest({group: leaves for group, leaves in params.items() if group not in HEADS})
        self._network = NetworkWithSettings(config, params, scenes, terminal)
        self._path = directory.path / "tune" / "estimates.npz"
        self._stored = read_arrays(self._path)
        self._weights = scene_weights(config.tune.scenes, config.evaluate.bootstrap_draws, config.run.seed)

    def is_same(self, chosen: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """Return whether a change leaves the chosen settings as they are."""
        return self._complete(chosen) == self._complete({**chosen, **change})

    def measure(self, settings: Mapping[str, Any]) -> dict[str, Drawn]:
        """Return `METRICS` with some settings changed, under the same bootstrap draws for all."""
        config = self._complete(settings)
        sections = config.model_dump_json(include={"physics", "covariance", "estimator", "model", "train", "evaluate"})
        prefix = hashlib.sha256((self._mark + sections).encode()).hexdigest()[:16] + "/"
        if prefix + "active" not in self._stored:
            estimates = self._network.estimates(config)
            self._stored |= {prefix + name: values for name, values in estimates._asdict().items()}
            write_arrays(self._path, self._stored)
        found = as_estimates({name: self._stored[prefix + name] for name in Estimates._fields})
        ratios = score(found, self._scenes.sources, config.evaluate.tolerance).ratios
        return draw_ratios({name: ratios[name] for name in METRICS}, self._weights)

    def _complete(self, settings: Mapping[str, Any]) -> Config:
        return apply_overrides(self._config, {"train.posterior.scenes": self._config.tune.head_scenes, **settings})
