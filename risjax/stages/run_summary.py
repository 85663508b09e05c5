"""Summary at the end of a run: its results and files."""

from collections.abc import Iterator
from typing import Any

from risjax.config.deprecated import current_method
from risjax.config.root import Config
from risjax.runs.formatting import value_text
from risjax.runs.run_directory import RunDirectory

_FILES = (
    ("sources.csv", "the sources, one in each line"),
    ("sources.json", "the same, by scene"),
    ("sources.parquet", "the same as a table"),
    ("bad_scenes.csv", "the scenes that could not be used, with the reasons"),
    ("report.html", "the report, for a browser"),
    ("ablation.csv", "the metrics of each variant, one in each line"),
    ("metrics.json", "all metrics with their intervals"),
    ("estimates.npz", "the estimates, by scene"),
    ("codes.npy", "the designed codes, for physics.codebook.kind = file"),
    ("design.json", "the comparison of codebooks"),
    ("audit.json", "every operation of the training step with its dtype"),
    ("verify.json", "the checklist"),
    ("log.jsonl", "a line for each step and epoch"),
    ("search/best.yaml", "the winner's configuration"),
    ("tune/best.yaml", "the configuration with the chosen settings after the network"),
    ("release", "the trained network, to copy and load"),
    ("export", "the pipeline as one file that runs without risjax"),
    ("checkpoints", "states of the training"),
    ("config.yaml", "the configuration"),
)
_SHOWN_METRICS = ("nmse", "f1_3d", "f1_angle", "gospa_m")


def summarise_run(config: Config, directory: RunDirectory) -> list[str]:
    """Return the lines of the summary, from the files of the directory."""
    lines = [
        *_search_lines(config, directory),
        *_train_lines(directory),
        *_evaluate_lines(directory),
        *_predict_lines(directory),
    ]
    existing = [(name, what) for name, what in _FILES if _exists(directory, name)]
    width = max((len(str(directory.path / name)) for name, _ in existing), default=0)
    lines += [f"  {str(directory.path / name).ljust(width)}  {what}" for name, what in existing]
    return ["", f"{directory.path}: {', '.join(_state(config, directory))}", *lines]


def _state(config: Config, directory: RunDirectory) -> Iterator[str]:
    for stage in config.stages:
        yield f"{stage} {'done' if directory.is_done(stage) else 'NOT done'}"


def _search_lines(config: Config, directory: RunDirectory) -> Iterator[str]:
    trials = directory.read_json("search/trials.json", [])
    best = next((trial for trial in trials if trial["is_best"]), None)
    if best is not None:
        values = ", ".join(f"{name} {value_text(value)}" for name, value in best["params"].items())
        yield f"  search: best of {len(trials)} trials {config.search.metric} {value_text(best['value'])} with {values}"


def _train_lines(directory: RunDirectory) -> Iterator[str]:
    epochs = list(directory.read_log("epoch"))
    if epochs:
        first, last = epochs[0], epochs[-1]
        best = epochs[min(last["best_epoch"], len(epochs)) - 1]
        shown = ", ".join(f"{name} {value_text(best['validation'].get(name))}" for name in _SHOWN_METRICS)
        yield (
            f"  train: loss {value_text(first['loss'])} -> {value_text(last['loss'])} in {last['epoch']} epochs, "
            f"{last['skipped_steps']} steps skipped; best epoch {best['epoch']}: {shown}"
        )


def _evaluate_lines(directory: RunDirectory) -> Iterator[str]:
    metrics = directory.read_json("metrics.json", {})
    for source, found in metrics.get("sources", {}).items():
        yield f"  evaluate, {source}:"
        methods = {current_method(name): entry for name, entry in found.get("methods", {}).items()}
        width = max(map(len, methods), default=0)
        for method, breakdowns in methods.items():
            overall = breakdowns.get("overall", {})
            shown = [f"{name} {_interval(overall[name])}" for name in _SHOWN_METRICS if name in overall]
            yield f"    {method.ljust(width)}  {'  '.join(shown)}"


def _predict_lines(directory: RunDirectory) -> Iterator[str]:
    state = directory.read_json("predict.json", {})
    if state.get("finished"):
        used = state["scenes"] - state["failed"]
        yield f"  predict: {state['sources']} sources in {used} of {state['scenes']} scenes, {state['failed']} not used"


def _interval(entry: dict[str, Any]) -> str:
    """Format a value with its 95 % interval as ``0.512 [0.480, 0.541]``."""
    if entry.get("value") is None:
        return "-"
    if entry.get("low") is None or entry.get("high") is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _exists(directory: RunDirectory, name: str) -> bool:
    path = directory.path / name
    return path.is_file() or (path.is_dir() and any(path.iterdir()))
