"""Every term of the loss in both frameworks: its value and its gradient by the prediction, and the weights' course."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="comparing with PyTorch needs it: pip install -e '.[torch]'")

from risjax.config import LossConfig  # noqa: E402
from risjax.experiments import torch_baseline as baseline  # noqa: E402
from risjax.loss import loss_settings, make_labels, total_loss  # noqa: E402
from risjax.types import PackedComplex, Prediction  # noqa: E402
from tests.experiments.torch_baseline.parity import (  # noqa: E402
    FLOAT32,
    FLOAT64,
    WHOLE_LOSS,
    Same,
    configuration,
    eager,
    error,
    same_scenes,
)

TERMS = tuple(LossConfig().terms)
TOLERANCE = {"float32": FLOAT32, "float64": FLOAT64}


def predictions(dtype: str, scenes: int, size: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(2, scenes, size, 3)).astype(dtype)


@functools.cache
def both(dtype: str) -> tuple[dict, dict, dict, dict]:
    """Terms and, for each term alone, gradients by (Re F, Im F): of risjax, then of PyTorch."""
    with jax.enable_x64(dtype == "float64"):
        same: Same = same_scenes(configuration(dtype, **WHOLE_LOSS))
        config, scene, tensors = same
        settings = loss_settings(config.loss)
        assert set(settings.weights) == set(TERMS)
        sample = jnp.asarray(np.random.default_rng(8).normal(size=(4, 36, 1)) + 0j, scene.truth.label_factor.dtype)
        labels = make_labels(scene, sample)
        parts = predictions(dtype, 4, 36)

        @jax.jit
        def slope(parts, weights):
            def total(parts):
                emitted = Prediction(PackedComplex(parts[0], parts[1]))
                loss = total_loss(
                    emitted, labels, settings._replace(weights=weights), config.covariance, config.precision
                )
                return loss.total, loss.terms

            return jax.grad(total, has_aux=True)(parts)

        gradients, terms = {}, {}
        for term in TERMS:
            alone = {name: jnp.asarray(float(name == term), dtype) for name in TERMS}
            gradients[term], terms = slope(jnp.asarray(parts), alone)

        targets = {
            "factor": tensors["label_factor"],
            "num_sources": tensors["num_sources"],
            "sample": torch.tensor(np.asarray(sample)),
        }
        their_gradients, found = {}, {}
        for term in TERMS:
            leaf = torch.tensor(parts).requires_grad_(True)
            alone = settings._replace(weights={name: float(name == term) for name in TERMS})
            emitted = {"factor": torch.complex(leaf[0], leaf[1])}
            total, found = baseline.total_loss(emitted, targets, alone, config.covariance, eager())
            total.backward()
            their_gradients[term] = leaf.grad.numpy()
        return terms, gradients, {name: value.detach().numpy() for name, value in found.items()}, their_gradients


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("term", TERMS)
def test_values_and_gradients_agree(term, dtype):
    terms, gradients, their_terms, their_gradients = both(dtype)
    assert set(terms) == set(their_terms) == set(TERMS)
    assert error(terms[term], their_terms[term]) <= TOLERANCE[dtype]
    assert np.abs(their_gradients[term]).max() > 1e-4
    assert error(gradients[term], their_gradients[term]) <= TOLERANCE[dtype]
