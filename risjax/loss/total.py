"""The loss: everything upcast at the door, then a weighted sum of terms, all under the scope ``loss``."""

from collections.abc import Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import CovarianceConfig, LossConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.loss.covariance_nmse import covariance_nmse
from risjax.loss.projector_distance import projector_distance
from risjax.precision import check_upcast, upcast
from risjax.types import Prediction, Scene


class Labels(NamedTuple):
    """What predictions are compared with.

    Attributes:
        factor: B of the label covariance R = B B^H of trace N, [N, K].
        num_sources: K of the scene.
        sample: factor of R_sample, [N, 1]; no truth, but compared in full precision all the same.
    """

    factor: Complex[Array, "*batch N K"]
    num_sources: Int[Array, "*batch"]
    sample: Complex[Array, "*batch N one"]


class Loss(NamedTuple):
    """A batch's loss.

    Attributes:
        total: weighted sum of the terms' means over scenes, [].
        terms: each term for each scene, unweighted, {name: [batch]}.
    """

    total: Float[Array, ""]
    terms: dict[str, Float[Array, " batch"]]


def make_labels(scene: Scene, sample: Complex[Array, "*batch N one"]) -> Labels:
    """The labels of simulated scenes."""
    return Labels(scene.truth.label_factor, scene.truth.num_sources, sample)


def active_weights(config: LossConfig) -> dict[str, float]:
    """Weights of the terms that are part of the program, those above zero."""
    weights = {name: getattr(config, name).weight for name in type(config).model_fields}
    return {name: weight for name, weight in weights.items() if weight > 0}


def total_loss(
    prediction: Prediction,
    labels: Labels,
    weights: Mapping[str, float | Float[Array, ""]],
    covariance: CovarianceConfig | CovarianceSettings,
    precision: PrecisionConfig,
) -> Loss:
    """The loss of a batch.

    The *whole* prediction and label pytrees are upcast to float32/complex64 before anything else: a
    half-precision label alone carries a relative error of 1e-3 into every term.

    Args:
        prediction: a batch of the network's outputs, half precision welcome.
        labels: a batch of labels.
        weights: weights of the terms, as of `active_weights`; a term without one is no part of the program.
        covariance: how R_pred and R_sample become R_eff.
        precision: the matmul precision of the loss.
    """
    with jax.named_scope("loss"), jax.default_matmul_precision(precision.loss_matmul):
        prediction, labels = upcast(prediction), upcast(labels)
        check_upcast(prediction, name="prediction")
        check_upcast(labels, name="labels")

        def scene_terms(factor: Array, label: Labels) -> dict[str, Array]:
            terms = {}
            if "covariance" in weights:
                terms["covariance"] = covariance_nmse(factor, label.factor)
            if "projector" in weights:
                effective = effective_covariance(factor, label.sample, covariance)
                terms["projector"] = projector_distance(effective, label.factor, label.num_sources)
            return terms

        factors = cast(Array, prediction.factor)  # the upcast has joined its real and imaginary parts
        terms = jax.vmap(scene_terms)(factors, labels)
        total = sum((weight * jnp.mean(terms[name]) for name, weight in weights.items()), start=jnp.zeros(()))
        return Loss(total, terms)
