"""Range posteriors, what is reported of them, and how many candidates are sources."""

import jax.numpy as jnp
import numpy as np
import pytest

from risjax.detection.candidate_features import RangeLikelihood
from risjax.detection.decision import decide_count, decide_range, knots, log_prior, range_posterior
from risjax.spectral.grid import Field

FIELD = Field((-1.0, 1.0), (-1.0, 1.0), (0.1, 2.0))
FLAT = jnp.zeros((1, 12))


def likelihood(peak: float, std: float, slope: float = 0.0) -> RangeLikelihood:
    return RangeLikelihood(*(jnp.asarray([value], jnp.float32) for value in (peak, std, slope)))


def reference(peak: float, std: float, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Ranges and probabilities on a fine grid that is uniform in metres, where the prior is flat."""
    range_m = np.linspace(0.5, 10.0, 200_001)
    offset = 1 / range_m - peak
    logs = -0.5 * (offset / std) ** 2 + slope * offset
    weight = np.exp(logs - logs.max())
    return range_m, weight / weight.sum()


@pytest.mark.parametrize(("peak", "std", "slope"), [(1.0, 0.01, 0), (0.2, 0.02, 0), (0.15, 0.1, 0), (0.1, 0.03, -20.0)])
def test_the_posterior_is_the_likelihood_times_a_prior_uniform_in_metres(peak: float, std: float, slope: float):
    found = range_posterior(likelihood(peak, std, slope), FLAT, FIELD)
    range_m, weight = reference(peak, std, slope)
    assert float(found.weight.sum()) == pytest.approx(1.0, abs=1e-5)
    mean = float((found.weight / found.s).sum())
    assert mean == pytest.approx(float(range_m @ weight), rel=5e-3)
    density = np.exp(np.asarray(found.log_density[0]))
    assert np.trapezoid(density, np.asarray(found.s[0])) == pytest.approx(1.0, abs=1e-3)


def test_a_prior_moves_the_posterior_towards_what_it_favours():
    near = jnp.where(knots(FIELD, 12) < 3.0, 3.0, 0.0)[None, :]
    wide = likelihood(0.25, 0.15)
    flat, pulled = (float((p.weight / p.s).sum()) for p in (range_posterior(wide, x, FIELD) for x in (FLAT, near)))
    assert pulled < flat - 0.5


def test_the_log_prior_is_linear_between_its_knots():
    values = jnp.asarray([[0.0, 2.0, 1.0]])
    asked = jnp.asarray([[0.5, 5.25, 10.0, 2.875, 99.0]])
    np.testing.assert_allclose(log_prior(values, asked, FIELD), [[0.0, 2.0, 1.0, 1.0, 1.0]], atol=1e-5)


@pytest.mark.parametrize(("peak", "std"), [(0.12, 0.05), (0.2, 0.03), (0.101, 0.2), (0.8, 0.2)])
def test_the_range_reported_has_the_largest_expected_utility(peak: float, std: float):
    decided = float(decide_range(range_posterior(likelihood(peak, std), FLAT, FIELD), 1.0).range_m[0])
    range_m, weight = reference(peak, std)
    range_m, weight = range_m[::200], weight.reshape(-1)[: 200 * 1000].reshape(1000, 200).sum(1)
    range_m = range_m[:1000]

    def utility(centre: float) -> float:
        distance = np.abs(range_m - centre)
        return float(weight @ ((distance <= 1.0) - np.minimum(distance, 2.0) / 2.0))

    best = max(utility(centre) for centre in range_m)
    assert utility(decided) > best - 0.02


def test_a_sure_range_is_reported_as_it_was_fitted():
    decided = decide_range(range_posterior(likelihood(0.5, 1e-3), FLAT, FIELD), 1.0)
    assert float(decided.range_m[0]) == pytest.approx(2.0, abs=1e-3)
    assert float(decided.std_m[0]) == pytest.approx(4e-3, rel=0.02)


def test_a_weak_source_at_the_edge_is_not_reported_on_the_edge():
    decided = decide_range(range_posterior(likelihood(0.1, 0.02, -30.0), FLAT, FIELD), 1.0)
    assert 8.0 < float(decided.range_m[0]) < 9.5


@pytest.mark.parametrize(
    ("existence", "held", "count"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 1], 2),
        ([0.2, 0.1, 0.1], [1, 1, 1], 0),
        ([0.4, 0.9, 0.1], [1, 1, 1], 2),
        ([0.9, 0.9, 0.9], [1, 1, 0], 2),
        ([0.9, 0.9, 0.9], [0, 0, 0], 0),
    ],
)
def test_the_number_of_sources_gains_the_most(existence: list, held: list, count: int):
    sure = jnp.ones(3)
    decided = decide_count(jnp.asarray(existence), sure, jnp.asarray(held, bool), threshold=0.45, range_share=0.8)
    assert int(decided) == count


@pytest.mark.parametrize(
    ("existence", "within", "range_share", "count"),
    [
        (0.8, 0.2, 0.5, 1),  # 0.8 (0.5 + 0.5 x 0.2) = 0.48 is worth it
        (0.8, 0.1, 0.5, 0),  # 0.44 is not
        (0.8, 0.2, 0.8, 0),  # 0.8 (0.2 + 0.8 x 0.2) = 0.288: the more a range counts, the less
        (0.8, 0.0, 0.0, 1),
        (0.46, 0.0, 0.0, 1),
        (0.44, 0.0, 0.0, 0),
        (0.46, 1.0, 0.8, 1),
        (0.46, 0.9, 0.8, 0),
        (1.0, 0.44, 1.0, 0),
        (1.0, 0.46, 1.0, 1),
    ],
)
def test_an_uncertain_range_lowers_the_score_of_a_candidate(
    existence: float, within: float, range_share: float, count: int
):
    candidate = jnp.asarray([existence]), jnp.asarray([within]), jnp.ones(1, bool)
    assert int(decide_count(*candidate, threshold=0.45, range_share=range_share)) == count


@pytest.mark.parametrize(("peak", "std"), [(0.12, 0.05), (0.2, 0.03), (0.8, 0.2)])
def test_how_surely_the_range_lies_within_the_window(peak: float, std: float):
    decided = decide_range(range_posterior(likelihood(peak, std), FLAT, FIELD), 1.0)
    range_m, weight = reference(peak, std)
    expected = weight.reshape(-1)[np.abs(range_m - float(decided.range_m[0])) <= 1.0].sum()
    assert float(decided.within[0]) == pytest.approx(float(expected), abs=0.03)
