"""Estimate of a run's duration: its remaining steps, and the measured time of a few of them."""

from collections.abc import Mapping

from risjax.config.root import Config
from risjax.runs import multihost
from risjax.runs.formatting import duration_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal

_LONG_RUN_SCENES = 200_000
"""Number of remaining training scenes from which on the duration is measured, which takes seconds of compilation."""


def announce_duration(config: Config, directory: RunDirectory, terminal: Terminal) -> None:
    """Print before a long run how long it will take on this machine, measured on a few steps."""
    work = remaining_steps(config, directory)
    scenes = sum(work.values()) * config.train.batch_size
    if scenes < _LONG_RUN_SCENES or terminal.quiet or multihost.several():
        return
    terminal.say("a long run; measuring a few steps on this machine ...")
    from risjax.train import estimate_step_seconds

    per_step = estimate_step_seconds(config)
    for stage, steps in work.items():
        terminal.say(f"  {stage}: up to {steps} steps, about {duration_text(steps * per_step)}")
    total = duration_text(sum(work.values()) * per_step)
    terminal.say(
        f"about {total} at {1000 * per_step:.0f} ms a step of {config.train.batch_size} scenes here, less where trials "
        "are pruned; Ctrl-C stops it, and the same command resumes it"
    )


def remaining_steps(config: Config, directory: RunDirectory) -> Mapping[str, int]:
    """Return the largest numbers of training steps that the stages still need, as {stage: steps}."""
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
    if "ablate" in config.stages:
        from risjax.experiments.ablate.variants import ahead

        work["ablate"] = ahead(config, directory)
    return work
