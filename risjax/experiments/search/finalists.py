"""Final comparison of the best trials, on further scenes that are the same for all of them.

The validation scenes of a trial are few, so that of several close trials the one with the best value is partly lucky.
The networks of the best trials are therefore measured again on more scenes, which no trial has seen, and compared scene
by scene.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from risjax.config import Config, SourceConfig
from risjax.config.io import apply_overrides
from risjax.config.metric import lower_is_better
from risjax.experiments.evaluate import as_estimates, load_scenes, per_scene_metrics, read_estimates, run_methods
from risjax.experiments.search.directories import finished_path
from risjax.experiments.search.record import FINALISTS, TrialRecord, kept_comparison
from risjax.experiments.search.slots import read_slots
from risjax.experiments.search.space import trial_config
from risjax.experiments.search.storage import exclusive
from risjax.keys import Purpose
from risjax.metrics.bootstrap import Drawn, difference, draw_ratios, scene_weights
from risjax.metrics.scoring import score
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Bar, Terminal
from risjax.train.checkpoint import Checkpoints
from risjax.train.loop import load_best


def measure_finalists(
    study: optuna.Study,
    config: Config,
    records: Sequence[TrialRecord],
    numbers: Sequence[int],
    directory: RunDirectory,
    terminal: Terminal,
) -> None:
    """Measure the networks of some trials on ``search.final_scenes`` scenes and store the comparison in the study.

    A comparison of the same trials on as many scenes that the study contains is kept. Workers that share the run's
    directory take turns. If a worker with another directory trained a finalist, nothing is compared, and a warning is
    printed.

    Args:
        study: the study, whose attribute `risjax.experiments.search.record.FINALISTS` receives the comparison.
        config: the search's configuration.
        records: all slots.
        numbers: slots of the finalists, from `risjax.experiments.search.record.choose_finalists`.
        directory: the run, with the checkpoints of the finalists.
        terminal: shows progress.
    """
    with exclusive(directory.search / "finalists.lock"):
        if kept_comparison(study, config, numbers) is not None:
            return
        slots = read_slots(study.get_trials(deepcopy=False))
        paths = {number: finished_path(directory, slots[number]) for number in numbers}
        absent = [str(number) for number, path in paths.items() if not Checkpoints(path / "checkpoints").epochs()]
        if absent:
            terminal.warn(
                f"the finalists are not compared, and the trial with the best value wins: the network of trial "
                f"{', '.join(absent)} is not in {directory.search}, expected in the directory that all workers share"
            )
            return
        drawn = {}
        total = len(numbers) * config.search.final_scenes
        with terminal.progress("finalists", total) as bar:
            for number in numbers:
                where = RunDirectory(paths[number])
                drawn[number] = _measure(_measured(config, records[number]), where, bar)
        study.set_user_attr(FINALISTS, json.dumps(compare(config, drawn)))


def compare(config: Config, drawn: Mapping[int, Drawn]) -> dict[str, Any]:
    """Return the comparison of finalists.

    Args:
        config: metric, number of scenes.
        drawn: the metric of each finalist under the same bootstrap draws, by slot.

    Returns:
        ``{"metric", "scenes", "winner", "trials": [{"number", "value", "low", "high", "behind"}]}``; ``behind`` is the
        paired difference from the winner, ``{"value", "low", "high"}``, and None for the winner itself.
    """
    sign = 1 if lower_is_better(config.search.metric) else -1
    winner = min(drawn, key=lambda number: sign * drawn[number].value)
    trials = [
        {
            "number": number,
            **_ends(metric.interval()),
            "behind": None if number == winner else _ends(difference(metric, drawn[winner])),
        }
        for number, metric in drawn.items()
    ]
    return {
        "metric": config.search.metric,
        "scenes": config.search.final_scenes,
        "winner": winner,
        "trials": trials,
    }


def _measured(config: Config, record: TrialRecord) -> Config:
    """The trial's configuration, with the method to measure; batches have the validation's size and so its programs."""
    changes = {
        "evaluate.methods": ("learned_ml",),
        "evaluate.batch_size": config.train.batch_size,
        "train.posterior.scenes": 0,
    }
    return apply_overrides(trial_config(config, record.params), changes)


def _measure(config: Config, where: RunDirectory, bar: Bar) -> Drawn:
    source = SourceConfig(name="final", scenes=config.search.final_scenes)
    scenes = load_scenes(config, source, purpose=Purpose.SELECTION_SCENES)
    params = load_best(config, where)
    done, _ = run_methods(config, scenes, source.name, params, read_estimates(where), {}, where, bar)
    fields = done["learned_ml"]
    scores = score(as_estimates(fields), scenes.sources, config.evaluate.tolerance, per_scene=per_scene_metrics(fields))
    weights = scene_weights(source.scenes, config.evaluate.bootstrap_draws, config.run.seed)
    metric = config.search.metric
    return draw_ratios({metric: scores.ratios[metric]}, weights)[metric]


def _ends(interval: Mapping[str, Any]) -> dict[str, Any]:
    return {name: interval[name] for name in ("value", "low", "high")}
