"""The stages of a run, in order, each one resumable: what ``run.py`` does with a valid configuration.

A stage that is done is not repeated; one that was interrupted goes on by itself (the study knows its trials,
the training its checkpoints). Where a run searches, everything after the search is done with the winner: the
run's configuration with the best trial's values in place. Rooms are imported by the stage that needs them, so
that a run with nothing left to do ends at once.
"""

import time
from collections.abc import Callable, Mapping

from risjax import processes
from risjax.config.io import apply_overrides
from risjax.config.root import Config
from risjax.environment import peak_memory_bytes
from risjax.opening import open_run_directory
from risjax.run_directory import RunDirectory, RunDirectoryBusy
from risjax.summary import summarise_run
from risjax.terminal import Terminal, duration_text

_LONG_RUN_SCENES = 200_000
"""Training scenes ahead from which on it is worth measuring how long they will take (seconds of compilation)."""

_LOOKS_ITSELF = ("predict",)
"""Stages that see for themselves whether their input is still the one they were done with."""


class StageError(Exception):
    """A stage that could not be finished; the message says why, and what was there before still is."""


def run_stages(config: Config, terminal: Terminal) -> int:
    """Runs ``config.stages`` in its run directory, going on where an earlier run ended.

    Of several processes (``distributed``) the first does all this, and the others take part in what it trains.

    Returns:
        0, or 1 where ``verify`` or ``audit`` found something wrong.

    Raises:
        ConfigError: the search's space does not fit the schema, or the devices that are asked for are not there;
            nothing was changed.
        RunDirectoryError: the directory cannot be used; nothing was changed.
        StageError: a stage failed for a reason that is no bug.
        KeyboardInterrupt: as it came; what is done stays done.
    """
    if "search" in config.stages:
        from risjax.search.space import check_space

        check_space(config)
    processes.join(config.distributed)
    if {"search", "train"}.intersection(config.stages) and (processes.several() or config.train.devices is not None):
        from risjax.train.mesh import check_devices

        check_devices(config)
    if not processes.leads():
        return _follow(terminal)
    code = 1
    try:
        code = _lead(config, terminal)
    finally:
        processes.tell({"exit": code})
    return code


def _lead(config: Config, terminal: Terminal) -> int:
    try:
        directory = open_run_directory(config)
    except RunDirectoryBusy as busy:
        return _join_search(config, terminal, busy)
    try:
        return _run_stages(config, directory, terminal)
    finally:
        directory.unlock()


def _follow(terminal: Terminal) -> int:
    from risjax.train.follow import follow

    terminal.say("this process follows: its devices train with those of process 0, which says the rest")
    return follow()


def _join_search(config: Config, terminal: Terminal, busy: RunDirectoryBusy) -> int:
    """Helps the process that has the directory with its search; what follows the search is that process's own."""
    directory = RunDirectory(config.run.directory or "")
    if config.run.fresh or "search" not in config.stages or directory.is_done("search"):
        raise busy
    terminal.say(f"run directory: {directory.path}, which another process has: joining its search as a worker")
    _search(config, directory, terminal)
    terminal.say("the search is finished; the other process goes on with the rest", always=True)
    return 0


def _run_stages(config: Config, directory: RunDirectory, terminal: Terminal) -> int:
    terminal.say(f"run directory: {directory.path}")
    _announce_duration(config, directory, terminal)
    all_passed = True
    for stage in config.stages:
        if directory.is_done(stage) and stage not in _LOOKS_ITSELF:
            terminal.say(f"{stage}: already done")
            continue
        terminal.rule(stage)
        started = time.monotonic()
        passed = _STAGES[stage](_winner(config, directory, stage), directory, terminal)
        seconds = time.monotonic() - started
        record = {"kind": "stage", "stage": stage, "seconds": seconds, "passed": passed}
        directory.append_log({**record, "peak_memory_bytes": peak_memory_bytes()})
        if passed or stage in _LOOKS_ITSELF:
            directory.mark_done(stage)
        all_passed &= passed
        outcome = "done" if passed else "done, not everywhere" if stage in _LOOKS_ITSELF else "FAILED"
        terminal.say(f"{stage}: {outcome} in {duration_text(seconds)}")
    for line in summarise_run(config, directory):
        terminal.say(line, always=True)
    return 0 if all_passed else 1


def _winner(config: Config, directory: RunDirectory, stage: str) -> Config:
    """The configuration of a stage: the winner's where this run has searched before it."""
    if "search" not in config.stages[: config.stages.index(stage)]:
        return config
    best = next((trial for trial in directory.read_json("search/trials.json", []) if trial["is_best"]), None)
    if best is None:
        raise StageError(f"the search is done, but {directory.search / 'trials.json'} names no best trial")
    return apply_overrides(config, best["params"])


