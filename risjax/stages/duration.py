"""Estimate of a run's duration: its remaining steps and scenes, the measured time of a few, the error at the end."""

from collections.abc import Mapping

from risjax.config.root import Config
from risjax.runs import multihost
from risjax.runs.formatting import duration_text
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.stages.finished import is_finished

_LONG_RUN_SCENES = 200_000
"""Number of remaining training scenes from which on the duration is measured, which takes seconds of compilation."""
_WITH_HELD_OUT = 1.25
"""Scenes of a posterior head, those held out included, over the scenes it learns from."""


def announce_duration(config: Config, directory: RunDirectory, terminal: Terminal) -> Mapping[str, float]:
    """Print before a long run how long it will take on this machine, measured on a few steps and scenes.

    Returns:
        The estimate of each stage in seconds; nothing for a short run.
    """
    steps, scenes = remaining_steps(config, directory), remaining_scenes(config, directory)
    total = sum(steps.values()) * config.train.batch_size
    if total < _LONG_RUN_SCENES or terminal.quiet or multihost.several():
        return {}
    terminal.say("a long run; measuring a few steps on this machine ...")
    from risjax.train import estimate_scene_seconds, estimate_step_seconds

    per_step, per_scene = estimate_step_seconds(config), estimate_scene_seconds(config)
    seconds = {
        stage: steps.get(stage, 0) * per_step + scenes.get(stage, 0) * per_scene
        for stage in dict.fromkeys((*steps, *scenes))
    }
    for stage, duration in seconds.items():
        work = f"{steps.get(stage, 0)} steps, {scenes.get(stage, 0)} scenes through the pipeline"
        terminal.say(f"  {stage}: up to {work}, about {duration_text(duration)}")
    terminal.say(
        f"about {duration_text(sum(seconds.values()))} at {1000 * per_step:.0f} ms a step of {config.train.batch_size} "
        f"scenes and {1000 * per_scene:.1f} ms a scene of the pipeline here, less where trials are pruned; compilation "
        "and other stages not included. Ctrl-C stops it, and the same command resumes it"
    )
    return seconds


def report_estimate(
    estimated: Mapping[str, float], actual: Mapping[str, float], directory: RunDirectory, terminal: Terminal
) -> None:
    """Print and log how far the estimates of the stages that were run in this session were off."""
    both = {stage: (seconds, actual[stage]) for stage, seconds in estimated.items() if stage in actual}
    if not both:
        return
    for stage, (expected, took) in both.items():
        error = f"{100 * (expected / took - 1):+.0f} %" if took > 0 else "-"
        terminal.say(f"{stage}: estimated {duration_text(expected)}, took {duration_text(took)} ({error})")
    stages = {stage: {"estimated_s": expected, "actual_s": took} for stage, (expected, took) in both.items()}
    directory.append_log({"kind": "estimate", "stages": stages})


def remaining_scenes(config: Config, directory: RunDirectory) -> Mapping[str, int]:
    """Return the largest numbers of scenes that pass through the pipeline outside training steps, as {stage: scenes}:
    validations, finalists, and the scenes of the posterior heads and of their comparisons."""
    work, search, head = {}, config.search, config.train.posterior
    heads = round(_WITH_HELD_OUT * (head.scenes + min(head.scenes, head.peak_scenes)))
    if "search" in config.stages and not directory.is_done("search"):
        finals = (search.finalists + 1) * search.final_scenes if search.finalists else 0
        epochs = _trainings_left(config, directory) * search.epochs
        work["search"] = epochs * config.train.validation_scenes + finals
    if "train" in config.stages and not directory.is_done("train"):
        work["train"] = _epochs_left(config, directory) * config.train.validation_scenes + heads
    if "tune" in config.stages and not directory.is_done("tune"):
        comparisons = 1 + sum(map(len, config.tune.settings.values()))
        work["tune"] = comparisons * (config.tune.scenes + round(_WITH_HELD_OUT * config.tune.head_scenes)) + heads
    return work


def remaining_steps(config: Config, directory: RunDirectory) -> Mapping[str, int]:
    """Return the largest numbers of training steps that the stages still need, as {stage: steps}."""
    work = {}
    if "search" in config.stages and not directory.is_done("search"):
        steps = config.search.epochs * (config.search.steps_per_epoch or config.train.steps_per_epoch)
        work["search"] = _trainings_left(config, directory) * steps
    if "train" in config.stages and not directory.is_done("train"):
        work["train"] = _epochs_left(config, directory) * config.train.steps_per_epoch
    if "ablate" in config.stages and not is_finished("ablate", config, directory):
        from risjax.experiments.ablate.variants import ahead

        work["ablate"] = ahead(config, directory)
    return work


def _trainings_left(config: Config, directory: RunDirectory) -> int:
    """Trials of the search that are left, and the trainings of its winner under other seeds."""
    finished = ("complete", "pruned")
    done = sum(trial["state"] in finished for trial in directory.read_json("search/trials.json", []))
    return config.search.trials - done + (config.search.seeds if config.search.seeds > 1 else 0)


def _epochs_left(config: Config, directory: RunDirectory) -> int:
    return config.train.epochs - max((record["epoch"] for record in directory.read_log("epoch")), default=0)
