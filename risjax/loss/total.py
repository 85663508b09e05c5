"""Total loss of a batch: upcast predictions and labels, then add the weighted terms, in the scope ``loss``."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from risjax.config import CovarianceConfig, PrecisionConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.loss.covariance_nmse import covariance_nmse
from risjax.loss.projector_distance import projector_distance
from risjax.loss.settings import LossSettings
from risjax.loss.subspace_alignment import subspace_alignment
from risjax.precision import check_upcast, upcast
from risjax.types import Prediction, Scene


class Labels(NamedTuple):
    """Labels of a batch of scenes.

    Attributes:
        factor: B of the label covariance R = B B^H of trace N, [N, K].
        num_sources: K of the scene.
        sample_factor: factor of R_sample, [N, 1]. It is an input of R_eff, not a truth, and needs full precision too.
    """

    factor: Complex[Array, "*batch N K"]
    num_sources: Int[Array, "*batch"]
    sample_factor: Complex[Array, "*batch N one"]


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
            computed. The schedule is not read; apply `risjax.loss.at_progress` first.
        covariance: settings that combine R_pred and R_sample into R_eff.
        precision: ``loss_matmul``, the precision of the loss's matrix products.
    """
    with jax.named_scope("loss"), jax.default_matmul_precision(precision.loss_matmul):
        prediction, labels = upcast(prediction), upcast(labels)
        check_upcast(prediction, name="prediction")
        check_upcast(labels, name="labels")
        factors = cast(Array, prediction.factor)  # complex after the upcast

        def of_scene(factor: Array, label: Labels) -> dict[str, Array]:
            return _scene_terms(factor, label, settings, covariance)

        terms = jax.vmap(of_scene)(factors, labels)
        weighted = (weight * jnp.mean(terms[name]) for name, weight in settings.weights.items())
        return Loss(sum(weighted, start=jnp.zeros(())), terms)


def _scene_terms(
    factor: Array,
    label: Labels,
    settings: LossSettings,
    covariance: CovarianceConfig | CovarianceSettings,
) -> dict[str, Array]:
    """Terms with a weight, for one scene."""
    wanted, terms = settings.weights, {}
    if "covariance" in wanted:
        terms["covariance"] = covariance_nmse(factor, label.factor)
    if "alignment" in wanted:
        assert settings.alignment_loading is not None
        terms["alignment"] = subspace_alignment(factor, label.factor, settings.alignment_loading)
    if "projector" in wanted:
        effective = effective_covariance(factor, label.sample_factor, covariance)
        terms["projector"] = projector_distance(effective, label.factor, label.num_sources)
    return terms
