"""The search space: dotted paths checked against the schema before anything runs.

A space is ``config.search.space``, a mapping of dotted paths to distributions. Before the first trial all errors are
reported together: a path that does not exist, a path that no trial reads, a value that the schema refuses for all
values of the other settings. Pairs of values that are valid separately but not together (heads that do not divide the
width) are reported, and a trial with such a pair is pruned with that reason.
"""

import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from risjax.config import Config, Distribution
from risjax.config.errors import ConfigError, Problem, dotted, setting_paths, suggest
from risjax.config.io import apply_overrides

_DEAD = {
    "stages": "it selects what runs, not how",
    "run": "it names the run and does not change what is learned",
    "search": "a search cannot search itself",
    "evaluate": "a trial's value comes from the validation scenes, before any evaluation",
    **dict.fromkeys(
        ("ablate", "design", "tune", "limit", "simulate", "compare", "predict", "release", "export", "data", "weights"),
        "it belongs to a stage that no trial runs",
    ),
    "checks": "assertions do not change what is learned",
    "debug": "it explains a failed training and changes none",
    "distributed": "it selects the processes that train, not how they train",
    "train.devices": "it selects the devices, not how a trial trains",
    "train.accumulation": "it limits the memory and does not change what is learned",
    "train.epochs": "a trial trains search.epochs epochs",
    "train.best_metric": "a trial's value is the best epoch by search.metric",
    "train.validation_scenes": "all trials must be compared on the same scenes",
    "train.tensorboard": "it displays a training and changes none",
    "train.posterior": "the posterior head is trained once, after the search",
    "model.posterior_width": "the posterior head is trained once, after the search",
    "model.posterior_knots": "the posterior head is trained once, after the search",
    "estimator.posterior.existence": "the posterior head is trained once, after the search",
    "estimator.posterior.range_share": "the posterior head is trained once, after the search",
    "estimator.posterior.range_window_m": "the posterior head is trained once, after the search",
}
_LIVE_ESTIMATOR = ("estimator.posterior.", "estimator.greedy.penalty", "estimator.greedy.false_alarm_rate")
"""Settings of ``estimator`` that the pipeline reads before a posterior head is trained."""


def check_space(config: Config) -> tuple[str, ...]:
    """Check ``config.search.space`` against the schema.

    Args:
        config: the complete configuration; the space's values are tried as overrides of it.

    Returns:
        Descriptions of the pairs of values that are valid separately but not together. Trials that draw one are pruned.

    Raises:
        ConfigError: with all problems: unknown paths (and the closest known ones), settings that no trial reads,
            values that are valid in no combination.
    """
    space = config.search.space
    problems = {path: why for path in space if (why := _path_problem(config, path))}
    space = {path: distribution for path, distribution in space.items() if path not in problems}
    problems |= {path: text for path, text in _outside(config, space)}
    pairs = tuple(_refused_pairs(config, space))
    bad = {frozenset((first, second)) for first, second, _ in pairs}
    for path, distribution in space.items():
        others = [(other, index) for other in space if other != path for index in range(len(probes(space[other])))]
        for index, value in enumerate(probes(distribution)):
            reason = refusal(config, {path: value})
            if reason and all(frozenset(((path, index), other)) in bad for other in others):
                problems.setdefault(path, f"{value!r} is refused: {reason}")
    if problems:
        raise _error(problems)
    return tuple(reason for _, _, reason in pairs)


