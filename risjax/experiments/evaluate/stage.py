"""The stage ``evaluate``: every method on the same scenes with the same information, timed and resumable.

``metrics.json`` is made from ``estimates.npz`` (`risjax.experiments.evaluate.measure`), which also stores the
results of an interrupted evaluation.
"""

from typing import Any

from risjax.config import Config, SourceConfig
from risjax.experiments.evaluate.measure import (
    Arrays,
    Compiled,
    as_estimates,
    fitted_sources,
    per_scene_metrics,
    read_estimates,
    run_methods,
)
from risjax.experiments.evaluate.methods import LEARNED
from risjax.experiments.evaluate.scenes import bound_std, load_scenes
from risjax.inference.release import load_params
from risjax.metrics.summary import summarise
from risjax.model import Params
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Bar, Terminal
from risjax.types import Estimates, Sources

_SHOWN = ("nmse", "f1_3d", "f1_angle", "gospa_m")


def evaluate(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Run ``config.evaluate`` and write ``metrics.json`` and ``estimates.npz``.

    Methods that cannot run on a source (an oracle without a true covariance, a network made for another surface) are
    omitted there, with a note.

    Returns:
        The contents of ``metrics.json``: ``{"sources": {name: {"methods", "pairs", "scenes", "timing", "notes"}}}``.

    Raises:
        FileNotFoundError: no trained network for a learned method, or no such scene file.
        WeightsError: ``config.weights`` are damaged or were made for another array or network.
    """
    params = load_params(config, directory) if LEARNED & set(config.evaluate.methods) else None
    stored = read_estimates(directory)
    result: dict[str, Any] = {"sources": {}}
    total = sum(source.scenes for source in config.evaluate.sources) * len(config.evaluate.methods)
    compiled: Compiled = {}
    with terminal.progress("evaluate", total) as bar:
        for source in config.evaluate.sources:
            entry = _evaluate_source(config, source, params, stored, compiled, directory, bar)
            result["sources"][source.name] = entry
            directory.write_json(directory.metrics_path.name, result)
    for name, entry in result["sources"].items():
        terminal.table(f"{name}: {entry['scenes']} scenes, value [95 % interval]", _rows(entry))
        for note in entry["notes"]:
            terminal.say(f"  {name}: {note}")
    return result


def stored_estimates(config: Config, source: SourceConfig, directory: RunDirectory) -> dict[str, Estimates]:
    """Return the stored estimates of an evaluation, by method in the order of the configuration."""
    return {name: as_estimates(fields) for name, fields in _stored(config, source, directory).items()}


def stored_fits(config: Config, source: SourceConfig, directory: RunDirectory) -> dict[str, Sources]:
    """Return the fits to the snapshots of the methods of `stored_estimates` that have one."""
    fits = {name: fitted_sources(fields) for name, fields in _stored(config, source, directory).items()}
    return {name: fit for name, fit in fits.items() if fit is not None}


def _stored(config: Config, source: SourceConfig, directory: RunDirectory) -> dict[str, Arrays]:
    stored = read_estimates(directory)
    prefixes = {name: f"{source.name}/{name}/" for name in config.evaluate.methods}
    return {
        name: {key.removeprefix(prefix): stored[key] for key in stored if key.startswith(prefix)}
        for name, prefix in prefixes.items()
        if prefix + "active" in stored
    }


def _evaluate_source(
    config: Config,
    source: SourceConfig,
    params: Params | None,
    stored: Arrays,
    compiled: Compiled,
    directory: RunDirectory,
    bar: Bar,
) -> dict[str, Any]:
    scenes = load_scenes(config, source)
    done, notes = run_methods(config, scenes, source.name, params, stored, compiled, directory, bar)
    summary = summarise(
        {name: as_estimates(fields) for name, fields in done.items()},
        scenes.sources,
        config.evaluate.tolerance,
        snr_db=scenes.snr_db,
        bound_std=bound_std(scenes),
        per_scene={name: per_scene_metrics(fields) for name, fields in done.items()},
        draws=config.evaluate.bootstrap_draws,
        seed=config.run.seed,
    )
    timing = {
        name: {"compile_s": float(fields["seconds"][0]), "scene_s": float(fields["seconds"][1])}
        for name, fields in done.items()
    }
    return {**summary, "timing": timing, "notes": [*scenes.notes, *notes]}


def _rows(entry: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for method, parts in entry["methods"].items():
        row = {"method": method}
        for metric in _SHOWN:
            figure = parts["overall"].get(metric)
            row[metric] = (
                "-" if figure is None else f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
            )
        rows.append(row | {"ms a scene": f"{1e3 * entry['timing'][method]['scene_s']:.1f}"})
    return rows
