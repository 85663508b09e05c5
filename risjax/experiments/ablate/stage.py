"""The stage ``ablate``: trains the variants, measures all on the same scenes, compares each with the first.

Each training has a separate run directory, ``ablation/<variant>/seed_<k>``, with configuration, log and checkpoints: an
interrupted stage resumes within the interrupted training, and each directory can serve as ``weights=``.
``ablation.json`` and ``ablation.csv`` are rewritten after every variant, from the contents of the directories.
"""

from collections.abc import Sequence
from typing import Any

from risjax.config import Config
from risjax.config.io import differences, from_yaml, to_yaml
from risjax.experiments.ablate.ablation_tables import make_tables
from risjax.experiments.ablate.results import Measured, compare_variants, csv_text, read_training
from risjax.experiments.ablate.variants import Variant, read_variants, source_of, training_path
from risjax.experiments.evaluate import Compiled, EvaluationScenes, load_scenes, read_estimates, run_methods
from risjax.metrics.bootstrap import scene_weights
from risjax.model import Params
from risjax.pipeline import HEADS
from risjax.runs.run_directory import RunDirectory, write_atomically
from risjax.runs.terminal import Terminal
from risjax.train import NonFiniteTraining, load_best, train, train_posterior

FILE, CSV_FILE, FAILED_FILE = "ablation.json", "ablation.csv", "failed.json"


class AblateError(RuntimeError):
    """The variants cannot be compared; the message gives the reason."""


def ablate(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Train and measure the remaining variants and compare all.

    A training with non-finite values is recorded, and its variant is evaluated on its other seeds.

    Returns:
        The contents of ``ablation.json`` (`risjax.experiments.ablate.results.compare_variants`, and ``tables``).

    Raises:
        ConfigError: `risjax.experiments.ablate.variants.read_variants` refuses the variants.
        AblateError: a variant's folder contains a training with other settings.
        CheckpointError: all checkpoints are damaged.
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
        if done == variants or len(done) > kept:  # an earlier, longer table is kept until as many are measured
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
    """Measure the trainings of a variant; None for one that was not finite."""
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
        stored_in = RunDirectory(training_path(directory, variant.name, seed))
        total = len(scenes.sources.active) * len(config.ablate.methods)
        with terminal.progress(f"evaluate {variant.name}, seed {seed}", total) as bar:
            stored = read_estimates(stored_in)
            done, _ = run_methods(variant.config, scenes, "scenes", params, stored, compiled, stored_in, bar)
        training = read_training(where) if variant is trained else {}
        found.append(Measured(done, training))
    return found


def _train(config: Config, where: RunDirectory, terminal: Terminal) -> None:
    """Train, or resume an interrupted training; do nothing if it is complete."""
    if where.config_path.exists():
        _refuse_another(from_yaml(where.config_path.read_text(encoding="utf-8")), config, where)
    else:
        write_atomically(where.config_path, to_yaml(config))
    if where.is_done("train"):
        return
    terminal.say(f"training {where.path}")
    try:
        train(config, where, terminal)
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
            f"{where.path} contains a training with other settings ({', '.join(changed)} differ); give the variant "
            "another name, or move that folder"
        )


def _weights(variant: Variant, trained: Config, where: RunDirectory) -> Params:
    params = load_best(trained, where)
    if variant.config.train.posterior.scenes == 0:
        return {group: leaves for group, leaves in params.items() if group not in HEADS}
    return params


def _write(directory: RunDirectory, result: dict[str, Any]) -> None:
    """Write the files; if they changed, mark the report as outdated."""
    before = directory.read_json(FILE)
    directory.write_json(FILE, result)
    write_atomically(directory.path / CSV_FILE, csv_text(result))
    if directory.read_json(FILE) != before:
        directory.mark_undone("report")
