"""Fuzz test of the gradient with respect to the network parameters, for finite predictions of the network.

    nice -n 19 python benchmarks/fuzz_parameters.py [scenes]      # 20,000 by default; 100000 for the full run

Uses the families of fuzz_gradients.py through the network: real scenes of a 6 x 6 surface enter a small
transformer, whose last layer is then solved for, scene by scene, so that it emits the family's prediction (to the
compute dtype's rounding; equal columns stay equal, zeros stay zero). The gradient of the whole loss by all parameters
is taken of each scene alone, as a share of a batch of 64, in float32, bfloat16 and float16 (as a training does, and
"no limit", without `risjax.precision.limit_cotangents`). Writes
fuzz_parameters.json: scenes whose gradient is not finite, by family and run. Scenes whose *prediction* is not finite
(a float16 network cannot emit 1e30) are counted apart.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import json
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from fuzz_gradients import BATCH, CHUNK, FAMILIES, RANK, SIZE, SOURCES, draw_chunk

from risjax.config import Config, LossConfig, PrecisionConfig
from risjax.config.io import apply_overrides
from risjax.covariance import CovarianceSettings
from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import loss_settings, total_loss
from risjax.model import build, make_inputs
from risjax.model.patches import to_patches
from risjax.precision import HALF_LIMIT, limit_cotangents

SIDE, WIDTH, PATCH = 6, 16, 2
CONFIG = apply_overrides(
    Config(stages=("train",)),
    {
        "physics.array.num_horizontal": SIDE,
        "physics.array.num_vertical": SIDE,
        "physics.codebook.num_snapshots": 8,
        "physics.channel.num_antennas": 8,
        "physics.scene.max_sources": SOURCES,
        "model.width": WIDTH,
        "model.layers": 1,
        "model.heads": 2,
        "model.patch": PATCH,
        "model.rank": RANK,
    },
)
RUNS = {
    "float32": ("float32", 1.0, False),
    "bfloat16": ("bfloat16", 1.0, False),
    **{f"float16, scale 2^{power}": ("float16", 2.0**power, True) for power in (15, 14)},
    **{f"float16, scale 2^{power}, no limit": ("float16", 2.0**power, False) for power in (15, 14, 13)},
}


@jax.jit
def draw_features(index):
    scenes = scene_batch(CONFIG.physics, 0, Purpose.TRAIN_SCENES, index, CHUNK)
    return jax.vmap(lambda observation: make_inputs(observation, CONFIG.model, CONFIG.physics).features)(
        scenes.observation
    )


def with_kernel(params, kernel):
    head = {"rows": {"kernel": kernel, "bias": jnp.zeros(kernel.shape[-1], kernel.dtype)}}
    return {**params, "head": head}


def make_run(dtype, is_limited):
    precision = PrecisionConfig(compute=dtype)
    network = build(CONFIG.physics.array, CONFIG.model, precision)
    params = network.init(jax.random.key(0))
    terms = jax.tree.map(jnp.float32, loss_settings(LossConfig()))

    def emitted(prediction):
        """[..., T, 2 rank patch^2], what the last layer put out."""
        parts = jnp.concatenate([prediction.factor.real, prediction.factor.imag], axis=-1)
        return to_patches(parts, CONFIG.physics.array, PATCH)

    @jax.jit
    def tokens(features):
        shape = params["head"]["rows"]["kernel"].shape
        return emitted(network.apply(with_kernel(params, jnp.eye(*shape)), features))[..., :WIDTH]

    def loss(params, feature, label, loading, scale):
        prediction = network.apply(params, jax.tree.map(lambda leaf: leaf[None], feature))
        is_finite = jnp.isfinite(emitted(prediction)).all()
        if is_limited:  # as `risjax.train.loss_and_grad` does in float16
            prediction = limit_cotangents(prediction, HALF_LIMIT / BATCH * scale)
        label = jax.tree.map(lambda leaf: leaf[None], label)
        settings = CovarianceSettings(blend=jnp.float32(0.1), loading=loading)
        total = total_loss(prediction, label, terms, settings, precision).total
        return total * scale / BATCH, (is_finite, total)

    @jax.jit
    def is_finite(kernels, features, labels, loading, scale):
        def scene(kernel, feature, label):
            gradient, (finite, total) = jax.grad(loss, has_aux=True)(
                with_kernel(params, kernel), feature, label, loading, scale
            )
            good = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)]).all()
            return finite, good & jnp.isfinite(total)

        return jax.vmap(scene)(kernels, features, labels)

    return tokens, is_finite


def main(scenes):
    programs = {run: make_run(dtype, is_limited) for run, (dtype, _, is_limited) in RUNS.items()}
    drawn, unable, bad = Counter(), {run: Counter() for run in RUNS}, {run: Counter() for run in RUNS}
    started = time.perf_counter()
    for seed in range(-(-scenes // CHUNK)):
        names, parts, labels, loading = draw_chunk(seed)
        drawn.update(names)
        features = draw_features(seed)
        wanted = np.asarray(to_patches(np.concatenate(list(parts), axis=-1), CONFIG.physics.array, PATCH))
        for run, (dtype, scale, _) in RUNS.items():
            tokens, is_finite = programs[run]
            kernels = np.linalg.pinv(np.asarray(tokens(features), float)) @ wanted
            limit = 6.0e4 if dtype == "float16" else 1e38
            kernels = np.clip(kernels, -limit, limit).astype(np.float32)
            able, good = map(np.asarray, is_finite(kernels, features, labels, np.float32(loading), np.float32(scale)))
            unable[run].update(names[~able])
            bad[run].update(names[able & ~good])
        if seed % 10 == 9 or (seed + 1) * CHUNK >= scenes:
            write(drawn, unable, bad)
            print(f"{(seed + 1) * CHUNK} scenes, {time.perf_counter() - started:.0f} s", flush=True)
    print({run: sum(counter.values()) for run, counter in bad.items()})


def write(drawn, unable, bad):
    results = {
        "versions": {"jax": jax.__version__},
        "size": SIZE,
        "rank": RANK,
        "width": WIDTH,
        "scenes": sum(drawn.values()),
        "half limit": HALF_LIMIT,
        "scenes whose prediction is not finite": {run: sum(counter.values()) for run, counter in unable.items()},
        "scenes with a non-finite gradient": {run: sum(counter.values()) for run, counter in bad.items()},
        "families": {
            name: {"scenes": drawn[name], **{run: counter[name] for run, counter in bad.items()}} for name in FAMILIES
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
