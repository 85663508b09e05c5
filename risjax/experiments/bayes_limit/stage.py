"""The stage ``limit``: the best metrics that any estimator can have, beside those of the evaluated methods.

``limit.npz`` contains the draws of every scene and replicate and is rewritten after every scene, so that an interrupted
run resumes with the next one; ``limit.json`` is made from it and from the evaluation's ``estimates.npz``.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from risjax.config import Config, PhysicsConfig
from risjax.config.limit import LimitConfig
from risjax.experiments.bayes_limit.decide import Ranked, decide_by_f1, decide_by_gospa, rank_by_matches
from risjax.experiments.bayes_limit.expectation import expectations, halves, pool
from risjax.experiments.bayes_limit.limit_tables import DECISIONS, make_tables
from risjax.experiments.bayes_limit.prior import require_sampled_laws
from risjax.experiments.bayes_limit.sequential_monte_carlo import Samples, sample_posterior
from risjax.experiments.bayes_limit.subspace import overlaps
from risjax.experiments.evaluate import EvaluationScenes, load_scenes, stored_estimates, stored_fits
from risjax.keys import Purpose, purpose_key
from risjax.metrics.bootstrap import scene_weights
from risjax.metrics.summary import summarise
from risjax.runs.npz_io import read_marked_arrays, write_marked_arrays
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.types import Estimates, Observation, Sources

Arrays = dict[str, np.ndarray]
FILE, SAMPLES_FILE = "limit.json", "limit.npz"


class LimitError(RuntimeError):
    """The limit cannot be sampled; the message gives the reason."""


def limit(config: Config, directory: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Sample the posteriors of the first evaluation source's scenes; compare the best decisions with the methods.

    Returns:
        The contents of ``limit.json``: `risjax.metrics.summary.summarise` of the evaluation's methods and the decisions
        on the same scenes, ``expected`` (`risjax.experiments.bayes_limit.expectation.expectations`) and
        ``convergence``.

    Raises:
        LimitError: scenes of a file, or of a law whose prior is not supported.
    """
    source = config.evaluate.sources[0]
    if source.path is not None:
        raise LimitError(
            f"evaluate.sources[0] = {source.name} comes from a file, whose law is not known; the limit needs fresh "
            "scenes: put a source without a path first"
        )
    count = min(config.limit.scenes, source.scenes)
    physics = source.physics or config.physics
    try:
        require_sampled_laws(physics)
    except ValueError as error:
        raise LimitError(str(error)) from error
    scenes = _first(load_scenes(config, source), count)
    samples = _sample(config, scenes, directory, terminal)
    failed = samples["reached"] < 1
    if failed.any():
        raise LimitError(f"{failed.sum()} of {failed.size} runs never reached the posterior; raise limit.moves")
    methods, fits = (
        {name: jax.tree.map(lambda leaf: leaf[:count], kept) for name, kept in read(config, source, directory).items()}
        for read in (stored_estimates, stored_fits)
    )
    decisions = 3 * len(DECISIONS)  # by all draws, and by each half
    passes = decisions + 1 + len(methods) + decisions  # over all scenes: made; spans; judged, methods and decisions
    with terminal.progress("judge", passes * count) as bar:
        result = _summarise(config, scenes, samples, methods, fits, bar.advance)
    result["tables"] = make_tables(result, source.name)
    directory.write_json(FILE, result)
    for title, rows in result["tables"].items():
        terminal.table(title, rows)
    return result


def _first(scenes: EvaluationScenes, count: int) -> EvaluationScenes:
    observation, sources, snr_db = jax.tree.map(
        lambda leaf: leaf[:count], (scenes.observation, scenes.sources, scenes.snr_db)
    )
    return scenes._replace(observation=observation, sources=sources, snr_db=snr_db)


def _sample(config: Config, scenes: EvaluationScenes, directory: RunDirectory, terminal: Terminal) -> Arrays:
    """The fields of `Samples` of all scenes and replicates, leading axes [S, R]."""
    count, replicates = len(scenes.sources.active), config.limit.replicates
    path, mark = directory.path / SAMPLES_FILE, _fingerprint(config, scenes)
    stored = _read(path, mark)
    sampler = _sampler(scenes.physics, config.limit.model_copy(update={"scenes": 1}))
    with terminal.progress("limit", count * replicates, completed=len(stored) * replicates) as bar:
        for index in range(len(stored), count):
            seen: Observation = jax.tree.map(lambda leaf, row=index: leaf[row], scenes.observation)
            drawn = []
            for replicate in range(replicates):
                key = jax.random.fold_in(purpose_key(config.run.seed, Purpose.LIMIT, index), replicate)
                drawn.append(jax.device_get(sampler(key, seen)))
                bar.advance()
            stored.append({name: np.stack([getattr(samples, name) for samples in drawn]) for name in Samples._fields})
            _write(path, mark, stored)
    return _stack(stored)


@functools.lru_cache(maxsize=2)
def _sampler(physics: PhysicsConfig, settings: LimitConfig) -> Callable[[jax.Array, Observation], Samples]:
    """Return the compiled sampler, shared by all scenes."""
    return jax.jit(lambda key, seen: sample_posterior(key, seen, physics, settings))


def _stack(scenes: list[Arrays]) -> Arrays:
    return {name: np.stack([scene[name] for scene in scenes]) for name in Samples._fields}


