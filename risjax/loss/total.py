"""The loss: everything upcast at the door, then a weighted sum of terms, all under the scope ``loss``."""

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
    """Return the labels of a batch of simulated scenes.

    Args:
        scene: the scenes.
        sample: factors of their sample covariances.
    """
    return Labels(scene.truth.label_factor, scene.truth.num_sources, sample)


def total_loss(
    prediction: Prediction,
    labels: Labels,
    settings: LossSettings,
    covariance: CovarianceConfig | CovarianceSettings,
    precision: PrecisionConfig,
) -> Loss:
    """The loss of a batch.

    The *whole* prediction and label pytrees are upcast to float32/complex64 before anything else: a
    half-precision label alone carries a relative error of 1e-3 into every term.

    Args:
        prediction: a batch of the network's outputs, half precision welcome.
        labels: a batch of labels.
        settings: weights and numbers of the terms, of `risjax.loss.loss_settings`; a term without a weight is no part
            of the program. Their schedule is not read: see `risjax.loss.at_progress`.
        covariance: how R_pred and R_sample become R_eff.
        precision: the matmul precision of the loss.
    """
    with jax.named_scope("loss"), jax.default_matmul_precision(precision.loss_matmul):
        prediction, labels = upcast(prediction), upcast(labels)
        check_upcast(prediction, name="prediction")
        check_upcast(labels, name="labels")
        factors = cast(Array, prediction.factor)  # the upcast has joined its real and imaginary parts

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
    """The terms that have a weight, of one scene."""
    wanted, terms = settings.weights, {}
    if "covariance" in wanted:
        terms["covariance"] = covariance_nmse(factor, label.factor)
    if "alignment" in wanted:
        assert settings.alignment_loading is not None
        terms["alignment"] = subspace_alignment(factor, label.factor, settings.alignment_loading)
    if "projector" in wanted:
        effective = effective_covariance(factor, label.sample, covariance)
        terms["projector"] = projector_distance(effective, label.factor, label.num_sources)
    return terms