def _announce_duration(config: Config, directory: RunDirectory, terminal: Terminal) -> None:
    """Says before a long run how long it will take on this machine, measured on a few steps."""
    work = remaining_steps(config, directory)
    scenes = sum(work.values()) * config.train.batch_size
    if scenes < _LONG_RUN_SCENES or terminal.quiet or processes.several():
        return
    terminal.say("a long run; measuring a few steps on this machine ...")
    from risjax.train import estimate_step_seconds

    per_step = estimate_step_seconds(config)
    for stage, steps in work.items():
        terminal.say(f"  {stage}: up to {steps} steps, about {duration_text(steps * per_step)}")
    total = duration_text(sum(work.values()) * per_step)
    terminal.say(
        f"about {total} at {1000 * per_step:.0f} ms a step of {config.train.batch_size} scenes here, less where trials "
        "are pruned; Ctrl-C stops it, and the same command goes on"
    )


def remaining_steps(config: Config, directory: RunDirectory) -> Mapping[str, int]:
    """Training steps that the stages still have ahead of them, at most, as {stage: steps}."""
    work = {}
    if "search" in config.stages and not directory.is_done("search"):
        finished = ("complete", "pruned")
        done = sum(trial["state"] in finished for trial in directory.read_json("search/trials.json", []))
        steps = config.search.epochs * (config.search.steps_per_epoch or config.train.steps_per_epoch)
        seeds = config.search.seeds if config.search.seeds > 1 else 0
        work["search"] = (config.search.trials - done + seeds) * steps
    if "train" in config.stages and not directory.is_done("train"):
        done = max((record["epoch"] for record in directory.read_log("epoch")), default=0)
        work["train"] = (config.train.epochs - done) * config.train.steps_per_epoch
    return work


def _search(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.search.storage import StorageError
    from risjax.search.study import SearchError, search

    try:
        search(config, directory, terminal)
    except (SearchError, StorageError) as error:
        raise StageError(f"search: {error}") from error
    return True


def _train(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.train import CheckpointError, NonFiniteTraining, train, train_posterior

    try:
        train(config, directory, terminal)
        train_posterior(config, directory, terminal)
    except (NonFiniteTraining, CheckpointError) as error:
        raise StageError(f"train: {error}") from error
    except ModuleNotFoundError as error:
        if error.name != "tensorboardX":
            raise
        raise StageError(f"train: {error}") from error
    return True


def _evaluate(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.evaluate import evaluate
    from risjax.release import WeightsError
    from risjax.train import CheckpointError

    try:
        evaluate(config, directory, terminal)
    except (CheckpointError, WeightsError, FileNotFoundError) as error:
        raise StageError(f"evaluate: {error}") from error
    return True


def _limit(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.limit import LimitError, limit

    try:
        limit(config, directory, terminal)
    except LimitError as error:
        raise StageError(f"limit: {error}") from error
    return True


def _simulate(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.data.simulate import SceneDirectoryError, simulate

    try:
        simulate(config, directory, terminal)
    except SceneDirectoryError as error:
        raise StageError(f"simulate: {error}") from error
    return True


def _audit(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.audit import run_audit

    return run_audit(config, directory, terminal)


def _compare(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    try:
        from risjax.compare import compare
        from risjax.compare.run import CompareError
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise StageError("compare: PyTorch is not installed; pip install -e '.[torch]'") from error
    try:
        compare(config, directory, terminal)
    except CompareError as error:
        raise StageError(f"compare: {error}") from error
    return True


def _report(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.report import write_report

    write_report(directory)
    return True


def _release(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.release import WeightsError, release
    from risjax.train import CheckpointError

    try:
        release(config, directory, terminal)
    except (CheckpointError, WeightsError, FileNotFoundError) as error:
        raise StageError(f"release: {error}") from error
    return True


def _predict(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.data.layouts import SceneFileError
    from risjax.predict import MeasurementError, predict
    from risjax.release import WeightsError
    from risjax.train import CheckpointError

    try:
        return predict(config, directory, terminal)
    except (CheckpointError, WeightsError, SceneFileError, MeasurementError, FileNotFoundError) as error:
        raise StageError(f"predict: {error}") from error


def _export(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.export import export
    from risjax.release import WeightsError
    from risjax.train import CheckpointError

    try:
        export(config, directory, terminal)
    except (CheckpointError, WeightsError, FileNotFoundError) as error:
        raise StageError(f"export: {error}") from error
    return True


def _verify(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    from risjax.verify import verify

    return verify(config, directory, terminal)


_STAGES: Mapping[str, Callable[[Config, RunDirectory, Terminal], bool]] = {
    "simulate": _simulate,
    "search": _search,
    "train": _train,
    "evaluate": _evaluate,
    "limit": _limit,
    "audit": _audit,
    "compare": _compare,
    "report": _report,
    "verify": _verify,
    "release": _release,
    "predict": _predict,
    "export": _export,
}