def _summarise(
    config: Config,
    scenes: EvaluationScenes,
    samples: Arrays,
    methods: dict[str, Estimates],
    fits: dict[str, Sources],
    advance: Callable[[], None],
) -> dict[str, Any]:
    """The table of methods and decisions; decisions are made from the draws of all replicates together."""
    position, active = samples["position"], samples["active"]
    decisions, expected = _decide(pool(position), pool(active), config, advance)
    halved = zip(halves(position), halves(active), strict=True)
    alone = [_decide(pool(drawn), pool(present), config, advance) for drawn, present in halved]
    summary = summarise(
        methods | decisions,
        scenes.sources,
        config.evaluate.tolerance,
        snr_db=scenes.snr_db,
        draws=config.evaluate.bootstrap_draws,
        seed=config.run.seed,
    )
    weights = scene_weights(len(active), config.evaluate.bootstrap_draws, config.run.seed)
    found = [decisions for decisions, _ in alone]
    spans = overlaps(fits, position, active, scenes.physics, scenes.observation.geometry, advance)
    tolerance = config.evaluate.tolerance
    return {
        **summary,
        "expected": expectations(methods, decisions, found, position, active, tolerance, weights, spans, advance),
        "convergence": _convergence(config, scenes, samples, expected, alone),
    }


def _decide(
    position: np.ndarray, active: np.ndarray, config: Config, advance: Callable[[], None]
) -> tuple[dict[str, Estimates], dict[str, float]]:
    """Return the estimates of each decision and the posterior expectation of its metric."""
    tolerance, slots = config.evaluate.tolerance, position.shape[2]
    found, expected = {}, {}
    for name, gate_range in (("bayes_3d", True), ("bayes_angle", False)):
        ranked: list[Ranked] = []
        for draws in zip(position, active, strict=True):
            ranked.append(rank_by_matches(*draws, tolerance, gate_range=gate_range))
            advance()
        counts, expected[name] = decide_by_f1(ranked)
        found[name] = _as_estimates([scene.position[:k] for scene, k in zip(ranked, counts, strict=True)], slots)
    decided = []
    for draws in zip(position, active, strict=True):
        decided.append(decide_by_gospa(*draws, tolerance))
        advance()
    found["bayes_gospa"] = _as_estimates([points for points, _ in decided], slots)
    expected["bayes_gospa"] = float(np.mean([value for _, value in decided]))
    return found, expected


def _as_estimates(positions: list[np.ndarray], slots: int) -> Estimates:
    """Return estimates with positions alone; a decision has no amplitudes, deviations or probabilities."""
    shape = (len(positions), slots)
    position, active = np.zeros((*shape, 3)), np.zeros(shape, bool)
    for row, points in enumerate(positions):
        position[row, : len(points)], active[row, : len(points)] = points, True
    nothing = np.full(shape, np.nan)
    fields: tuple[Any, ...] = (
        position,
        np.zeros(shape, complex),
        active,
        np.full((*shape, 3), np.inf),
        nothing,
        nothing,
    )
    return Estimates(*fields)


def _convergence(
    config: Config,
    scenes: EvaluationScenes,
    samples: Arrays,
    expected: dict[str, float],
    decided: list[tuple[dict[str, Estimates], dict[str, float]]],
) -> dict[str, Any]:
    """Return the agreement of independent runs, and that of the posterior's expectations with the achieved metrics.

    ``decided`` are the decisions of each half of the runs, with what these expect of them.
    """
    replicates, _, slots = samples["active"].shape[1:]
    counts = samples["active"].sum(-1)
    laws = np.stack([(counts == k).mean(-1) for k in range(slots + 1)], axis=-1)  # [S, R, K + 1]
    variation = 0.5 * np.abs(laws - laws.mean(1, keepdims=True)).sum(-1).max(1)
    alone: dict[str, list[float]] = {name: [] for name in DECISIONS}
    reached: dict[str, list[float]] = {name: [] for name in DECISIONS}
    for found, expectation in decided:
        summary = summarise(found, scenes.sources, config.evaluate.tolerance, draws=2, seed=config.run.seed)
        for name, metric in DECISIONS.items():
            alone[name].append(expectation[name])
            reached[name].append(summary["methods"][name]["overall"][metric]["value"])
    return {
        "expected": expected,
        "expected_by_half": alone,
        "reached_by_half": reached,
        "variation_of_count": {"median": float(np.median(variation)), "largest": float(variation.max())},
        "spread_of_log_evidence": float(np.median(np.ptp(samples["log_evidence"], axis=1))),
        "temperatures": float(samples["temperatures"].mean()),
        "acceptance": float(samples["acceptance"].mean()),
        "ancestors": float(np.median(samples["ancestors"])),
        "replicates": replicates,
        "particles": samples["position"].shape[2],
    }


def _fingerprint(config: Config, scenes: EvaluationScenes) -> str:
    """Return a fingerprint of the settings of the draws, without the number of scenes, so that scenes can be added."""
    digest = hashlib.sha256(config.limit.model_dump_json(exclude={"scenes"}).encode())
    digest.update(scenes.physics.model_dump_json().encode())
    digest.update(np.ascontiguousarray(scenes.observation.snapshots[0]).tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path, mark: str) -> list[Arrays]:
    """Return the scenes sampled before; none if the file is absent, damaged or of other settings."""
    arrays = read_marked_arrays(path, mark)
    return [{name: arrays[name][row] for name in Samples._fields} for row in range(len(arrays.get("active", ())))]


def _write(path: Path, mark: str, stored: list[Arrays]) -> None:
    write_marked_arrays(path, mark, _stack(stored))
