"""From the section ``ablate`` to complete configurations, all of them checked before any work."""

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
    "physics.array": "all variants are measured on the same scenes, which the run's own surface receives",
    "physics.scene.max_sources": "all variants are measured on the same scenes, which have the run's own slots",
    "train.devices": "it says where a variant trains, not how",
    "train.accumulation": "it says in how much memory a variant trains, not how",
    "train.tensorboard": "it shows a training, and changes none",
}
_AFTER_TRAINING = ("covariance", "estimator", "precision.compute", "precision.output")
"""What may differ where the weights are those of another variant."""
_HEAD = "train.posterior.scenes"
"""0 leaves the posterior head out, of given weights too."""


class Variant(NamedTuple):
    """One row of the table, ready to run.

    Attributes:
        name: of the row.
        of: the variant whose weights it takes; None where it is trained.
        settings: what differs from the run, or from ``of``.
        config: complete, under the run's own seed.
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
    own = apply_overrides(
        config, {"stages": ["train"], "ablate": {}, "evaluate.methods": settings.methods, "run.fresh": False}
    )
    found: dict[str, Variant] = {}
    for index, entry in enumerate(settings.variants):
        start = own if entry.of is None else found[entry.of].config if entry.of in found else None
        if start is None:  # what it is of has problems of its own
            continue
        where = f"ablate.variants[{index}]"
        try:
            complete = apply_overrides(start, entry.settings)
        except ConfigError as error:
            problems += [Problem(f"{where}.settings.{one.path}", "", one.text) for one in error.problems]
            continue
        variant = Variant(entry.name, entry.of, entry.settings, complete)
        mine = [Problem(where, "", text) for text in _refusals(variant, start, found)]
        problems += mine
        found |= {entry.name: variant} if not mine else {}
    if problems:
        raise ConfigError(problems)
    return tuple(found.values())


def training_path(directory: RunDirectory, variant: str, seed: int) -> Path:
    """Where a variant is trained under the ``seed``-th of its seeds."""
    return directory.path / "ablation" / variant / f"seed_{seed}"


def ahead(config: Config, directory: RunDirectory) -> int:
    """Training steps that the variants still have before them, in batches of the run's own size."""
    scenes = 0
    for variant in read_variants(config):
        own = variant.config.train
        for seed in range(config.ablate.seeds if variant.of is None else 0):
            path = training_path(directory, variant.name, seed)
            epochs = RunDirectory(path).read_log("epoch") if path.exists() else ()
            done = max((record["epoch"] for record in epochs), default=0)
            scenes += (own.epochs - done) * own.steps_per_epoch * own.batch_size
    return -(-scenes // config.train.batch_size)


def source_of(config: Config) -> int:
    """The index in ``evaluate.sources`` of the scenes that all variants are measured on."""
    names = [source.name for source in config.evaluate.sources]
    return 0 if config.ablate.source is None else names.index(config.ablate.source)


def _refusals(variant: Variant, start: Config, found: Mapping[str, Variant]) -> list[str]:
    changed = list(differences(start, variant.config))
    texts = [text for name in changed if (text := _unread(name, variant))]
    if not changed and (variant.settings or variant.of is not None):
        what = f"the weights of {variant.of} as they are" if variant.of else "the run's own configuration"
        return [f"{variant.name} changes nothing: it is {what}"]
    twin = next((other for other in found.values() if (other.of, other.config) == (variant.of, variant.config)), None)
    if twin is not None:
        texts.append(f"{variant.name} and {twin.name} are the same configuration; leave one out")
    return texts


def _unread(name: str, variant: Variant) -> str | None:
    """Why a setting has no place among a variant's, or None."""
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
