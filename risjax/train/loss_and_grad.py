"""Loss and gradient of a batch, in several parts and on several devices if the program has them.

The parts of a batch, and the devices' shares of it, have equal sizes, so that the mean of their means is the mean of
the batch. Each part's mean is divided by the number of parts before it is differentiated, so that every scene has the
weight that it has in the whole batch, also with respect to float16's limits. The sum over parts therefore differs from
one pass over the batch only by the order of additions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from risjax.data.stream import scene_batch
from risjax.keys import Purpose
from risjax.loss import make_labels, total_loss
from risjax.model import Network, Params, make_inputs
from risjax.physics.chunked_vmap import over_scenes
from risjax.precision import HALF_LIMIT, LossScale, all_finite, limit_cotangents, upcast
from risjax.train.mesh import AXIS
from risjax.train.settings import ProgramKey, Settings
from risjax.types import Scene


class LossAndGrad(NamedTuple):
    """Loss and gradient of a batch.

    Attributes:
        gradient: of the scaled loss by the parameters.
        loss: the weighted sum.
        terms: mean of each term over the batch.
        nonfinite: 0 for each of ``labels``, ``prediction`` and ``loss`` that is finite in every scene, else NaN; empty
            without ``checks.finite``.
    """

    gradient: Params
    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    nonfinite: dict[str, Float[Array, ""]]


Scenes = Scene | Int[Array, ""]
"""A batch, or the step of the stream whose batch is drawn part by part."""

LossAndGradFunction = Callable[[Params, LossScale, Scenes, Settings], LossAndGrad]


def train_scenes(
    key: ProgramKey, settings: Settings, step: Int[Array, ""], *, first: int | Int[Array, ""], count: int
) -> Scene:
    """Draw ``count`` scenes of a step's batch, starting at position ``first``."""
    index = step % (key.dataset_scenes // key.batch_size) if key.dataset_scenes else step
    return scene_batch(key.physics, settings.seed, Purpose.TRAIN_SCENES, index, count, first=first)


def make_loss_and_grad(
    key: ProgramKey, network: Network, mesh: Mesh | None, *, draws: bool = False
) -> LossAndGradFunction:
    """Make the function that returns loss and gradient of a batch, summed over the devices of a mesh.

    Args:
        key: the program; its ``accumulation`` parts are processed one after the other.
        network: its network.
        mesh: the devices that share the batch; None for one.
        draws: the function takes a step's index instead of its scenes and draws each part's scenes just before use.
    """
    shares = key.accumulation * (1 if mesh is None else mesh.size)
    size = key.batch_size // shares

    def scaled_loss(params: Params, scale: LossScale, batch: Scene, settings: Settings) -> tuple[Any, Any]:
        inputs = over_scenes(lambda observation: make_inputs(observation, key.model, key.physics), batch.observation)
        prediction = network.apply(params, inputs.features)
        if key.precision.compute == "float16":
            prediction = limit_cotangents(prediction, HALF_LIMIT / key.batch_size * scale.value)
        labels = make_labels(batch, inputs.sample_factor)
        loss = total_loss(prediction, labels, settings.loss, settings.covariance, key.precision)
        checked = {"labels": upcast(labels), "prediction": upcast(prediction), "loss": (loss.total, loss.terms)}
        nonfinite = {name: _nan_unless_finite(tree) for name, tree in checked.items()} if key.checks.finite else {}
        means = {name: jnp.mean(values) for name, values in loss.terms.items()}
        value, terms = (loss.total, means) if shares == 1 else jax.tree.map(lambda x: x / shares, (loss.total, means))
        return scale.scale(value), (value, terms, nonfinite)

    def of_scenes(params: Params, scale: LossScale, batch: Scene, settings: Settings) -> LossAndGrad:
        gradient, (loss, terms, nonfinite) = jax.grad(scaled_loss, has_aux=True)(params, scale, batch, settings)
        return LossAndGrad(gradient, loss, terms, nonfinite)

    def part_of(scenes: Any, part: Int[Array, ""], settings: Settings) -> Scene:
        if not draws:
            return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, part * size, size), scenes)
        device = 0 if mesh is None else jax.lax.axis_index(AXIS)
        first = (device * key.accumulation + part) * size
        return train_scenes(key, settings, scenes, first=first, count=size)

    def in_parts(params: Params, scale: LossScale, scenes: Scenes, settings: Settings) -> LossAndGrad:
        def of_part(part: Int[Array, ""]) -> LossAndGrad:
            return of_scenes(params, scale, part_of(scenes, part, settings), settings)

        def add(total: LossAndGrad, part: Int[Array, ""]) -> tuple[LossAndGrad, None]:
            return jax.tree.map(jnp.add, total, of_part(part)), None

        parts = jnp.arange(key.accumulation)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of_part, parts[0]))
        return jax.lax.scan(add, nothing, parts)[0]

    # A single part needs no loop: its program is the same as without accumulation.
    of_share: Callable[..., LossAndGrad] = in_parts if draws or key.accumulation > 1 else of_scenes
    if mesh is None:
        return of_share

    def summed(params: Params, scale: LossScale, scenes: Scenes, settings: Settings) -> LossAndGrad:
        return jax.lax.psum(of_share(params, scale, scenes, settings), AXIS)

    everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
    specs = (everywhere, everywhere, everywhere if draws else shared, everywhere)
    # check_vma=False: each device keeps its own gradient until the sum above.
    return jax.shard_map(summed, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)


def _nan_unless_finite(tree: Any) -> Float[Array, ""]:
    return jnp.where(all_finite(tree), 0.0, jnp.nan)
