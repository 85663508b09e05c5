"""The order of a run: completed stages are kept, interrupted ones are resumed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from risjax.config.io import apply_overrides
from risjax.config.root import Config
from risjax.runs import compile_cache, jax_settings, multihost
from risjax.runs.compilation import Compilation
from risjax.runs.environment import peak_memory_bytes
from risjax.runs.faults import file_fault
from risjax.runs.formatting import duration_text
from risjax.runs.open_run import open_for_report, open_run_directory
from risjax.runs.run_directory import RunDirectory, RunDirectoryBusy
from risjax.runs.terminal import Terminal
from risjax.stages.codebook_files import check_codebook_files
from risjax.stages.duration import announce_duration, report_estimate
from risjax.stages.finished import CHECKS_ITS_INPUT, is_finished, remember, repeat_result
from risjax.stages.run_summary import summarise_run
from risjax.stages.table import STAGES, StageError

_WITHOUT_JAX = {"report", "verify"}
"""Stages that compile nothing."""


def run_stages(config: Config, terminal: Terminal, command: str | None = None) -> int:
    """Run ``config.stages`` in the run directory; resume where an earlier run ended.

    With several processes (``distributed``) the first one runs the stages, and the others take part in its trainings.

    Args:
        config: the complete configuration.
        terminal: shows progress.
        command: the command that runs this configuration, for the log; None if there is none.

    Returns:
        0, or 1 if ``verify`` or ``audit`` found an error.

    Raises:
        ConfigError: the search's space or a variant does not fit the schema, a codebook file cannot be used, or fewer
            devices are available than configured; nothing was changed.
        JaxSettingsError: an environment variable of JAX requires something that is not available; nothing was changed.
        RunDirectoryError: the directory cannot be used; nothing was changed.
        StageError: a stage failed for a reason that the user can remove.
        KeyboardInterrupt: interrupted; completed stages are kept.
    """
    if "search" in config.stages:
        from risjax.experiments.search.space import check_space

        check_space(config)
    if "ablate" in config.stages:
        from risjax.experiments.ablate.variants import read_variants

        read_variants(config)
    if "tune" in config.stages:
        from risjax.experiments.tune.tuned_settings import check_tune

        check_tune(config)
    check_codebook_files(config)
    multihost.join(config.distributed)
    if jax_settings.are_set():
        jax_settings.check_jax_settings()
    trains = {"search", "train", "ablate"}.intersection(config.stages)
    if trains and (multihost.several() or config.train.devices is not None):
        from risjax.train.mesh import check_devices

        check_devices(config)
    if not multihost.leads():
        return _follow(config, terminal)
    code = 1
    try:
        reported = _report_of_run(config, terminal) if config.stages == ("report",) else None
        code = _lead(config, terminal, command) if reported is None else reported
    finally:
        multihost.send({"exit": code})
    return code


def _lead(config: Config, terminal: Terminal, command: str | None) -> int:
    try:
        directory = open_run_directory(config)
    except RunDirectoryBusy as busy:
        return _join_search(config, terminal, busy)
    try:
        return _run_stages(config, directory, terminal, command)
    except OSError as error:
        fault = file_fault(error, directory.path)
        if fault is None:
            raise
        raise StageError(fault) from error
    finally:
        directory.unlock()


def _report_of_run(config: Config, terminal: Terminal) -> int | None:
    """Write the report of a run with further stages, finished or not; return None if there is no such run."""
    directory = open_for_report(config)
    if directory is None:
        return None
    terminal.say(f"run directory: {directory.path}")
    STAGES["report"](config, directory, terminal)
    terminal.say(f"the report of what is there: {directory.report_path}", always=True)
    return 0


def _follow(config: Config, terminal: Terminal) -> int:
    from risjax.train.multihost_follower import follow

    terminal.say("this process is a follower: its devices train with those of process 0, which prints the progress")
    with _compile_cache(config, terminal):
        return follow()


@contextmanager
def _compile_cache(config: Config, terminal: Terminal) -> Iterator[None]:
    """Read and keep compiled programs, and report slow compilations and the time that the cache saved."""
    problem = compile_cache.enable(config.run.compile_cache)
    if problem is not None:
        terminal.warn(problem)
    with Compilation(terminal.show_compilation) as compilation:
        yield
    summary = compilation.summary()
    if summary is not None:
        terminal.say(summary)


def _join_search(config: Config, terminal: Terminal, busy: RunDirectoryBusy) -> int:
    """Join the search of the process that uses the directory, which runs the later stages alone."""
    directory = RunDirectory(config.run.directory or "")
    if config.run.fresh or "search" not in config.stages or directory.is_done("search"):
        raise busy
    terminal.say(f"run directory: {directory.path}, in use by another process: joining its search as a worker")
    with _compile_cache(config, terminal):
        STAGES["search"](config, directory, terminal)
    terminal.say("the search is finished; the other process runs the later stages", always=True)
    return 0


def _run_stages(config: Config, directory: RunDirectory, terminal: Terminal, command: str | None) -> int:
    terminal.say(f"run directory: {directory.path}")
    pending = {stage for stage in config.stages if not is_finished(stage, config, directory)}
    if command is not None and pending:
        stages = [stage for stage in config.stages if stage in pending]
        directory.append_log({"kind": "command", "command": command, "stages": stages})
    with nullcontext() if pending <= _WITHOUT_JAX else _compile_cache(config, terminal):
        all_passed = _run_pending(config, directory, terminal)
    for line in summarise_run(config, directory):
        terminal.say(line, always=True)
    return 0 if all_passed else 1


def _run_pending(config: Config, directory: RunDirectory, terminal: Terminal) -> bool:
    """Run the stages that are not done; return whether all found everything right."""
    estimated = announce_duration(config, directory, terminal)
    actual: dict[str, float] = {}
    all_passed = True
    for stage in config.stages:
        if is_finished(stage, config, directory):
            terminal.say(f"{stage}: already done")
            all_passed &= repeat_result(stage, directory, terminal)
            continue
        terminal.rule(stage)
        started = time.monotonic()
        passed = STAGES[stage](_chosen(config, directory, stage), directory, terminal)
        actual[stage] = seconds = time.monotonic() - started
        record = {"kind": "stage", "stage": stage, "seconds": seconds, "passed": passed}
        directory.append_log({**record, "peak_memory_bytes": peak_memory_bytes()})
        if passed or stage in CHECKS_ITS_INPUT:
            directory.mark_done(stage)
            remember(stage, config, directory)
        all_passed &= passed
        outcome = (
            "done" if passed else "done, except for some scenes or variants" if stage in CHECKS_ITS_INPUT else "FAILED"
        )
        terminal.say(f"{stage}: {outcome} in {duration_text(seconds)}")
    report_estimate(estimated, actual, directory, terminal)
    return all_passed


def _chosen(config: Config, directory: RunDirectory, stage: str) -> Config:
    """Return the configuration of a stage: with the settings that earlier stages of this run have chosen."""
    earlier = config.stages[: config.stages.index(stage)]
    if "search" in earlier:
        config = apply_overrides(config, _winner(directory))
    if "tune" in earlier:
        config = apply_overrides(config, directory.read_json("tune.json", {}).get("settings", {}))
    return config


def _winner(directory: RunDirectory) -> dict[str, Any]:
    """Return the settings of the best trial of the search."""
    best = next((trial for trial in directory.read_json("search/trials.json", []) if trial["is_best"]), None)
    if best is None:
        raise StageError(
            f"{directory.search / 'trials.json'} contains no best trial, expected that of the finished search; delete "
            "this file and run the same command again, which writes it again"
        )
    return best["params"]
