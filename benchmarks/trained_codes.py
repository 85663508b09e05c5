"""Codes and network trained together: ``python benchmarks/trained_codes.py [--steps 200] [--blocks 3]``.

The criterion is the loss of the network's training on fresh scenes, differentiated through R_pred, the network and its
input images by the phases of one shared set of codes, which are rounded to 3 bits in the forward pass (straight-through
gradient). Everything starts from the random codes of seed 0 and the released network ``default``. Trained are the codes
alone, codes and network together, and, as the control, the network alone for as many steps with the random codes. All
three and the start measure the scenes of `codebook_scenes` with the whole pipeline; the posterior heads are not trained
again. Writes trained_codes.json. About 10 minutes of processor time.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import codebook_scenes as scenes
import jax
import jax.numpy as jnp
import numpy as np
import optax
from codebook_scenes import Block, Codebook, Measured

from risjax.config import Config, PhysicsConfig
from risjax.experiments.evaluate.methods import make_method
from risjax.inference.release.load import load_params
from risjax.keys import Purpose, purpose_key
from risjax.loss import loss_settings, total_loss
from risjax.loss.term import Labels
from risjax.model import Params, build, make_inputs
from risjax.physics.chunked_vmap import over_scenes
from risjax.physics.codebook import codes as common_codes
from risjax.physics.scene import label_factor, sources_steering
from risjax.pipeline import HEADS
from risjax.types import Sources

CHANNELS = 4
"""Channels of one step, with 8 scenes each."""
BITS = 3
STEP_RAD, LEARNING_RATE = 0.1, 3e-4


class Trained(NamedTuple):
    """Phases [L, N] and parameters of the network."""

    phase_rad: jax.Array
    network: Params


def rounded(phase_rad: jax.Array) -> jax.Array:
    """Codes of the nearest phase steps; the gradient is that of the phases themselves."""
    step = 2 * math.pi / 2**BITS
    nearest = phase_rad + jax.lax.stop_gradient(step * jnp.round(phase_rad / step) - phase_rad)
    return jax.lax.complex(jnp.cos(nearest), jnp.sin(nearest))


def make_loss(config: Config) -> Callable[[Trained, jax.Array], jax.Array]:
    """Mean loss of the network on the scenes of a key."""
    physics, network = config.physics, build(config.physics.array, config.model, config.precision)

    def labels_of(sources: Sources) -> jax.Array:
        return label_factor(sources_steering(physics, sources), sources.amplitude)

    def loss(trained: Trained, key: jax.Array) -> jax.Array:
        block = scenes.draw_scenes(physics, key, CHANNELS)
        codes = jnp.broadcast_to(rounded(trained.phase_rad)[None], (CHANNELS, *trained.phase_rad.shape))
        observation, _ = scenes.observe(block, block.channel, codes)
        observation, sources = jax.tree.map(
            lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (observation, block.sources)
        )
        inputs = over_scenes(lambda seen: make_inputs(seen, config.model, physics), observation)
        labels = Labels(jax.vmap(labels_of)(sources), sources.active.sum(-1), inputs.sample_factor)
        prediction = network.apply(trained.network, inputs.features)
        return total_loss(prediction, labels, loss_settings(config.loss), config.covariance, config.precision).total

    return loss


def train(config: Config, start: Trained, steps: int, *, codes: bool, network: bool) -> tuple[Trained, list[float]]:
    """Adam on the codes, the network, or both; the losses of the steps."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(
            {
                "codes": optax.adam(optax.cosine_decay_schedule(STEP_RAD if codes else 0.0, steps)),
                "network": optax.adam(optax.cosine_decay_schedule(LEARNING_RATE if network else 0.0, steps)),
            },
            Trained("codes", "network"),
        ),
    )
    loss, key = make_loss(config), purpose_key(0, Purpose.TRAIN_SCENES)

    @jax.jit
    def advance(trained: Trained, state: Any, step: jax.Array) -> tuple[Trained, Any, jax.Array]:
        value, slope = jax.value_and_grad(loss)(trained, jax.random.fold_in(key, step))
        update, state = optimizer.update(slope, state, trained)
        return optax.apply_updates(trained, update), state, value

    trained, state, values = start, optimizer.init(start), []
    for step in range(steps):
        trained, state, value = advance(trained, state, jnp.asarray(step))
        values.append(float(value))
    if not np.isfinite(values).all():
        raise SystemExit("the loss became non-finite")
    return trained, values


def shared(phase_rad: jax.Array) -> Codebook:
    """The same rounded codes for all channels."""

    def make(block: Block, physics: PhysicsConfig) -> Measured:
        codes = rounded(phase_rad)
        return block.channel, jnp.broadcast_to(codes[None], (len(block.channel), *codes.shape))

    return make


def main() -> None:
    """Train, measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    config, _ = scenes.settings("greedy_ml")
    params = load_params(config, None)
    heads = {group: leaves for group, leaves in params.items() if group in HEADS}
    random = common_codes(
        config.physics.codebook.model_copy(update={"kind": "random", "seed": 0}), config.physics.array
    )
    network = {group: leaves for group, leaves in params.items() if group not in HEADS}
    start = Trained(jnp.asarray(np.angle(random), jnp.float32), network)
    variants = {
        "random codes, released network": (False, False),
        "random codes, trained network": (False, True),
        "trained codes, released network": (True, False),
        "codes and network trained together": (True, True),
    }
    found, losses = {}, {}
    for name, (codes, with_network) in variants.items():
        trained, losses[name] = start, []
        if codes or with_network:
            trained, losses[name] = train(config, start, arguments.steps, codes=codes, network=with_network)
        method = make_method(config, config.physics, "learned_ml", trained.network | heads)
        measure = partial(scenes.measure_blocks, blocks=arguments.blocks, seed=arguments.seed, config=config)
        found |= measure({name: shared(trained.phase_rad)}, method=method, mark=f"trained-{arguments.steps}")
        print(name, [round(float(np.mean(losses[name][at : at + 20])), 4) for at in range(0, len(losses[name]), 20)])
    references = {"released": "random codes, released network", "trained": "random codes, trained network"}
    content: dict[str, Any] = {"steps": arguments.steps, "seed": arguments.seed, "losses": losses}
    for key, reference in references.items():
        content[f"against_{key}"] = scenes.against(found, reference)
    scenes.write_results("trained_codes", "learned_ml", content)


if __name__ == "__main__":
    main()
