"""Finished stages: their files still exist and their input has not changed, without importing what a stage needs.

The stages ``predict`` and ``ablate`` take files from outside the run directory, or settings that may differ when a run
is repeated. After such a stage `remember` stores a digest of its configuration and of the sizes and times of its files.
A digest that differs (a copied directory, new measurements, a deleted table) only means that the stage is called again
and decides for itself.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import risjax
from risjax.config.io import to_yaml
from risjax.config.root import Config
from risjax.config.weights import find_weights
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages.table import READ_LATER

CHECKS_ITS_INPUT = ("predict", "ablate")
"""Stages that depend on more than the run directory's configuration."""

_NETWORK = ("weights.safetensors", "posterior.safetensors", "checkpoints")
_CHOSEN = ("search/trials.json", "tune.json")


def is_finished(stage: str, config: Config, directory: RunDirectory) -> bool:
    """Return whether a stage was finished before, and nothing that it read or that later stages read has changed."""
    if not directory.is_done(stage):
        return False
    if stage in CHECKS_ITS_INPUT:
        return directory.read_json(_record(stage), {}).get("digest") == _digest(stage, config, directory)
    needed = READ_LATER.get(stage)
    return needed is None or (directory.path / needed).exists()


def remember(stage: str, config: Config, directory: RunDirectory) -> None:
    """Store the digest of a stage of `CHECKS_ITS_INPUT` that has just finished; do nothing for other stages."""
    if stage in CHECKS_ITS_INPUT:
        directory.write_json(_record(stage), {"digest": _digest(stage, config, directory)})


def repeat_result(stage: str, directory: RunDirectory, terminal: Terminal) -> bool:
    """Show the tables and warnings of a finished stage again; return whether it found everything right."""
    if stage == "ablate":
        for title, rows in directory.read_json("ablation.json", {}).get("tables", {}).items():
            terminal.table(title, rows)
    if stage == "predict":
        state = directory.read_json("predict.json", {})
        for text in state["warnings"]:
            terminal.warn(text)
        return not state["failed"]
    return True


def _record(stage: str) -> str:
    return f".{stage}_input.json"


def _digest(stage: str, config: Config, directory: RunDirectory) -> str:
    run = config.run.model_copy(update={"fresh": False, "directory": None, "compile_cache": "auto"})
    files = _predict_files(config, directory) if stage == "predict" else _ablate_files(config, directory)
    parts = [risjax.__version__, to_yaml(config.model_copy(update={"run": run})), *files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _predict_files(config: Config, directory: RunDirectory) -> Iterator[str]:
    found = find_weights(config.weights) if config.weights else None
    network = directory.path if found is None else found.folder
    outputs = directory.read_json("predict.json", {}).get("bytes", {})
    yield from _stamps(Path(config.data.path or "").expanduser())
    for name in (*_NETWORK, *_CHOSEN):
        yield from _stamps(network / name)
    for name in ("predict.json", *sorted(outputs)):
        yield from _stamps(directory.path / name)


def _ablate_files(config: Config, directory: RunDirectory) -> Iterator[str]:
    sources = config.evaluate.sources
    physics = [config.physics, *(source.physics for source in sources if source.physics is not None)]
    for path in (*(source.path for source in sources), *(entry.codebook.path for entry in physics)):
        if path is not None:
            yield from _stamps(Path(path).expanduser())
    for name in ("ablation", "ablation.json", "ablation.csv", *_CHOSEN):
        yield from _stamps(directory.path / name)


def _stamps(path: Path) -> Iterator[str]:
    """Yield a line for a file or for each file of a folder: name, size, and the times of content and status."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            yield f"{file.absolute()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
