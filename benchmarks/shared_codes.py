"""One set of codes for all channels, by each criterion, against random sets: ``python benchmarks/shared_codes.py``.

Each design takes 150 gradient steps of 8 channels, as ``design.yaml``. All sets measure the same scenes
(`codebook_scenes`) with the released network ``default``. The table compares every set with the mean of the random
sets, seed 0 with the mean of the other seeds, and gives the standard deviation between random sets, with and without
that of the measurement. Writes shared_codes.json. About 10 minutes of processor time.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
from functools import partial
from typing import Any

import codebook_scenes as scenes
import jax
import jax.numpy as jnp
import numpy as np
from code_design import common
from codebook_scenes import Block, Codebook, Measured

from risjax.config import PhysicsConfig
from risjax.config.code_design import CRITERIA
from risjax.keys import Purpose, purpose_key
from risjax.metrics.bootstrap import Drawn, difference
from risjax.physics.code_design.optimise import first_state
from risjax.physics.code_design.shared import shared_codes, shared_step

STEPS, CHANNELS = 150, 8
RANDOM_SETS = 12
COMPARED = ("f1_3d", "f1_angle", "gospa_m")
_step = jax.jit(shared_step, static_argnums=(2, 3, 4))


def designed(criterion: str, seed: int) -> Codebook:
    """One set of codes, designed at the first call."""
    found: list[jax.Array] = []

    def make(block: Block, physics: PhysicsConfig) -> Measured:
        if not found:
            found.append(_design(physics, criterion, seed))
        return block.channel, jnp.broadcast_to(found[0][None], (len(block.channel), *found[0].shape))

    return make


def _design(physics: PhysicsConfig, criterion: str, seed: int) -> jax.Array:
    design = physics.codebook.design.model_copy(update={"criterion": criterion})
    physics = physics.model_copy(update={"codebook": physics.codebook.model_copy(update={"design": design})})
    start_key, step_key, last_key = jax.random.split(purpose_key(seed, Purpose.DESIGN), 3)
    state = first_state(start_key, physics)
    for step in range(STEPS):
        state, _ = _step(state, jax.random.fold_in(step_key, step), physics, STEPS, CHANNELS)
    return jax.jit(partial(shared_codes, physics=physics, channels=CHANNELS))(state, last_key).astype(jnp.complex64)


def mean_of(drawn: list[dict[str, Drawn]], metric: str) -> Drawn:
    """Mean of a metric over several codebooks."""
    values = [entry[metric] for entry in drawn]
    mean = np.mean([entry.draws for entry in values], axis=0)
    return Drawn(float(np.mean([entry.value for entry in values])), mean, values[0].count)


def spread(drawn: list[dict[str, Drawn]], metric: str) -> dict[str, float]:
    """Standard deviation between random sets: as measured, and without the variance of the measurement."""
    values = np.array([entry[metric].value for entry in drawn])
    centred = np.array([entry[metric].draws for entry in drawn])
    centred = centred - centred.mean(0)
    of_measurement = np.mean(np.var(centred, axis=1)) * len(drawn) / (len(drawn) - 1)
    measured = np.var(values, ddof=1)
    return {"measured": float(np.sqrt(measured)), "between_sets": float(np.sqrt(max(measured - of_measurement, 0.0)))}


def summary(found: dict[str, list[scenes.Arrays]]) -> dict[str, Any]:
    """Differences to the mean of the random sets, and the part that their seeds play."""
    drawn = {name: scenes.drawn_metrics(blocks) for name, blocks in found.items()}
    sets = [drawn[f"random {seed}"] for seed in range(RANDOM_SETS)]
    return {
        "minus_random": {
            name: {metric: difference(entry[metric], mean_of(sets, metric)) for metric in COMPARED}
            for name, entry in drawn.items()
        },
        "random_minus_dft": {metric: difference(mean_of(sets, metric), drawn["dft"][metric]) for metric in COMPARED},
        "seed_0_minus_others": {metric: difference(sets[0][metric], mean_of(sets[1:], metric)) for metric in COMPARED},
        "spread": {metric: spread(sets, metric) for metric in COMPARED},
    }


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    codebooks: dict[str, Codebook] = {"dft": common(kind="dft")}
    codebooks |= {f"random {seed}": common(kind="random", seed=seed) for seed in range(RANDOM_SETS)}
    codebooks |= {name.replace("_", " "): designed(name, 0) for name in CRITERIA}
    codebooks["position information, seed 1"] = designed("position_information", 1)
    config, method = scenes.settings("learned_ml")
    found = scenes.measure_blocks(codebooks, arguments.blocks, arguments.seed, config, method, "shared")
    content = {"seed": arguments.seed, "table": scenes.against(found, "dft"), **summary(found)}
    scenes.write_results("shared_codes", "learned_ml", content)


if __name__ == "__main__":
    main()
