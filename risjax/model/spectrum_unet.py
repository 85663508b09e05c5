"""The refiner: a U-Net that turns a covariance's spectrum over the search grid into a map of sources.

A spectrum shows a source as a ridge whose height says little about whether it is one; what surrounds it says more.
The two axes of direction are the image's, the planes of inverse range its channels. The encoder-decoder with skips is
that of Ronneberger, Fischer and Brox (2015), two levels deep.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from risjax.config import ModelConfig, PrecisionConfig
from risjax.precision import make_policy, upcast

_PRIOR_LOGIT = -4.6
"""Of an untrained map: a source at one point in a hundred, as few as there are (Lin et al. 2017, section 4.1)."""
_SCALE = 3.0
"""Decades of the spectrum that count as one unit of the input."""


def _flat_lecun_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """LeCun's law, the same numbers as of `nnx.initializers.lecun_normal` on four axes, drawn on two.

    On a CPU the program that draws on four axes takes four times as long to compile: half a minute for all kernels.
    """
    flat = (math.prod(shape[:-1]), shape[-1])
    return nnx.initializers.lecun_normal()(key, flat, dtype).reshape(shape)


class _Twice(nnx.Module):
    """Two 3 x 3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(inputs, outputs, (3, 3), kernel_init=_flat_lecun_normal, rngs=rngs)
        self.second = nnx.Conv(outputs, outputs, (3, 3), kernel_init=_flat_lecun_normal, rngs=rngs)

    def __call__(self, image: Float[Array, "batch U V C"]) -> Float[Array, "batch U V W"]:
        return jax.nn.gelu(self.second(jax.nn.gelu(self.first(image))))


def _halved(image: Float[Array, "batch U V C"]) -> Float[Array, "batch U2 V2 C"]:
    return nnx.max_pool(image, (2, 2), strides=(2, 2), padding="SAME")


def _like(image: Float[Array, "batch U2 V2 C"], skip: Float[Array, "batch U V W"]) -> Float[Array, "batch U V C"]:
    """Every point twice along both axes, cut to the size of ``skip``."""
    doubled = jnp.repeat(jnp.repeat(image, 2, axis=1), 2, axis=2)
    return doubled[:, : skip.shape[1], : skip.shape[2]]


class RefinerNetwork(nnx.Module):
    """Two levels down, two up; a skip at each."""

    def __init__(self, num_range: int, width: int, *, rngs: nnx.Rngs):
        self.fine = _Twice(num_range, width, rngs=rngs)
        self.middle = _Twice(width, 2 * width, rngs=rngs)
        self.coarse = _Twice(2 * width, 4 * width, rngs=rngs)
        self.up_middle = _Twice(6 * width, 2 * width, rngs=rngs)
        self.up_fine = _Twice(3 * width, width, rngs=rngs)
        bias = nnx.initializers.constant(_PRIOR_LOGIT)
        self.map = nnx.Conv(width, num_range, (1, 1), kernel_init=_flat_lecun_normal, bias_init=bias, rngs=rngs)

    def __call__(self, spectrum: Float[Array, "batch Gu Gv Gs"]) -> Float[Array, "batch Gu Gv Gs"]:
        fine = self.fine(spectrum)
        middle = self.middle(_halved(fine))
        coarse = self.coarse(_halved(middle))
        middle = self.up_middle(jnp.concatenate([_like(coarse, middle), middle], axis=-1))
        fine = self.up_fine(jnp.concatenate([_like(middle, fine), fine], axis=-1))
        return self.map(fine)


class Refiner(NamedTuple):
    """The refiner as two pure functions.

    Attributes:
        init: key to parameters.
        apply: (parameters, log10 of spectra over the grid [batch, Gu, Gv, Gs], float32) to logits of the same shape,
            in full precision; the network between runs in the policy's compute dtype.
    """

    init: Callable[[Key[Array, ""]], dict[str, Any]]
    apply: Callable[[dict[str, Any], Array], Array]


def build_refiner(num_range: int, model: ModelConfig, precision: PrecisionConfig) -> Refiner:
    """Builds the refiner for grids of ``num_range`` planes; nnx lives only inside the two functions returned.

    Raises:
        ValueError: ``model.refiner_width`` is 0.
    """
    if model.refiner_width == 0:
        raise ValueError("model.refiner_width is 0, which leaves the refiner out; set it to a number of channels")
    policy = make_policy(precision)

    def make(key: Key[Array, ""]) -> RefinerNetwork:
        return RefinerNetwork(num_range, model.refiner_width, rngs=nnx.Rngs(params=key))

    graph = nnx.graphdef(nnx.eval_shape(lambda: make(jax.random.key(0))))

    def init(key: Key[Array, ""]) -> dict[str, Any]:
        return policy.cast_to_params(nnx.to_pure_dict(nnx.state(make(key))))

    def apply(params: dict[str, Any], spectrum: Float[Array, "batch Gu Gv Gs"]) -> Float[Array, "batch Gu Gv Gs"]:
        with jax.named_scope("refiner"):
            params, image = policy.cast_to_compute((params, spectrum / _SCALE))
            return upcast(policy.cast_to_output(nnx.merge(graph, nnx.State(params))(image)))

    return Refiner(init, apply)
