"""Opening a run's directory: a new one, one to resume, one to move aside, or one to refuse with the reason."""

import datetime
from pathlib import Path
from typing import Any

from risjax.config.errors import ConfigError
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.config.root import Config
from risjax.runs.compile_cache import AUTO
from risjax.runs.faults import file_fault
from risjax.runs.run_directory import LOCK_NAME, RunDirectory, RunDirectoryError, write_atomically

_FREE = ("run.compile_cache", "train.devices", "train.accumulation", "distributed.", "ablate.")
"""Settings that may differ from those of the run that is resumed: the devices and the parts of a batch, because an
interrupted training may continue on other devices, and the variants of an ablation, each of which has a run directory
of its own."""


def open_run_directory(config: Config) -> RunDirectory:
    """The locked directory of a run, new or to be resumed.

    A directory with the same configuration is resumed. ``run.fresh`` renames an old one, to its own name with the
    date, and never deletes it. `run.directory`, `run.fresh` and `run.compile_cache` may differ, because they change no
    result. The devices of a training and the parts of a batch may differ, because they change the last digits only,
    and so may the variants of an ablation. ``stages`` may differ where one list begins with the other; the directory
    keeps the longer one.

    Raises:
        RunDirectoryError: another process uses the directory, it contains another configuration (the differing
            settings are named), or it contains files that no run wrote. Nothing was changed.
    """
    assert config.run.directory is not None, "load_config sets run.directory"
    path = Path(config.run.directory).expanduser()
    try:
        return _open(path, config)
    except OSError as error:
        fault = file_fault(error, path)
        if fault is None:
            raise
        raise RunDirectoryError(fault) from error


def open_for_report(config: Config) -> RunDirectory | None:
    """The directory of a run with further stages, of which ``config`` asks for the report alone; None if there is none.

    The run may be unfinished, and another process may use it: its files are only read, and nothing but the report is
    written.

    Raises:
        RunDirectoryError: the directory holds another configuration.
    """
    assert config.run.directory is not None, "load_config sets run.directory"
    path = Path(config.run.directory).expanduser()
    if config.stages != ("report",) or config.run.fresh or not (path / "config.yaml").exists():
        return None
    earlier = _earlier(path / "config.yaml")
    if earlier.stages == config.stages:
        return None
    _refuse_changes(path, earlier, config.model_copy(update={"stages": earlier.stages}))
    return RunDirectory(path)


def _open(path: Path, config: Config) -> RunDirectory:
    _refuse_foreign(path)
    old = path / "config.yaml"
    if old.exists() and not config.run.fresh:
        earlier = _earlier(old)
        _refuse_changes(path, earlier, config)
        if len(earlier.stages) > len(config.stages):
            config = config.model_copy(update={"stages": earlier.stages})
    if old.exists() and config.run.fresh:
        _move_aside(path)
    directory = RunDirectory(path)
    directory.lock()
    try:
        directory.remove_incomplete_line()
        run = config.run.model_copy(update={"fresh": False, "compile_cache": AUTO})
        stored = config.model_copy(update={"run": run})
        if not old.exists() or old.read_text(encoding="utf-8") != to_yaml(stored):
            write_atomically(old, to_yaml(stored))
    except OSError:
        directory.unlock()
        raise
    return directory


def _move_aside(path: Path) -> None:
    directory = RunDirectory(path)
    directory.lock()
    try:
        path.rename(_name_aside(path))
    finally:
        directory.unlock()


def _earlier(path: Path) -> Config:
    try:
        return from_yaml(path.read_text(encoding="utf-8"))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(
            f"{path} cannot be read by this version of risjax: {error}\n"
            f"give this run its own run.directory, or run.fresh=true, which moves {path.parent} aside"
        ) from None


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunDirectoryError(f"run.directory = {path} is a file; name a directory")
    ours = {LOCK_NAME, "checkpoints", "search", "figures"}
    if path.is_dir() and not (path / "config.yaml").exists():
        foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
        foreign = [name for name in foreign if not name.startswith(".config.yaml.")]
        if foreign:
            raise RunDirectoryError(
                f"{path} holds files that no run wrote ({', '.join(foreign[:3])}{', ...' if len(foreign) > 3 else ''}) "
                "and no config.yaml; name another run.directory"
            )


def _refuse_changes(path: Path, earlier: Config, config: Config) -> None:
    changed = {
        name: values
        for name, values in differences(earlier, config).items()
        if name not in ("run.directory", "run.fresh", "stages") and not name.startswith(_FREE)
    }
    shorter = min(len(earlier.stages), len(config.stages))
    if earlier.stages[:shorter] != config.stages[:shorter]:
        changed["stages"] = (list(earlier.stages), list(config.stages))
    if changed:
        lines = [f"  {name}: {_short(before)} there, {_short(now)} now" for name, (before, now) in changed.items()]
        raise RunDirectoryError(
            f"{path} holds a run with another configuration:\n" + "\n".join(lines) + "\n"
            "give this run its own run.directory, or run.fresh=true, which moves the old one aside"
        )


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _name_aside(path: Path) -> Path:
    date = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    names = (f"{path.name}.{date}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(candidate for name in names if not (candidate := path.resolve().with_name(name)).exists())