def probes(distribution: Distribution) -> tuple[Any, ...]:
    """Return the values with which a distribution is checked: every choice, or both ends and the middle."""
    if distribution.choice is not None:
        return distribution.choice
    if distribution.log_uniform is not None:
        low, high = distribution.log_uniform
        return low, math.sqrt(low * high), high
    if distribution.uniform is not None:
        low, high = distribution.uniform
        return low, (low + high) / 2, high
    assert distribution.integer is not None
    low, high = distribution.integer
    return tuple(dict.fromkeys((low, (low + high) // 2, high)))


def configured_values(config: Config) -> dict[str, Any]:
    """Return {dotted path: value} of the configuration's own searched settings, for ``search.first_trial: configured``;
    otherwise nothing."""
    if config.search.first_trial == "random":
        return {}
    tree = config.model_dump(mode="json")
    return {
        path: functools.reduce(lambda node, part: node[part], path.split("."), tree) for path in config.search.space
    }


def is_same(choice: Any, value: Any) -> bool:
    """Return whether a choice is a value, with lists equal to tuples."""
    return json.loads(json.dumps(choice)) == json.loads(json.dumps(value))


def refusal(config: Config, values: Mapping[str, Any]) -> str | None:
    """Return the reason why the schema refuses ``config`` with these values, or None if it accepts them."""
    try:
        apply_overrides(config, values)
    except ConfigError as error:
        return "; ".join(problem.text for problem in error.problems)
    return None


def trial_config(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the configuration of a trial: the values in place, the number of epochs from ``search.epochs``.

    Raises:
        ConfigError: the values are valid separately but not together.
    """
    length: dict[str, Any] = {"train.epochs": config.search.epochs}
    if config.search.steps_per_epoch is not None:
        length["train.steps_per_epoch"] = config.search.steps_per_epoch
    return apply_overrides(config, {**values, **length})


def _error(problems: Mapping[str, str]) -> ConfigError:
    return ConfigError([Problem(f"search.space.{path}", "", text) for path, text in problems.items()])


def _outside(config: Config, space: Mapping[str, Distribution]) -> Iterator[tuple[str, str]]:
    """Yield settings whose configured value, which the first trial is to have, is not in the space."""
    if config.search.first_trial == "random":
        return
    only = config.model_copy(update={"search": config.search.model_copy(update={"space": space})})
    for path, value in configured_values(only).items():
        distribution = space[path]
        if distribution.choice is not None:
            is_in = any(is_same(choice, value) for choice in distribution.choice)
        else:
            low, *_, high = probes(distribution)
            is_in = low <= value <= high
        if not is_in:
            yield (
                path,
                f"does not contain {value!r}, the configured value, which the first trial has "
                "(search.first_trial = configured); add it, or set search.first_trial to random",
            )


def _path_problem(config: Config, path: str) -> str | None:
    """Return the problem of a searched path, or None."""
    known = tuple(setting_paths(Config))
    parts = tuple(path.split("."))
    if parts not in known:
        close = suggest(parts, known)
        return "no such setting" + (f"; did you mean {' or '.join(close)}?" if close else "")
    if any(len(other) > len(parts) and other[: len(parts)] == parts and other[-1] != "*" for other in known):
        return f"is a section; search one of its settings, as in {dotted(next(k for k in known if k[:-1] == parts))}"
    for dead, why in _DEAD.items():
        if path == dead or path.startswith(dead + "."):
            return f"no trial reads this setting: {why}"
    if why := _absent_term(config, parts):
        return f"no trial reads this setting: {why}"
    if path == "train.steps_per_epoch" and config.search.steps_per_epoch is not None:
        return "no trial reads this setting: search.steps_per_epoch takes its place"
    if path.startswith("estimator.") and config.search.metric == "nmse":
        return "no trial reads this setting: search.metric is nmse, which involves no estimator"
    if path.startswith("estimator.") and not path.startswith(_LIVE_ESTIMATOR):
        return "no trial reads this setting: it belongs to another method than the one that gives a trial its value"
    return None


def _absent_term(config: Config, parts: tuple[str, ...]) -> str | None:
    """Return the reason why no trial's program contains a number of the loss, or None."""
    if parts[0] != "loss" or parts[-1] == "weight":
        return None
    is_absent = config.loss.terms[parts[1]].weight == 0 and f"loss.{parts[1]}.weight" not in config.search.space
    return f"loss.{parts[1]}.weight is 0" if is_absent else None


def _refused_pairs(
    config: Config, space: Mapping[str, Distribution]
) -> Iterator[tuple[tuple[str, int], tuple[str, int], str]]:
    """Yield pairs of probed values (path, index of the probe) that the schema refuses together, with the reason."""
    for first, second in itertools.combinations(space, 2):
        for (i, a), (j, b) in itertools.product(enumerate(probes(space[first])), enumerate(probes(space[second]))):
            if reason := refusal(config, {first: a, second: b}):
                yield (first, i), (second, j), f"{first} = {a!r} with {second} = {b!r}: {reason}"
