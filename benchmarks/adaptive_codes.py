"""Codes that follow from the first snapshots, at equal L: ``python benchmarks/adaptive_codes.py [--blocks 1]``.

The first L_1 codes are designed for the channel, or random; `risjax.adapt_codes` chooses the other 16 - L_1 of each
scene from the sources that the released network ``default`` finds in the first L_1 snapshots. They are compared with 16
codes designed for the channel, which do not know the scene (`code_design`), on the scenes of `codebook_scenes`.
``truth`` gives the design the true sources in place of those found. Writes adaptive_codes.json. About 7 minutes of
processor time a block.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
from collections.abc import Callable
from typing import Any

import codebook_scenes as scenes
import jax
import jax.numpy as jnp
import numpy as np
from code_design import common, designed
from codebook_scenes import PER_CHANNEL, Block, Codebook, Measured

from risjax.api.adaptive_codes import adapt_codes
from risjax.config import PhysicsConfig
from risjax.experiments.evaluate.methods import Batch
from risjax.types import Estimates, Observation

NUM_SNAPSHOTS = 16
AT_ONCE = 64
"""Scenes in one call."""


def adaptive(first: Codebook, method: Callable[[Batch], Any] | None) -> Codebook:
    """Codes of each scene: those of ``first``, and further ones for what ``method`` finds, or for the truth (None)."""

    def make(block: Block, physics: PhysicsConfig) -> Measured:
        channel, codes = first(block, physics)
        observation, _ = scenes.observe(block, channel, codes)
        flat: Observation = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), observation)
        parts = []
        for start in range(0, len(flat.snapshots), AT_ONCE):
            seen = jax.tree.map(lambda leaf, start=start: leaf[start : start + AT_ONCE], flat)
            found = _truth(block, start) if method is None else method(Batch(seen, None, None)).estimates
            count = NUM_SNAPSHOTS - codes.shape[1]
            parts.append(adapt_codes(*seen[:3], found, physics, num_snapshots=count))
        further = np.concatenate(parts).reshape(len(channel), PER_CHANNEL, -1, codes.shape[-1])
        repeated = jnp.broadcast_to(codes[:, None], (len(channel), PER_CHANNEL, *codes.shape[1:]))
        return channel, jnp.concatenate([repeated, jnp.asarray(further)], axis=2)

    return make


def _truth(block: Block, start: int) -> Estimates:
    """The true sources as certain estimates."""
    sources = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[start : start + AT_ONCE], block.sources)
    ones = jnp.ones(sources.active.shape)
    return Estimates(sources.position, sources.amplitude, sources.active, jnp.zeros_like(sources.position), ones, ones)


def main() -> None:
    """Measure what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--more", type=int, default=0, help="blocks of the truth and of 10 first codes")
    parser.add_argument("--seed", type=int, default=6)
    arguments = parser.parse_args()
    config, method = scenes.settings("learned_ml")
    codebooks: dict[str, Codebook] = {
        "dft": common(kind="dft"),
        "random": common(kind="random"),
        "each channel": designed(),
        "12 of the channel, 4 of the scene": adaptive(designed(num_snapshots=12), method),
        "12 random, 4 of the scene": adaptive(common(kind="random", num_snapshots=12), method),
    }
    more: dict[str, Codebook] = {
        "12 of the channel, 4 of the truth": adaptive(designed(num_snapshots=12), None),
        "10 of the channel, 6 of the scene": adaptive(designed(num_snapshots=10), method),
    }
    found: dict[str, list[scenes.Arrays]] = {}
    for chosen, count in ((codebooks, arguments.blocks), (more, arguments.more)):
        if count:
            found |= scenes.measure_blocks(chosen, count, arguments.seed, config, method, "adaptive")
    content = {"seed": arguments.seed, "table": scenes.against(found, "each channel")}
    for reference in ("dft", "random"):
        rows = scenes.against(found, reference)
        content[f"minus_{reference}"] = {name: row[f"minus_{reference}"] for name, row in rows.items()}
    scenes.write_results("adaptive_codes", "learned_ml", content)


if __name__ == "__main__":
    main()
