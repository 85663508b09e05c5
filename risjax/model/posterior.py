"""The posterior heads: from the evidence of candidates, or of a spectrum's peaks, to probabilities of existence and,
for candidates, log-priors of range.

A candidate is judged beside the others of its fit, a peak beside the others of its scene: what they are enters as the
mean and the largest of their features. All of it is small and runs in float32 whatever the network's compute dtype.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from risjax.config import ModelConfig

_OUTSIDE = 8.0
"""Standardised features are held within so many standard deviations."""


class Judgement(NamedTuple):
    """What the head says of the candidates of one fit.

    Attributes:
        existence: logit of the candidate being a source, [K].
        log_range: log-prior over range at `risjax.detection.decision.knots`, up to a constant, [K, B]; B = 0 of peaks.
    """

    existence: Float[Array, "*batch K"]
    log_range: Float[Array, "*batch K B"]


class PosteriorNetwork(nnx.Module):
    """Two hidden layers a candidate. Before training every range is as likely as every other."""

    def __init__(self, num_features: int, width: int, knots: int, *, rngs: nnx.Rngs):
        self.mean = nnx.Param(jnp.zeros(num_features))
        self.scale = nnx.Param(jnp.ones(num_features))
        self.first = nnx.Linear(3 * num_features, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.existence = nnx.Linear(width, 1, rngs=rngs)
        self.range = nnx.Linear(width, knots, kernel_init=nnx.initializers.zeros, rngs=rngs) if knots else None

    def __call__(self, features: Float[Array, "*batch K F"], active: Bool[Array, "*batch K"]) -> Judgement:
        mean, scale = (jax.lax.stop_gradient(leaf[...]) for leaf in (self.mean, self.scale))
        axes = (1,) * (features.ndim - 1)
        standard = (features - mean.reshape(*axes, -1)) * scale.reshape(*axes, -1)
        standard = jnp.clip(standard, -_OUTSIDE, _OUTSIDE)
        held = active[..., None]
        count = jnp.maximum(jnp.sum(held, axis=-2, keepdims=True), 1)
        mean_of = jnp.sum(jnp.where(held, standard, 0.0), axis=-2, keepdims=True) / count
        largest = jnp.max(jnp.where(held, standard, -_OUTSIDE), axis=-2, keepdims=True)
        others = [jnp.broadcast_to(pooled, standard.shape) for pooled in (mean_of, largest)]
        hidden = jax.nn.gelu(self.first(jnp.concatenate([standard, *others], axis=-1)))
        hidden = jax.nn.gelu(self.second(hidden))
        log_range = hidden[..., :0] if self.range is None else self.range(hidden)
        return Judgement(self.existence(hidden)[..., 0], log_range)


class Posterior(NamedTuple):
    """The head as two pure functions.

    Attributes:
        init: (key, mean [F] and standard deviation [F] of the features) to parameters.
        apply: (parameters, features [..., K, F], active [..., K]) to judgements.
    """

    init: Callable[[Key[Array, ""], Float[Array, " F"], Float[Array, " F"]], dict[str, Any]]
    apply: Callable[[dict[str, Any], Array, Array], Judgement]


def build_posterior(num_features: int, config: ModelConfig) -> Posterior:
    """Builds the head that judges candidates: whether they exist, and their ranges."""
    return _build(num_features, config.posterior_width, config.posterior_knots)


def build_peak_posterior(num_features: int, config: ModelConfig) -> Posterior:
    """Builds the head that judges a spectrum's peaks: whether they exist."""
    return _build(num_features, config.posterior_width, 0)


def _build(num_features: int, width: int, knots: int) -> Posterior:
    """nnx lives only inside the two functions returned."""

    def make(key: Key[Array, ""]) -> PosteriorNetwork:
        return PosteriorNetwork(num_features, width, knots, rngs=nnx.Rngs(params=key))

    graph = nnx.graphdef(nnx.eval_shape(lambda: make(jax.random.key(0))))

    def init(key: Key[Array, ""], mean: Array, std: Array) -> dict[str, Any]:
        params = nnx.to_pure_dict(nnx.state(make(key)))
        return {**params, "mean": mean, "scale": 1.0 / jnp.maximum(std, 1e-3)}

    def apply(params: dict[str, Any], features: Array, active: Array) -> Judgement:
        return nnx.merge(graph, nnx.State(params))(features, active)

    return Posterior(init, apply)
