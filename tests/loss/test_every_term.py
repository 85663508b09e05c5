"""Requirements on every term of the loss: it contributes, it is finite, and its gradient is right.

The terms are those of the schema: one that is added there and computed nowhere, or never has a gradient, fails here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import CovarianceConfig, LossConfig, PrecisionConfig
from risjax.covariance import effective_covariance
from risjax.loss import covariance_nmse, loss_settings, make_labels, projector_distance, total_loss
from risjax.precision import check_upcast, upcast
from risjax.types import PackedComplex, Prediction
from tests.loss.scenes import BATCH, PHYSICS, RANK, TERMS, drawn, labels_of, only, random_parts, slope

DIFFERENCE_STEP = 1e-5
DIFFERENCE = 1e-6
"""A central difference in float64 leaves step^2 of the third derivative and eps / step of the value."""


def of_scene(gradient: jax.Array) -> np.ndarray:
    """Norm of each scene's gradient."""
    return np.sqrt(np.sum(np.square(gradient, dtype=np.float64), axis=(0, 2, 3)))


@pytest.mark.parametrize("physics", PHYSICS)
@pytest.mark.parametrize("term", TERMS)
def test_every_term_has_a_gradient_in_every_scene(term, physics):
    parts, labels = random_parts(0), labels_of(physics)
    (value, terms), gradient = slope(parts, labels, only(term))
    assert set(terms) == set(TERMS)
    np.testing.assert_allclose(value, np.sum(terms[term]), rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert of_scene(gradient).min() > 1e-4, "a scene without a gradient"
    # and downhill is better
    (moved, _), _ = slope(parts - 1e-2 * gradient / of_scene(gradient)[None, :, None, None], labels, only(term))
    assert moved < value


@pytest.mark.parametrize("term", TERMS)
def test_gradients_agree_with_differences_in_float64(term):
    with jax.enable_x64(True):
        parts, direction, labels = (
            random_parts(1, double=True),
            random_parts(2, double=True),
            labels_of("default", double=True),
        )
        (_, _), gradient = slope(parts, labels, only(term))
        there, back = (
            slope(parts + h * direction, labels, only(term))[0][1][term] for h in (DIFFERENCE_STEP, -DIFFERENCE_STEP)
        )
        numeric = (there - back) / (2 * DIFFERENCE_STEP)
        analytic = np.sum(gradient * direction, axis=(0, 2, 3))
        np.testing.assert_allclose(analytic, numeric, rtol=DIFFERENCE, atol=DIFFERENCE * np.abs(numeric).max())


def degenerate() -> dict[str, np.ndarray]:
    """(Re F, Im F) of one scene each, [2, N, RANK]."""
    healthy = np.asarray(random_parts(3))[:, 0]
    equal = healthy.copy()
    equal[..., 1] = equal[..., 0]
    first = np.where(np.arange(RANK) == 0, healthy, 0)
    basis = np.stack([np.eye(healthy.shape[1])[:, :RANK], np.zeros(healthy.shape[1:])])
    return {
        "all zero": 0 * healthy,
        "rank one": np.repeat(healthy[..., :1], RANK, axis=-1),
        "one column": first,
        "two equal columns": equal,
        "orthonormal columns": basis,
        "tiny": 1e-38 * healthy,
        "huge": 1e37 * healthy,
        "one entry": np.where(np.arange(healthy[0].size).reshape(healthy[0].shape) == 5, healthy, 0),
    }


@pytest.mark.parametrize("term", TERMS)
def test_degenerate_predictions_have_finite_values_and_gradients(term):
    cases = degenerate()
    assert len(cases) == BATCH
    parts = jnp.asarray(np.stack(list(cases.values()), axis=1), jnp.float32)
    (_, terms), gradient = slope(parts, labels_of("default"), only(term))
    assert dict(zip(cases, np.isfinite(terms[term]).tolist(), strict=True)) == dict.fromkeys(cases, True)
    finite = np.isfinite(gradient).all(axis=(0, 2, 3))
    assert dict(zip(cases, finite.tolist(), strict=True)) == dict.fromkeys(cases, True)


@pytest.mark.parametrize("term", TERMS)
def test_labels_with_coinciding_sources_have_finite_gradients(term):
    labels = labels_of("default")
    twice = labels.factor.at[:, :, 1].set(labels.factor[:, :, 0])
    (_, terms), gradient = slope(random_parts(4), labels._replace(factor=twice), only(term))
    assert np.isfinite(terms[term]).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("term", TERMS)
def test_a_scene_that_is_not_finite_is_reported_and_does_not_change_the_others(term):
    labels = labels_of("default")
    broken = random_parts(5).at[0, 2, 7, 1].set(jnp.nan)
    (_, terms), _ = slope(broken, labels, only(term))
    assert np.isfinite(terms[term]).tolist() == [scene != 2 for scene in range(BATCH)]
    factor = labels.factor.at[2, 7, 0].set(jnp.nan)
    (_, terms), _ = slope(random_parts(5), labels._replace(factor=factor), only(term))
    assert np.isfinite(terms[term]).tolist() == [scene != 2 for scene in range(BATCH)]


def program(function, *arguments) -> str:
    return str(jax.make_jaxpr(function)(*arguments))


def test_terms_without_weight_are_not_in_the_program():
    """The default loss is, operation by operation, the sum of two terms that it always was."""
    _, scene, sample = drawn("default")
    labels, parts = make_labels(scene, sample), random_parts(0)
    settings = loss_settings(LossConfig())

    def today(parts, labels, weights):
        prediction = Prediction(PackedComplex(parts[0], parts[1]))
        return total_loss(
            prediction, labels, settings._replace(weights=weights), CovarianceConfig(), PrecisionConfig()
        ).total

    def two_terms(parts, labels, weights):
        with jax.named_scope("loss"), jax.default_matmul_precision("highest"):
            prediction, labels = upcast(Prediction(PackedComplex(parts[0], parts[1]))), upcast(labels)
            check_upcast(prediction, "prediction")

            def scene_terms(factor, label):
                first = covariance_nmse(factor, label.factor)
                effective = effective_covariance(factor, label.sample_factor, CovarianceConfig())
                second = projector_distance(effective, label.factor, label.num_sources)
                return {"covariance": first, "projector": second}

            terms = jax.vmap(scene_terms)(prediction.factor, labels)
            return sum((w * jnp.mean(terms[name]) for name, w in weights.items()), start=jnp.zeros(()))

    weights = {"covariance": jnp.asarray(1.0), "projector": jnp.asarray(0.5)}
    assert settings.weights == {"covariance": 1.0, "projector": 0.5}
    assert program(jax.grad(today), parts, labels, weights) == program(jax.grad(two_terms), parts, labels, weights)


def test_numbers_of_absent_terms_are_not_in_the_settings():
    absent = LossConfig.model_validate(
        {
            "covariance": {"weight": 0.0},
            "alignment": {"weight": 0.0, "loading": 0.5},
        }
    )
    assert loss_settings(absent) == ({"projector": 0.5}, {})  # a NamedTuple
    same = LossConfig.model_validate({"covariance": {"weight": 0.0}, "projector": {"weight": 2.0}})
    assert jax.tree.structure(loss_settings(absent)) == jax.tree.structure(loss_settings(same))
    assert jax.tree.structure(loss_settings(absent)) != jax.tree.structure(loss_settings(LossConfig()))
