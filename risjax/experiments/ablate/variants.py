"""Complete configurations of all variants of the section ``ablate``, checked before any work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from risjax.config import Config
from risjax.config.errors import ConfigError, Problem
from risjax.config.io import apply_overrides, differences
from risjax.runs.run_directory import RunDirectory

_READ = ("physics", "precision", "model", "loss", "covariance", "estimator", "train")
"""Sections that a training or the measurement after it reads."""
_SHARED = {
    "physics.array": "all variants are measured on the same scenes, received by the run's surface",
    "physics.scene.max_sources": "all variants are measured on the same scenes, with the run's number of slots",
    "train.devices": "it selects the device of a training and does not change its result",
    "train.accumulation": "it limits the memory of a training and does not change its result",
    "train.tensorboard": "it displays a training and does not change its result",
}
_AFTER_TRAINING = ("covariance", "estimator", "precision.compute", "precision.output")
"""Settings that may differ if the weights are those of another variant."""
_HEAD = "train.posterior.scenes"
"""0 leaves out the posterior head, also from given weights."""


class Variant(NamedTuple):
    """One row of the table, ready to run.

    Attributes:
        name: of the row.
        of: the variant whose weights it takes; None where it is trained.
        settings: what differs from the run, or from ``of``.
        config: complete, with the run's seed.
    """

    name: str
    of: str | None
    settings: Mapping[str, Any]
    config: Config

    def seeded(self, number: int) -> Config:
        """The configuration of training ``number``, counted from 0."""
        return apply_overrides(self.config, {"run.seed": self.config.run.seed + number})


def read_variants(config: Config) -> tuple[Variant, ...]:
    """The variants of a configuration, in order.

    Raises:
        ConfigError: with everything that is wrong: no variants, an unknown source, settings that do not exist, that
            the schema refuses or that nothing reads, variants that change nothing and variants that are equal.
    """
    settings = config.ablate
    problems = []
    if not settings.variants:
        problems.append(Problem("ablate.variants", "", "is empty: the stage ablate has nothing to compare"))
    names = [source.name for source in config.evaluate.sources]
    if settings.source is not None and settings.source not in names:
        text = f"got {settings.source}, expected one of evaluate.sources ({', '.join(names)})"
        problems.append(Problem("ablate.source", "", text))
    base = apply_overrides(
        config, {"stages": ["train"], "ablate": {}, "evaluate.methods": settings.methods, "run.fresh": False}
    )
    found: dict[str, Variant] = {}
    for index, entry in enumerate(settings.variants):
        start = base if entry.of is None else found[entry.of].config if entry.of in found else None
        if start is None:  # the variant that it refers to was refused
            continue
        where = f"ablate.variants[{index}]"
        try:
            complete = apply_overrides(start, entry.settings)
        except ConfigError as error:
            problems += [Problem(f"{where}.settings.{problem.path}", "", problem.text) for problem in error.problems]
            continue
        variant = Variant(entry.name, entry.of, entry.settings, complete)
        refused = [Problem(where, "", text) for text in _refusals(variant, start, found)]
        problems += refused
        found |= {entry.name: variant} if not refused else {}
    if problems:
        raise ConfigError(problems)
    return tuple(found.values())


def training_path(directory: RunDirectory, variant: str, seed: int) -> Path:
    """Return the run directory of a variant's training under its ``seed``-th seed."""
    return directory.path / "ablation" / variant / f"seed_{seed}"


def ahead(config: Config, directory: RunDirectory) -> int:
    """Return the remaining training steps of all variants, in batches of the run's size."""
    scenes = 0
    for variant in read_variants(config):
        settings = variant.config.train
        for seed in range(config.ablate.seeds if variant.of is None else 0):
            path = training_path(directory, variant.name, seed)
            epochs = RunDirectory(path).read_log("epoch") if path.exists() else ()
            done = max((record["epoch"] for record in epochs), default=0)
            scenes += (settings.epochs - done) * settings.steps_per_epoch * settings.batch_size
    return -(-scenes // config.train.batch_size)


def source_of(config: Config) -> int:
    """Return the index in ``evaluate.sources`` of the scenes of all measurements."""
    names = [source.name for source in config.evaluate.sources]
    return 0 if config.ablate.source is None else names.index(config.ablate.source)


def _refusals(variant: Variant, start: Config, found: Mapping[str, Variant]) -> list[str]:
    changed = list(differences(start, variant.config))
    texts = [text for name in changed if (text := _unread(name, variant))]
    if not changed and (variant.settings or variant.of is not None):
        what = f"the weights of {variant.of}" if variant.of else "the configuration of the run"
        return [f"{variant.name} changes nothing: it equals {what}; change a setting or leave it out"]
    twin = next((other for other in found.values() if (other.of, other.config) == (variant.of, variant.config)), None)
    if twin is not None:
        texts.append(f"{variant.name} and {twin.name} are the same configuration; leave one out")
    return texts


def _unread(name: str, variant: Variant) -> str | None:
    """Return why a variant cannot change a setting, or None if it can."""
    if not _is_below(name, _READ):
        return f"{name}: no training reads this setting, nor what is measured after it"
    shared = next((why for place, why in _SHARED.items() if _is_below(name, (place,))), None)
    if shared is not None:
        return f"{name} is the same for all variants: {shared}"
    if variant.of is None or _is_below(name, _AFTER_TRAINING):
        return None
    if name == _HEAD and variant.config.train.posterior.scenes == 0:
        return None
    return f"{name} is read by the training, so the weights of {variant.of} do not serve; leave `of` out"


def _is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith((f"{place}.", f"{place}[")) for place in places)
