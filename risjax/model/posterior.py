"""Posterior heads: from features of candidates, or of a spectrum's peaks, to logits of existence.

For candidates the head also returns log-priors of range. The mean and the largest of the features of all candidates of
the fit (or of all peaks of the scene) are further inputs for each of them. The heads are small and run in float32 for
every compute dtype of the network.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from risjax.config import ModelConfig

_OUTSIDE = 8.0
"""Standardised features are clipped to this many standard deviations."""


class Judgement(NamedTuple):
    """Output of the head for the candidates of one fit.

    Attributes:
        existence: logit of the candidate being a source, [K].
        log_range: log-prior over range at `risjax.detection.decision.knots`, up to a constant, [K, B]; B = 0 for peaks.
    """

    existence: Float[Array, "*batch K"]
    log_range: Float[Array, "*batch K B"]


class PosteriorNetwork(nnx.Module):
    """Two hidden layers for each candidate. Before training the log-prior of range is uniform."""

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
        is_active = active[..., None]
        count = jnp.maximum(jnp.sum(is_active, axis=-2, keepdims=True), 1)
        mean_feature = jnp.sum(jnp.where(is_active, standard, 0.0), axis=-2, keepdims=True) / count
        largest = jnp.max(jnp.where(is_active, standard, -_OUTSIDE), axis=-2, keepdims=True)
        others = [jnp.broadcast_to(pooled, standard.shape) for pooled in (mean_feature, largest)]
        hidden = jax.nn.gelu(self.first(jnp.concatenate([standard, *others], axis=-1)))
        hidden = jax.nn.gelu(self.second(hidden))
        log_range = hidden[..., :0] if self.range is None else self.range(hidden)
        return Judgement(self.existence(hidden)[..., 0], log_range)


class Posterior(NamedTuple):
    """The head as two pure functions.

    Attributes:
        init: maps (key, mean [F] and standard deviation [F] of the features) to parameters.
        apply: maps (parameters, features [..., K, F], active [..., K]) to outputs.
        shapes: shapes and dtypes of the parameters.
    """

    init: Callable[[Key[Array, ""], Float[Array, " F"], Float[Array, " F"]], dict[str, Any]]
    apply: Callable[[dict[str, Any], Array, Array], Judgement]
    shapes: dict[str, Any]


def build_posterior(num_features: int, config: ModelConfig) -> Posterior:
    """Build the head for candidates: logits of existence and log-priors of range."""
    return _build(num_features, config.posterior_width, config.posterior_knots)


def build_peak_posterior(num_features: int, config: ModelConfig) -> Posterior:
    """Build the head for peaks of a spectrum: logits of existence."""
    return _build(num_features, config.posterior_width, 0)


@functools.lru_cache(maxsize=16)
def _build(num_features: int, width: int, knots: int) -> Posterior:
    """Build a head, once for equal sizes. Modules of flax.nnx appear only inside the two returned functions."""

    def make(key: Key[Array, ""]) -> PosteriorNetwork:
        return PosteriorNetwork(num_features, width, knots, rngs=nnx.Rngs(params=key))

    graph, state = nnx.split(nnx.eval_shape(lambda: make(jax.random.key(0))))

    def init(key: Key[Array, ""], mean: Array, std: Array) -> dict[str, Any]:
        params = nnx.to_pure_dict(nnx.state(make(key)))
        return {**params, "mean": mean, "scale": 1.0 / jnp.maximum(std, 1e-3)}

    def apply(params: dict[str, Any], features: Array, active: Array) -> Judgement:
        return nnx.merge(graph, nnx.State(params))(features, active)

    return Posterior(init, apply, nnx.to_pure_dict(state))
