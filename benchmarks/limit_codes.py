"""The Bayes limit under DFT, random and designed codes, on the same scenes: ``python benchmarks/limit_codes.py``.

The posterior of each scene is sampled as by ``limit.yaml``, and the decision with the best expectation of each metric
is taken. The table contains these expectations. They have the mean of the metrics that the decisions achieve, without
the spread of the single true draw of a scene, and the finite number of particles biases them upwards, under all codes.
Each scene has its own channel. Writes limit_codes.json; finished scenes are kept in ``runs/codebooks/limit``, so that
a longer run adds to them. About 10 seconds of processor time a scene.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
from typing import Any

import codebook_scenes as scenes
import jax
import numpy as np
from code_design import MAIN
from codebook_scenes import Arrays, Block

from risjax.config import ToleranceConfig
from risjax.config.limit import LimitConfig
from risjax.experiments.bayes_limit.decide import Ranked, decide_by_f1, decide_by_gospa, rank_by_matches
from risjax.experiments.bayes_limit.sequential_monte_carlo import sample_posterior
from risjax.metrics.bootstrap import Drawn, Ratio, difference, draw_ratios, scene_weights
from risjax.runs.npz_io import read_marked_arrays, write_marked_arrays

CODEBOOKS = {name: MAIN[name] for name in ("dft", "random", "mutual information", "elements")}
SETTINGS = LimitConfig(particles=256, moves=24, last_moves=48)
MARK = SETTINGS.model_dump_json()


def scene_of(block: Block, index: int) -> Block:
    """The first scene on one channel of a block, with leading axes [1, 1]."""
    scene: Block = jax.tree.map(lambda leaf: leaf[index : index + 1, :1], block._replace(channel=None))
    return scene._replace(channel=block.channel[index : index + 1])


def rank(draws: Arrays, tolerance: ToleranceConfig, *, gate_range: bool) -> Ranked:
    """Sources of one scene in the order of their gain."""
    return rank_by_matches(draws["position"], draws["active"], tolerance, gate_range=gate_range)


def limit_of(found: list[Arrays], tolerance: ToleranceConfig, weights: np.ndarray) -> dict[str, Drawn]:
    """Expected metrics of the best decisions from the draws of every scene."""
    ratios: dict[str, Ratio] = {}
    for name, gate_range in (("f1_3d", True), ("f1_angle", False)):
        ranked = [rank(draws, tolerance, gate_range=gate_range) for draws in found]
        counts, _ = decide_by_f1(ranked)
        each = list(zip(ranked, counts, strict=True))
        matched = np.array([scene.probability[:count].sum() for scene, count in each])
        ratios[name] = Ratio(2 * matched, np.array([scene.expected_count + count for scene, count in each]))
    gospa = np.array([decide_by_gospa(draws["position"], draws["active"], tolerance)[1] for draws in found])
    ratios["gospa_m"] = Ratio(gospa, np.ones(len(gospa)))
    return draw_ratios(ratios, weights)


def main() -> None:
    """Sample what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=32, help=f"at most {scenes.BLOCK}")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    config, _ = scenes.settings("greedy_ml")
    physics = config.physics
    sampler = jax.jit(lambda key, seen: sample_posterior(key, seen, physics, SETTINGS))
    block = scenes.draw_block(physics, arguments.seed, 0)
    found: dict[str, list[Arrays]] = {name: [] for name in CODEBOOKS}
    for index in range(arguments.scenes):
        scene = scene_of(block, index)
        for name, make in CODEBOOKS.items():
            file = scenes.STORE / "limit" / f"{name.replace(' ', '_')}-{arguments.seed}-{index}.npz"
            arrays = read_marked_arrays(file, MARK)
            if not arrays:
                observation, _ = scenes.observe(scene, *make(scene, physics))
                seen = jax.tree.map(lambda leaf: leaf[0, 0], observation)
                samples = jax.device_get(sampler(jax.random.fold_in(jax.random.key(arguments.seed), index), seen))
                arrays = {name: np.asarray(getattr(samples, name)) for name in ("position", "active", "reached")}
                file.parent.mkdir(parents=True, exist_ok=True)
                write_marked_arrays(file, MARK, arrays)
            found[name].append(arrays)
        print(f"scene {index + 1} of {arguments.scenes}", flush=True)
    weights = scene_weights(arguments.scenes, scenes.DRAWS, 0)
    drawn = {name: limit_of(draws, config.evaluate.tolerance, weights) for name, draws in found.items()}
    content: dict[str, Any] = {
        "scenes": arguments.scenes,
        "unreached": {name: int(sum(draws["reached"] < 1 for draws in parts)) for name, parts in found.items()},
        "values": {name: {metric: entry.interval() for metric, entry in row.items()} for name, row in drawn.items()},
        "minus_dft": {
            name: {metric: difference(entry, drawn["dft"][metric]) for metric, entry in row.items()}
            for name, row in drawn.items()
        },
    }
    scenes.write_results("limit_codes", "limit", content)


if __name__ == "__main__":
    main()
