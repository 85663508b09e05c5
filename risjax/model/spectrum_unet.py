"""Spectrum refiner: a U-Net from a covariance's spectrum over the search grid to a map of sources.

A source appears in a spectrum as a ridge. Its height is a weak indicator of a source, its surroundings a better one.
The two axes of direction are the axes of the image, the planes of inverse range its channels. The encoder-decoder has
skip connections and two levels.

References:
    O. Ronneberger, P. Fischer, T. Brox, "U-Net: convolutional networks for biomedical image segmentation" (2015),
    arXiv:1505.04597.
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár, "Focal loss for dense object detection" (2017),
    arXiv:1708.02002, section 4.1 (initial bias).
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
"""Initial logit: probability 0.01 of a source at a grid point, about the true share."""
_SCALE = 3.0
"""Decades of the spectrum in one unit of the input."""


def _flat_lecun_normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """The values of `nnx.initializers.lecun_normal`, drawn as a matrix.

    On a CPU the program that draws on four axes takes four times as long to compile, half a minute for all kernels.
    """
    flat = (math.prod(shape[:-1]), shape[-1])
    return nnx.initializers.lecun_normal()(key, flat, dtype).reshape(shape)


class _DoubleConvolution(nnx.Module):
    """Two 3 x 3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(inputs, outputs, (3, 3), kernel_init=_flat_lecun_normal, rngs=rngs)
        self.second = nnx.Conv(outputs, outputs, (3, 3), kernel_init=_flat_lecun_normal, rngs=rngs)

    def __call__(self, image: Float[Array, "batch U V C"]) -> Float[Array, "batch U V W"]:
        return jax.nn.gelu(self.second(jax.nn.gelu(self.first(image))))


def _halved(image: Float[Array, "batch U V C"]) -> Float[Array, "batch U2 V2 C"]:
    return nnx.max_pool(image, (2, 2), strides=(2, 2), padding="SAME")


def _like(image: Float[Array, "batch U2 V2 C"], skip: Float[Array, "batch U V W"]) -> Float[Array, "batch U V C"]:
    """Every point repeated along both axes, cropped to the size of ``skip``."""
    doubled = jnp.repeat(jnp.repeat(image, 2, axis=1), 2, axis=2)
    return doubled[:, : skip.shape[1], : skip.shape[2]]


class RefinerNetwork(nnx.Module):
    """U-Net with two levels and a skip connection at each."""

    def __init__(self, num_range: int, width: int, *, rngs: nnx.Rngs):
        self.fine = _DoubleConvolution(num_range, width, rngs=rngs)
        self.middle = _DoubleConvolution(width, 2 * width, rngs=rngs)
        self.coarse = _DoubleConvolution(2 * width, 4 * width, rngs=rngs)
        self.up_middle = _DoubleConvolution(6 * width, 2 * width, rngs=rngs)
        self.up_fine = _DoubleConvolution(3 * width, width, rngs=rngs)
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
        init: maps a key to parameters.
        apply: maps (parameters, log10 of spectra over the grid [batch, Gu, Gv, Gs], float32) to logits of the same
            shape in full precision; the network itself runs in the policy's compute dtype.
    """

    init: Callable[[Key[Array, ""]], dict[str, Any]]
    apply: Callable[[dict[str, Any], Array], Array]


def build_refiner(num_range: int, model: ModelConfig, precision: PrecisionConfig) -> Refiner:
    """Build the refiner for grids of ``num_range`` planes. Modules of flax.nnx appear only inside its two functions.

    Raises:
        ValueError: ``model.refiner_width`` is 0.
    """
    if model.refiner_width == 0:
        raise ValueError("model.refiner_width = 0, expected the number of channels of the refiner, >= 1")
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
