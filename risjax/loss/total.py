"""Total loss of a batch: upcast predictions and labels, then add the weighted terms, in the scope ``loss``."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from risjax.config import CovarianceConfig, PrecisionConfig
from risjax.config.loss import TERMS
from risjax.covariance import CovarianceSettings
from risjax.loss.settings import LossSettings
from risjax.loss.term import Labels, TermInputs
from risjax.precision import check_upcast, upcast
from risjax.registry import implementation_of
from risjax.types import Prediction, Scene


class Loss(NamedTuple):
    """Loss of a batch.

    Attributes:
        total: weighted sum of the terms' means over scenes, [].
        terms: each term for each scene, unweighted, {name: [batch]}.
    """

    total: Float[Array, ""]
    terms: dict[str, Float[Array, " batch"]]


def make_labels(scene: Scene, sample_factor: Complex[Array, "*batch N one"]) -> Labels:
    """Return the labels of a batch of simulated scenes.

    Args:
        scene: the scenes.
        sample_factor: factors of their sample covariances.
    """
    return Labels(scene.truth.label_factor, scene.truth.num_sources, sample_factor)


def total_loss(
    prediction: Prediction,
    labels: Labels,
    settings: LossSettings,
    covariance: CovarianceConfig | CovarianceSettings,
    precision: PrecisionConfig,
) -> Loss:
    """Loss of a batch, sum_t w_t mean_scenes(term_t), in full precision.

    The *whole* prediction and label pytrees are upcast to float32 and complex64 first. A half-precision label alone
    would bring a relative error of 1e-3 into every term.

    Args:
        prediction: batch of the network's outputs, in half or full precision.
        labels: batch of labels.
        settings: weights and numbers of the terms, from `risjax.loss.loss_settings`. A term without a weight is not
            computed.
        covariance: settings that combine R_pred and R_sample into R_eff.
        precision: ``loss_matmul``, the precision of the loss's matrix products.
    """
    with jax.named_scope("loss"), jax.default_matmul_precision(precision.loss_matmul):
        prediction, labels = upcast(prediction), upcast(labels)
        check_upcast(prediction, name="prediction")
        check_upcast(labels, name="labels")
        factors = cast(Array, prediction.factor)  # complex after the upcast

        functions = {name: implementation_of(TERMS[name]) for name in settings.weights}

        def of_scene(factor: Array, label: Labels) -> dict[str, Array]:
            scene = TermInputs(factor, label, covariance)
            return {name: term(scene, settings.numbers.get(name, {})) for name, term in functions.items()}

        terms = jax.vmap(of_scene)(factors, labels)
        weighted = (weight * jnp.mean(terms[name]) for name, weight in settings.weights.items())
        return Loss(sum(weighted, start=jnp.zeros(())), terms)
