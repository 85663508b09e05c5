"""Subspace alignment: its value, and that no collapsed prediction scores well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.loss import subspace_alignment
from tests.loss.test_terms import RANK, K, N, masked, random_factor

LOADING = 0.1
align = jax.jit(subspace_alignment)


def reference(predicted, label, loading):
    predicted, label = (np.asarray(factor, np.complex128) for factor in (predicted, label))
    covariance = predicted @ predicted.conj().T
    covariance *= N / np.trace(covariance).real
    sources = label[:, np.linalg.norm(label, axis=0) > 0]
    sources = sources / np.linalg.norm(sources, axis=0)
    projector = sources @ np.linalg.pinv(sources)
    leakage = np.trace((np.eye(N) - projector) @ covariance).real / N
    inverse = np.linalg.inv(covariance + loading * np.eye(N))
    return leakage + np.mean([loading * (a.conj() @ inverse @ a).real for a in sources.T])


@pytest.mark.parametrize("num_sources", [1, 2, 3])
@pytest.mark.parametrize("loading", [0.01, 1.0])
def test_value(num_sources, loading):
    predicted, label = random_factor(0, RANK), masked(random_factor(1, K), num_sources)
    expected = reference(predicted, label, loading)
    np.testing.assert_allclose(align(predicted, label, loading), expected, rtol=1e-4)
    np.testing.assert_allclose(align(3.0 * predicted, 0.1 * label, loading), expected, rtol=1e-4)


def test_the_truth_has_a_small_loss_and_zero_a_loss_of_one():
    label = masked(random_factor(1, K), K)
    assert align(label, label, LOADING) < 0.05
    assert float(align(jnp.zeros((N, RANK), jnp.complex64), label, LOADING)) == pytest.approx(1.0, abs=1e-6)
    outside = jnp.linalg.svd(label)[0][:, K : K + 2]
    assert float(align(outside, label, LOADING)) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize("direction", ["one source", "their sum", "the strongest eigenvector"])
def test_rank_one_inside_the_span_has_a_large_loss(direction):
    """It leaks nothing: what it does not explain is all that tells it from the truth."""
    label = random_factor(1, K) * jnp.asarray([1.0, 0.5, 0.2])[None, :]
    column = {
        "one source": label[:, :1],
        "their sum": label.sum(1, keepdims=True),
        "the strongest eigenvector": jnp.linalg.svd(label)[0][:, :1],
    }[direction]
    collapsed = jnp.pad(column, ((0, 0), (0, RANK - 1)))
    truth = float(align(label, label, LOADING))
    assert truth < 0.1
    assert float(align(collapsed, label, LOADING)) > max(0.5, 5 * truth)


def test_weak_and_strong_sources_have_the_same_weight():
    label = random_factor(1, K) * jnp.asarray([1.0, 1.0, 0.1])[None, :]
    without = [float(align(jnp.delete(label, k, axis=1), label, LOADING)) for k in range(K)]
    assert min(without) > 0.2
    assert max(without) < 1.5 * min(without)


def test_slots_without_a_source_do_not_count():
    label = random_factor(1, 2)
    padded = jnp.pad(label, ((0, 0), (0, 3)))
    predicted = random_factor(0, RANK)
    np.testing.assert_allclose(align(predicted, padded, LOADING), align(predicted, label, LOADING), rtol=1e-5)
