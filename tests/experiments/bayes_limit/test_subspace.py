"""The span of the sources: what posteriors that are known exactly leave of it."""

import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import PhysicsConfig
from risjax.experiments.bayes_limit.subspace import overlaps
from risjax.physics.array import steering
from risjax.types import Sources

PHYSICS = PhysicsConfig()
SLOTS = PHYSICS.scene.max_sources


def place(azimuth_deg, elevation_deg=0.0, range_m=3.0):
    return np.radians(azimuth_deg), np.radians(elevation_deg), range_m


def scene_of(*draws):
    """Draws of some sources each, [P, K, 3] and [P, K]."""
    position, active = np.zeros((len(draws), SLOTS, 3)), np.zeros((len(draws), SLOTS), bool)
    for row, sources in enumerate(draws):
        position[row, : len(sources)], active[row, : len(sources)] = np.reshape(sources, (-1, 3)), True
    return position, active


def found(replicates, sources):
    """Overlaps of one scene whose replicates hold these draws, and of a method that fitted ``sources``."""
    position, active = (
        np.stack(parts)[None] for parts in zip(*(scene_of(*draws) for draws in replicates), strict=True)
    )
    places, present = scene_of(sources)
    fit = Sources._make((places, present * (1.0 + 0j), present))
    result = overlaps({"one": fit}, position, active, PHYSICS, None, lambda: None)
    return {name: ratio.numerator.item() for name, ratio in (result.methods | result.limit).items()}


def squared_cosine(one, two):
    """|a^H b|^2 of two unit steering vectors."""
    a, b = (np.asarray(steering(PHYSICS.array, jnp.asarray(p, jnp.float32)), complex) for p in (one, two))
    return abs(np.vdot(a, b)) ** 2


def test_where_the_posterior_is_sure_everything_is_within_reach():
    sure = [[place(-30), place(20)]] * 4
    values = found([sure, sure], sure[0])
    assert values == pytest.approx({"one": 1.0, "above": 1.0, "below": 1.0}, abs=1e-5)


def test_a_missing_source_lowers_the_overlap_and_an_extra_one_does_not():
    sure = [[place(-30), place(20)]] * 4
    assert found([sure, sure], sure[0][:1])["one"] == pytest.approx(0.5, abs=1e-4)
    alone = [[place(-30)]] * 4
    assert found([alone, alone], [place(-30)])["one"] == pytest.approx(1.0, abs=1e-5)
    assert found([alone, alone], [])["one"] == 0.0


def test_between_two_places_the_best_direction_is_between_them():
    """E[P] = (a a^H + b b^H) / 2 has the largest eigenvalue (1 + |a^H b|) / 2; a alone is worth (1 + |a^H b|^2) / 2."""
    torn = [[place(0)], [place(8)]] * 2
    cosine = squared_cosine(place(0), place(8))
    assert 0.01 < cosine < 0.9
    values = found([torn, torn], [place(0)])
    assert values["above"] == pytest.approx((1 + cosine**0.5) / 2, abs=1e-4)
    assert values["below"] == pytest.approx(values["above"], abs=1e-5)
    assert values["one"] == pytest.approx((1 + cosine) / 2, abs=1e-4)


def test_runs_that_disagree_bracket_the_limit():
    here, there = [[place(0)]] * 3, [[place(40)]] * 3
    cosine = squared_cosine(place(0), place(40))
    values = found([here, there], [place(0)])
    assert values["above"] == pytest.approx((1 + cosine**0.5) / 2, abs=1e-4)
    assert values["below"] == pytest.approx(cosine, abs=1e-4)


def test_the_best_span_and_the_share_depend_on_the_number_of_sources():
    """Three draws of one source, one of two others: a choice for each number is right in all of them."""
    mixed = [[place(0)]] * 3 + [[place(-40), place(40)]]
    values = found([mixed, mixed], [place(0)])
    assert values["above"] == pytest.approx(1.0, abs=1e-5)
    loss = 1 - sum(squared_cosine(place(0), place(x)) for x in (-40, 40)) / 2
    assert values["one"] == pytest.approx(1 - loss / 4, abs=0.02)


def test_a_number_of_sources_without_draws_uses_all_draws():
    """The second run alone drew two sources. The first one's choice holds one of them, and of the rest what it may."""
    values = found([[[place(0)]] * 2, [[place(0), place(30)]] * 2], [place(0)])
    assert values["above"] == pytest.approx(1.0, abs=1e-4)
    assert 0.24 < values["below"] < 1.0  # two equal eigenvalues: which direction comes first is LAPACK's choice
    assert values["one"] == pytest.approx(0.75, abs=1e-4)


def test_half_of_the_runs_choose_and_the_others_judge():
    """One of four runs disagrees: its half chooses a direction in between, with less overlap with the other half."""
    here, there = [[place(0)]] * 3, [[place(8)]] * 3
    cosine = squared_cosine(place(0), place(8))
    values = found([here, here, here, there], [place(0)])
    half = (1 + cosine**0.5) / 2
    assert values["below"] == pytest.approx((half + (1 + cosine) / 2) / 2, abs=1e-4)
    assert values["above"] > values["one"] == pytest.approx((3 + cosine) / 4, abs=1e-4)
