"""Scenes on which the benchmarks of phase codes compare codebooks, at equal transmitted power and noise.

Sources, channels and noise do not depend on the codes. Scenes come in blocks of `BLOCK` channels with `PER_CHANNEL`
scenes each; the scores of a block are kept in ``runs/codebooks`` once they are measured, so that an interrupted
benchmark resumes. Intervals are 95 %, paired and resampled by channel.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from risjax.config import Config, PhysicsConfig
from risjax.config.io import apply_overrides, load_config
from risjax.experiments.evaluate.methods import Batch, make_method
from risjax.inference.release.load import load_params
from risjax.keys import Purpose, purpose_key
from risjax.metrics.bootstrap import Drawn, Ratio, difference, draw_ratios, quantiles, scene_weights
from risjax.metrics.calibration import draw_calibration_error
from risjax.metrics.scoring import score
from risjax.physics.code_design.shared import draw_channels
from risjax.physics.distributions import complex_normal, draw_snr_db
from risjax.physics.measurement import measure
from risjax.physics.scene import draw_numbers, make_sources, sources_steering, transmitted_power
from risjax.runs.npz_io import read_marked_arrays, write_marked_arrays
from risjax.types import Observation, Sources

HERE = Path(__file__).resolve().parent
STORE = HERE.parent / "runs" / "codebooks"
BLOCK, PER_CHANNEL = 64, 8
METRICS = ("f1_3d", "f1_angle", "gospa_m", "k_accuracy", "received", "brier", "surplus")
"""Of `risjax.metrics.scoring`; received over transmitted power; and of the probabilities of existence the mean squared
error, and their mean minus the share of candidates that are sources."""
DRAWS = 2000
Arrays = dict[str, np.ndarray]


class Block(NamedTuple):
    """Channels [C, M, N], and sources, fields, noise variances and noise of their scenes, leading axes [C, S]."""

    channel: jax.Array
    sources: Sources
    field: jax.Array
    variance: jax.Array
    noise: jax.Array
    power: jax.Array


Measured = tuple[jax.Array, jax.Array]
"""Channels [C, M, N] and codes [C, L, N], or [C, S, L, N] for codes of each scene."""
Codebook = Callable[[Block, PhysicsConfig], Measured]


def settings(method: str) -> tuple[Config, Callable[[Batch], Any]]:
    """Configuration with the released network, and the method."""
    given = ["weights=default", "stages=[evaluate]", "evaluate.batch_size=64"]
    config = apply_overrides(load_config("base.yaml", given), {"physics.scene.snr_reference": "transmitted"})
    params = load_params(config, None) if method.startswith("learned") else None
    return config, make_method(config, config.physics, method, params)


def draw_block(physics: PhysicsConfig, seed: int, index: int, channels: int = BLOCK) -> Block:
    """Scenes of one block."""
    return _draw(physics, purpose_key(seed, Purpose.DESIGN_SCENES, index), channels)


def draw_scenes(physics: PhysicsConfig, key: jax.Array, channels: int) -> Block:
    """Channels and scenes of a key."""
    channel = draw_channels(key, physics, channels)

    def scene(key: jax.Array, channel: jax.Array) -> Block:
        uniform, normal, noise_key = jax.random.split(key, 3)
        draws = draw_numbers(uniform, normal, physics)
        sources = make_sources(draws, physics)
        field = jnp.matmul(sources_steering(physics, sources), sources.amplitude, precision="highest")
        power = transmitted_power(channel, field)
        variance = power * 10 ** (-draw_snr_db(draws.snr, physics.scene) / 10)
        shape = (physics.codebook.num_snapshots, channel.shape[0])
        return Block(channel, sources, field, variance, complex_normal(noise_key, shape, jnp.float32), power)

    keys = jax.random.split(jax.random.fold_in(key, 1), (channels, PER_CHANNEL))
    return jax.vmap(jax.vmap(scene, in_axes=(0, None)))(keys, channel)._replace(channel=channel)


_draw = jax.jit(draw_scenes, static_argnums=(0, 2))


@jax.jit
def observe(block: Block, channel: jax.Array, codes: jax.Array) -> tuple[Observation, jax.Array]:
    """Observations of all scenes, [C, S], and their received over their transmitted power."""
    if codes.ndim == 3:
        codes = jnp.broadcast_to(codes[:, None], (len(codes), block.field.shape[1], *codes.shape[1:]))

    def scene(channel: jax.Array, codes: jax.Array, field: jax.Array, variance: jax.Array, noise: jax.Array):
        clean = measure(channel, codes, field)
        return clean + jnp.sqrt(variance) * noise[: codes.shape[0]], jnp.mean(jnp.abs(clean) ** 2)

    of_channel = jax.vmap(scene, in_axes=(None, 0, 0, 0, 0))
    snapshots, received = jax.vmap(of_channel)(channel, codes, block.field, block.variance, block.noise)
    channels = jnp.broadcast_to(channel[:, None], (*codes.shape[:2], *channel.shape[1:]))
    return Observation(snapshots, channels, codes), received / block.power


def score_block(block: Block, measured: Measured, config: Config, method: Callable[[Batch], Any]) -> Arrays:
    """Numerators and denominators of each metric, and the probabilities of existence, by scene."""
    observation, received = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), observe(block, *measured))
    size, parts = config.evaluate.batch_size, []
    for start in range(0, len(received), size):
        batch = jax.tree.map(lambda leaf, first=start: leaf[first : first + size], observation)
        parts.append(jax.device_get(method(Batch(batch, None, None)).estimates))
    estimates = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    sources = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), block.sources)
    scores = score(estimates, sources, config.evaluate.tolerance)
    pairs = {name: scores.ratios[name][:2] for name in METRICS[:4]} | {"received": (received, np.ones(len(received)))}
    if scores.existence is not None:
        probability, happened, counted = scores.existence
        error = np.where(counted, probability - happened, 0.0)
        pairs |= {"brier": ((error**2).sum(1), counted.sum(1)), "surplus": (error.sum(1), counted.sum(1))}
    arrays = {f"{name}/{part}": np.asarray(pair[part], float) for name, pair in pairs.items() for part in (0, 1)}
    for name, values in zip(("probability", "happened", "counted"), scores.existence or (), strict=False):
        arrays[name] = np.asarray(values)
    return arrays


def measure_blocks(
    codebooks: dict[str, Codebook], blocks: int, seed: int, config: Config, method: Callable[[Batch], Any], mark: str
) -> dict[str, list[Arrays]]:
    """Scores of every codebook on the first blocks; those that are stored are not measured again."""
    found: dict[str, list[Arrays]] = {name: [] for name in codebooks}
    for index in range(blocks):
        block = draw_block(config.physics, seed, index)
        for name, make in codebooks.items():
            file = STORE / mark / f"{name.replace(' ', '_')}-{seed}-{index}.npz"
            arrays = read_marked_arrays(file, mark)
            if not arrays:
                started = time.process_time()
                measured = jax.block_until_ready(make(block, config.physics))
                seconds = (time.process_time() - started) / len(block.channel)
                arrays = score_block(block, measured, config, method) | {"seconds": np.asarray(seconds)}
                file.parent.mkdir(parents=True, exist_ok=True)
                write_marked_arrays(file, mark, arrays)
            found[name].append(arrays)
        print(f"block {index + 1} of {blocks}: {', '.join(codebooks)}", flush=True)
    return found


def drawn_metrics(blocks: list[Arrays]) -> dict[str, Drawn]:
    """Metrics of a codebook, and their draws by channel; equal numbers of blocks have equal weights."""
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name != "seconds"}
    weights = np.repeat(scene_weights(len(arrays["gospa_m/0"]) // PER_CHANNEL, DRAWS, 0), PER_CHANNEL, axis=1)
    ratios = {name: Ratio(arrays[f"{name}/0"], arrays[f"{name}/1"]) for name in METRICS if f"{name}/0" in arrays}
    drawn = draw_ratios(ratios, weights)
    if "counted" in arrays:
        existence = (arrays[name] for name in ("probability", "happened", "counted"))
        drawn["ece"] = draw_calibration_error(*existence, weights)
    return drawn


def against(found: dict[str, list[Arrays]], reference: str) -> dict[str, Any]:
    """Values of each codebook, and differences to ``reference`` on the blocks that both have."""
    table = {}
    for name, blocks in found.items():
        drawn, other = drawn_metrics(blocks), drawn_metrics(found[reference][: len(blocks)])
        table[name] = {
            "channels": BLOCK * len(blocks),
            "seconds": round(float(np.median([block["seconds"] for block in blocks])), 3),
            "values": {metric: values.interval() for metric, values in drawn.items()},
            f"minus_{reference}": {metric: difference(drawn[metric], other[metric]) for metric in drawn},
        }
    return table


def share(first: Drawn, low: Drawn, high: Drawn) -> dict[str, float | None]:
    """(first - low) / (high - low), with its interval."""
    least, most = quantiles((first.draws - low.draws) / (high.draws - low.draws))
    return {"value": (first.value - low.value) / (high.value - low.value), "low": least, "high": most}


def write_results(name: str, key: str, content: dict[str, Any]) -> None:
    """Put an entry into ``benchmarks/<name>.json``."""
    file = HERE / f"{name}.json"
    entries = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(entries | {key: content}) + "\n")
