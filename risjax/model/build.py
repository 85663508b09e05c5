"""The network as two pure functions, which cast into and out of the compute dtype."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Key

from risjax.config import ArrayConfig, ModelConfig, PrecisionConfig
from risjax.model.encoder import CovarianceNetwork
from risjax.precision import make_policy
from risjax.types import Prediction

Params = dict[str, Any]


class Network(NamedTuple):
    """A network as two pure functions.

    Attributes:
        init: maps a key to parameters, a nested dict with the top level ``encoder`` and ``head``.
        apply: maps (parameters, batch of features) to a batch of predictions in the policy's output dtype.
        shapes: shapes and dtypes of the parameters.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Any], Prediction]
    shapes: Params


@functools.lru_cache(maxsize=64)
def build(array: ArrayConfig, model: ModelConfig, precision: PrecisionConfig) -> Network:
    """Build the network, once for equal settings. Modules of flax.nnx appear only inside the two returned functions."""
    policy = make_policy(precision)

    def make(key: Key[Array, ""]) -> nnx.Module:
        return CovarianceNetwork(array, model, rngs=nnx.Rngs(params=key))

    graph, state = nnx.split(nnx.eval_shape(lambda: make(jax.random.key(0))))
    shapes = jax.eval_shape(policy.cast_to_params, nnx.to_pure_dict(state))

    def init(key: Key[Array, ""]) -> Params:
        return policy.cast_to_params(nnx.to_pure_dict(nnx.state(make(key))))

    def apply(params: Params, features: Any) -> Prediction:
        with jax.named_scope("network"):
            params, features = policy.cast_to_compute((params, features))
            prediction = nnx.merge(graph, nnx.State(params))(features)
            return policy.cast_to_output(prediction)

    return Network(init, apply, shapes)
