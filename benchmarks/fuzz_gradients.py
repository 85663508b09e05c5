"""Fuzz test of the training loss: the gradient must be finite for every finite prediction.

    nice -n 19 python benchmarks/fuzz_gradients.py [scenes]      # 100,000 by default, minutes to an hour

Each scene draws a label, a sample covariance's factor, a loading and a prediction from one of the families below; the
gradient of the whole loss of `risjax.loss` (every term that the default configuration weighs) with respect to the
prediction is taken in float32, in bfloat16 (the cotangent that enters a bfloat16 network) and in float16 under several
loss scales, as a share of a batch of 64: as a training does, and "no limit", without
`risjax.precision.limit_cotangents`. Writes fuzz_gradients.json: the number of scenes with a
non-finite gradient, by family and dtype.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import json
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from risjax.config import LossConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings
from risjax.loss import Labels, loss_settings, total_loss
from risjax.precision import HALF_LIMIT, limit_cotangents
from risjax.types import PackedComplex, Prediction

SIZE, RANK, SOURCES, CHUNK, BATCH = 36, 8, 5, 500, 64
LOADINGS = [1e-4, 1e-3, 1e-2, 1.0]
HALF_LARGEST = 65504.0


def normal(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


def draw_label(rng):
    count = rng.integers(1, SOURCES + 1)
    factor = np.zeros((SIZE, SOURCES), complex)
    strength = 10.0 ** rng.uniform(-1.5, 0, count)
    phase = 2j * np.pi * rng.uniform(-0.5, 0.5, (2, count))
    across, down = np.arange(SIZE) % 6, np.arange(SIZE) // 6
    factor[:, :count] = strength * np.exp(across[:, None] * phase[0] + down[:, None] * phase[1])
    return factor * np.sqrt(SIZE / np.sum(np.abs(factor) ** 2)), count


def two_equal_columns(rng, label):
    factor = normal(rng, SIZE, RANK)
    factor[:, 1] = factor[:, 0]
    return factor


def rank_below_the_cut(rng, label):
    factor = normal(rng, SIZE, RANK)
    factor[:, rng.integers(0, 4) :] = 0
    return factor


def near_far(rng, label):
    return normal(rng, SIZE, RANK) * 10.0 ** rng.uniform(-4, 0, RANK)


def one_entry(rng, label):
    factor = np.zeros((SIZE, RANK), complex)
    factor[rng.integers(SIZE), rng.integers(RANK)] = 10.0 ** rng.uniform(-37, 38)
    return factor


def bit_patterns(rng, label):
    """Arbitrary finite bfloat16 values."""
    bits = rng.integers(0, 2**16, (2, SIZE, RANK)).astype(np.uint16)
    exponents = (bits >> 7) & 0xFF
    parts = np.where(exponents < 0xFF, bits, 0).astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.float64)
    return parts[0] + 1j * parts[1]


def the_label(rng, label):
    return np.pad(label, ((0, 0), (0, RANK - SOURCES)))


FAMILIES = {
    "healthy": lambda rng, label: normal(rng, SIZE, RANK),
    "network at its start": lambda rng, label: 0.02 * normal(rng, SIZE, RANK),
    "label plus noise": lambda rng, label: the_label(rng, label) + 0.1 * normal(rng, SIZE, RANK),
    "the label itself": the_label,
    "two equal columns": two_equal_columns,
    "all columns equal": lambda rng, label: np.repeat(normal(rng, SIZE, 1), RANK, 1),
    "orthonormal columns": lambda rng, label: np.linalg.qr(normal(rng, SIZE, RANK))[0],
    "rank below the cut": rank_below_the_cut,
    "all zero": lambda rng, label: np.zeros((SIZE, RANK), complex),
    "constant": lambda rng, label: np.full((SIZE, RANK), 10.0 ** rng.uniform(-3, 3) + 0j),
    "near-far, up to 80 dB": near_far,
    "tiny": lambda rng, label: normal(rng, SIZE, RANK) * 10.0 ** rng.uniform(-38, -4),
    "huge": lambda rng, label: normal(rng, SIZE, RANK) * 10.0 ** rng.uniform(4, 37.5),
    "one entry": one_entry,
    "bfloat16 bit patterns": bit_patterns,
}


def draw_chunk(seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(list(FAMILIES), CHUNK)
    labels, counts = zip(*(draw_label(rng) for _ in range(CHUNK)), strict=True)
    predictions = np.stack([FAMILIES[name](rng, label) for name, label in zip(names, labels, strict=True)])
    parts = np.stack([predictions.real, predictions.imag])
    largest = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    labels = Labels(
        factor=np.stack(labels).astype(np.complex64),
        num_sources=np.asarray(counts, np.int32),
        sample_factor=normal(rng, CHUNK, SIZE, 1).astype(np.complex64),
    )
    return names, np.clip(parts, -largest, largest), labels, LOADINGS[seed % len(LOADINGS)]


@partial(jax.jit, static_argnames="is_limited")
def is_finite(parts, labels, loading, scale, is_limited):
    terms = jax.tree.map(jnp.float32, loss_settings(LossConfig()))
    settings = CovarianceSettings(blend=jnp.float32(0.1), loading=loading)

    def loss(parts):
        parts = parts.astype(jnp.float32)
        prediction = Prediction(factor=PackedComplex(parts[0], parts[1]))
        if is_limited:  # as `risjax.train.loss_and_grad` does in float16
            prediction = limit_cotangents(prediction, HALF_LIMIT / BATCH * scale)
        total = total_loss(prediction, labels, terms, settings, PrecisionConfig()).total
        return total * scale * (CHUNK / BATCH)

    value, gradient = jax.value_and_grad(loss)(parts)
    return jnp.isfinite(value), jnp.isfinite(gradient).all(axis=(0, 2, 3))


def main(scenes):
    runs = {
        "float32": (np.float32, 1.0, False),
        "bfloat16": (ml_dtypes.bfloat16, 1.0, False),
        **{f"float16, scale 2^{power}": (np.float16, 2.0**power, True) for power in (15, 14)},
        **{f"float16, scale 2^{power}, no limit": (np.float16, 2.0**power, False) for power in (15, 14, 13)},
    }
    drawn, bad, bad_losses = Counter(), {name: Counter() for name in runs}, 0
    started = time.perf_counter()
    for seed in range(-(-scenes // CHUNK)):
        names, parts, labels, loading = draw_chunk(seed)
        drawn.update(names)
        for run, (dtype, scale, is_limited) in runs.items():
            limit = HALF_LARGEST if dtype is np.float16 else np.inf
            rounded = np.clip(parts, -limit, limit).astype(dtype)
            value, finite = is_finite(rounded, labels, np.float32(loading), np.float32(scale), is_limited)
            bad_losses += not bool(value)
            bad[run].update(names[~np.asarray(finite)])
        if seed % 20 == 19:
            print(f"{(seed + 1) * CHUNK} scenes, {time.perf_counter() - started:.0f} s", flush=True)
    results = {
        "versions": {"jax": jax.__version__},
        "size": SIZE,
        "rank": RANK,
        "scenes": sum(drawn.values()),
        "loadings": LOADINGS,
        "chunks with a non-finite loss": bad_losses,
        "scenes with a non-finite gradient": {run: sum(counter.values()) for run, counter in bad.items()},
        "families": {
            name: {"scenes": drawn[name], **{run: counter[name] for run, counter in bad.items()}} for name in FAMILIES
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["scenes with a non-finite gradient"]))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
