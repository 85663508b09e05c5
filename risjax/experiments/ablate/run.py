"""The stage ``ablate``: trains the variants, measures all on the same scenes, compares each with the first.

Every training has a run directory of its own, ``ablation/<variant>/seed_<k>``, with its configuration, log and
checkpoints, so that an interrupted stage goes on within the training that was cut, and any of them serves as
``weights=``. ``ablation.json`` and ``ablation.csv`` are rewritten after every variant, from what the directories hold.
"""

from collections.abc import Sequence
from typing import Any

from risjax.config import Config
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.experiments.ablate.results import Measured, compare_variants, csv_text, read_training
from risjax.experiments.ablate.tables import make_tables
from risjax.experiments.ablate.variants import Variant, read_variants, source_of, training_path
from risjax.experiments.evaluate import Compiled, EvaluationScenes, load_scenes, read_estimates, run_methods
from risjax.metrics.bootstrap import scene_weights
from risjax.model import Params
from risjax.pipeline import HEADS
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train import NonFiniteTraining, load_best, train, train_posterior, train_refiner

FILE, CSV_FILE, FAILED_FILE = "ablation.json", "ablation.csv", "failed.json"


class AblateError(RuntimeError):
    """The variants cannot be compared as asked; the message says why."""


def ablate(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Trains and measures what has not been, and compares.

    A training that is not finite is a result too: it is named, and its variant is judged by its other seeds.

    Returns:
        What ``ablation.json`` holds (`risjax.experiments.ablate.results.compare_variants`, and ``tables``).

    Raises:
        ConfigError: the variants are not what `risjax.experiments.ablate.variants.read_variants` takes.
        AblateError: a variant's folder holds a training of other settings.
        CheckpointError: checkpoints are there, but none is sound.
    """
    variants = read_variants(config)
    source = config.evaluate.sources[source_of(config)]
    scenes = load_scenes(config, source)
    weights = scene_weights(len(scenes.sources.active), config.evaluate.bootstrap_draws, config.run.seed)
    kept = len(directory.read_json(FILE, {}).get("variants", ()))
    measured: dict[str, list[Measured | None]] = {}
    result: dict[str, Any] = {}
    for index, variant in enumerate(variants):
        terminal.say(f"variant {index + 1} of {len(variants)}: {variant.name}")
        measured[variant.name] = _variant(variant, variants, config, scenes, directory, terminal)
        done = variants[: index + 1]
        result = compare_variants(done, measured, scenes, weights, config.evaluate.tolerance)
        result |= {"source": source.name, "seeds": config.ablate.seeds}
        result["tables"] = make_tables(result)
        if done == variants or len(done) > kept:  # a table is never cut back to what this run has looked at again
            _write(directory, result)
    for title, rows in result["tables"].items():
        terminal.table(title, rows)
    return result


def _variant(
    variant: Variant,
    variants: Sequence[Variant],
    config: Config,
    scenes: EvaluationScenes,
    directory: RunDirectory,
    terminal: Terminal,
) -> list[Measured | None]:
    """A variant's trainings, measured; None for one that was not finite."""
    compiled: Compiled = {}
    found: list[Measured | None] = []
    trained = next(other for other in variants if other.name == (variant.of or variant.name))
    for seed in range(config.ablate.seeds):
        where = RunDirectory(training_path(directory, trained.name, seed))
        if variant is trained:
            _train(variant.seeded(seed), where, terminal)
        if (where.path / FAILED_FILE).exists():
            found.append(None)
            continue
        params = _weights(variant, trained.seeded(seed), where)
        own = RunDirectory(training_path(directory, variant.name, seed))
        total = len(scenes.sources.active) * len(config.ablate.methods)
        with terminal.progress(f"evaluate {variant.name}, seed {seed}", total) as bar:
            stored = read_estimates(own)
            done, _ = run_methods(variant.config, scenes, "scenes", params, stored, compiled, own, bar)
        training = read_training(where) if variant is trained else {}
        found.append(Measured(done, training))
    return found


def _train(config: Config, where: RunDirectory, terminal: Terminal) -> None:
    """Trains, goes on training, or finds that it is done."""
    if where.config_path.exists():
        _refuse_another(from_yaml(where.config_path.read_text(encoding="utf-8")), config, where)
    else:
        write_atomically(where.config_path, to_yaml(config))
    if where.is_done("train"):
        return
    terminal.say(f"training {where.path}")
    try:
        train(config, where, terminal)
        train_refiner(config, where, terminal)
        train_posterior(config, where, terminal)
    except NonFiniteTraining as error:
        where.write_json(FAILED_FILE, {"reason": str(error)})
        terminal.say(f"not finite: {error}", always=True)
    where.mark_done("train")


def _refuse_another(earlier: Config, config: Config, where: RunDirectory) -> None:
    free = ("run.directory", "run.compile_cache", "train.devices", "train.accumulation")
    changed = [name for name in differences(earlier, config) if name not in free]
    if changed:
        raise AblateError(
            f"{where.path} holds a training of other settings ({', '.join(changed)} differ); give the variant another "
            "name, or move that folder away"
        )


def _weights(variant: Variant, trained: Config, where: RunDirectory) -> Params:
    params = load_best(trained, where)
    if variant.config.train.posterior.scenes == 0:
        return {group: leaves for group, leaves in params.items() if group not in HEADS}
    return params


def _write(directory: RunDirectory, result: dict[str, Any]) -> None:
    """The files, and the mark of a report that shows an older table is taken away."""
    before = directory.read_json(FILE)
    directory.write_json(FILE, result)
    write_atomically(directory.path / CSV_FILE, csv_text(result))
    if directory.read_json(FILE) != before:
        directory.mark_undone("report")
