"""The set loss: its matching against scipy's, its value, its symmetries, and that it cannot be broken."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from risjax.config import PhysicsConfig
from risjax.loss import Places, geometry_set, make_places, optimal_assignment
from risjax.types import Slots, Sources

POSITION, SMOOTHING = 5.0, 0.05
SIZES = ((5, 5), (6, 3))
"""(slots, sources)"""

slope = jax.jit(jax.vmap(jax.value_and_grad(geometry_set), (0, 0, None, None)))
assign = jax.jit(jax.vmap(optimal_assignment))
SCENES = 32


def loss(slots: Slots, places: Places) -> jax.Array:
    return slope(slots, places, POSITION, SMOOTHING)[0]


def of_scene(index: int, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def in_order(order: Sequence[int], tree: Any) -> Any:
    """With the second axis of every leaf, slots or sources, in another order."""
    return jax.tree.map(lambda leaf: leaf[:, list(order)], tree)


def random_scenes(slots: int, sources: int) -> tuple[Slots, Places]:
    """Scenes of every number of sources, none included."""
    rng = np.random.default_rng(100 * slots + sources)
    share = rng.uniform(size=(SCENES, sources, 3))
    active = rng.permuted(np.arange(sources)[None, :] < (np.arange(SCENES) % (sources + 1))[:, None], axis=1)
    emitted = rng.normal(size=(SCENES, slots, 4)).astype(np.float32)
    places = Places(jnp.asarray(np.where(active[..., None], share, 0.5), jnp.float32), jnp.asarray(active))
    return Slots(jnp.asarray(emitted[..., 0]), jnp.asarray(emitted[..., 1:])), places


def reference(slots: Slots, places: Places) -> float:
    """The least over all matchings of one scene, in float64, by scipy."""
    logit, place, true = (np.asarray(array, np.float64) for array in (slots.existence, slots.place, places.share))
    true = true[np.asarray(places.active)]
    offset = 1 / (1 + np.exp(-place))[:, None, :] - true[None, :, :]
    error = (np.sqrt(SMOOTHING**2 + offset**2) - SMOOTHING).sum(-1) * POSITION / max(len(true), 1)
    held, empty = np.log1p(np.exp(-logit)), np.log1p(np.exp(logit))
    rows, columns = linear_sum_assignment(error + (held - empty)[:, None] / len(logit))
    return empty.mean() + (held - empty)[rows].sum() / len(logit) + error[rows, columns].sum()


@pytest.mark.parametrize(("slots", "sources"), SIZES)
def test_the_assignment_is_scipys_optimum(slots, sources):
    rng = np.random.default_rng(slots + 10 * sources)
    cost = rng.normal(size=(SCENES, slots, sources)).astype(np.float32)
    active = rng.uniform(size=(SCENES, sources)) < 0.7
    chosen = np.asarray(assign(jnp.asarray(cost), jnp.asarray(active)))
    np.testing.assert_array_equal(chosen.sum(1), active, "every source has one slot, what is none has none")
    assert chosen.sum(2).max() == 1, "a slot has one source"
    for one, mask, took in zip(cost, active, chosen, strict=True):
        rows, columns = linear_sum_assignment(one[:, mask].astype(np.float64))
        np.testing.assert_array_equal(np.nonzero(took[:, mask])[0], np.sort(rows))
        assert one[took].sum() == pytest.approx(one[:, mask][rows, columns].sum(), abs=1e-5)


@pytest.mark.parametrize(("slots", "sources"), SIZES)
def test_the_value_is_the_least_over_all_matchings(slots, sources):
    emitted, places = random_scenes(slots, sources)
    expected = [reference(*of_scene(i, (emitted, places))) for i in range(SCENES)]
    np.testing.assert_allclose(loss(emitted, places), expected, rtol=2e-6)


def test_neither_the_order_of_slots_nor_that_of_sources_matters():
    emitted, places = random_scenes(6, 3)
    value, gradient = slope(emitted, places, POSITION, SMOOTHING)
    for order in itertools.islice(itertools.permutations(range(6)), 1, None, 123):
        turned, theirs = slope(in_order(order, emitted), places, POSITION, SMOOTHING)
        np.testing.assert_allclose(turned, value, rtol=1e-6)
        np.testing.assert_allclose(theirs.place, gradient.place[:, list(order)], atol=1e-6)
        np.testing.assert_allclose(theirs.existence, gradient.existence[:, list(order)], atol=1e-6)
    for order in itertools.permutations(range(3)):
        turned, _ = slope(emitted, in_order(order, places), POSITION, SMOOTHING)
        np.testing.assert_allclose(turned, value, rtol=1e-6)


def test_perfect_slots_cost_nothing_and_ignorant_ones_what_is_documented():
    _, places = random_scenes(5, 5)
    true = np.clip(np.asarray(places.share), 1e-3, 1 - 1e-3)
    sure = jnp.where(places.active, 30.0, -30.0)
    perfect = Slots(sure[:, ::-1], jnp.asarray(np.log(true / (1 - true)), jnp.float32)[:, ::-1])
    exact = places._replace(share=jnp.asarray(true, jnp.float32))
    np.testing.assert_allclose(loss(perfect, exact), 0.0, atol=1e-6)
    ignorant = perfect._replace(existence=jnp.zeros_like(sure))
    np.testing.assert_allclose(loss(ignorant, exact), math.log(2), rtol=1e-5)


def broken_scenes() -> dict[str, tuple[Slots, Places]]:
    zeros, spread = jnp.zeros((6, 3)), jnp.linspace(-1.0, 1.0, 18).reshape(6, 3)
    middle, everyone = jnp.full((3, 3), 0.5), jnp.ones(3, bool)
    return {
        "no source": (Slots(zeros[:, 0], spread), Places(middle, ~everyone)),
        "all slots alike": (Slots(zeros[:, 0], zeros), Places(jax.nn.sigmoid(spread[:3]), everyone)),
        "all slots at the truth": (Slots(zeros[:, 0], zeros), Places(middle, everyone)),
        "sources at one place": (Slots(zeros[:, 0], spread), Places(middle, everyone)),
        "logits at the ends": (Slots(1e37 * spread[:, 0], 1e37 * spread), Places(middle, everyone)),
        "tiny": (Slots(1e-38 * spread[:, 0], 1e-38 * spread), Places(middle, everyone)),
        "sources outside the field of view": (Slots(zeros[:, 0], spread), Places(middle + 3.0, everyone)),
    }


def test_degenerate_scenes_have_finite_values_and_gradients():
    cases = broken_scenes()
    filled = [*cases.values(), *[cases["tiny"]] * (SCENES - len(cases))]  # to the size of a program that is there
    emitted, places = jax.tree.map(lambda *leaves: jnp.stack(leaves), *filled)
    value, gradient = slope(emitted, places, POSITION, SMOOTHING)
    value, gradient = jax.tree.map(lambda leaf: leaf[: len(cases)], (value, gradient))
    finite = np.isfinite(value) & np.isfinite(gradient.existence).all(1) & np.isfinite(gradient.place).all((1, 2))
    assert dict(zip(cases, finite.tolist(), strict=True)) == dict.fromkeys(cases, True)
    moved = dict(zip(cases, np.abs(gradient.place).max((1, 2)).tolist(), strict=True))
    assert moved["no source"] == 0
    assert min(moved["all slots alike"], moved["sources at one place"]) > 1e-2


def test_what_is_not_a_number_is_seen_wherever_it_stands():
    emitted, places = random_scenes(6, 3)
    places = places._replace(active=places.active.at[:, 0].set(True))
    for slot, number in itertools.product(range(6), range(3)):
        place = emitted.place.at[:, slot, number].set(jnp.nan)
        assert np.isnan(loss(emitted._replace(place=place), places)).all(), (slot, number)


def test_fewer_slots_than_sources_are_refused():
    emitted, places = random_scenes(5, 5)
    fewer = jax.tree.map(lambda leaf: leaf[:, :4], emitted)
    with pytest.raises(ValueError, match="4 slots cannot take 5 sources"):
        jax.eval_shape(jax.vmap(lambda s, p: geometry_set(s, p, POSITION, SMOOTHING)), fewer, places)


def test_places_are_shares_of_the_field_of_view():
    physics = PhysicsConfig()
    corner = np.radians([physics.scene.azimuth_deg[0], physics.scene.elevation_deg[1]])
    position = jnp.asarray([[*corner, physics.scene.range_m[1]], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], jnp.float32)
    sources = Sources(position, jnp.ones(3, jnp.complex64), jnp.asarray([True, True, False]))
    places = jax.jit(lambda: make_places(physics, sources))()
    middle = (1.0 - 1 / 10) / (1 / 0.5 - 1 / 10)
    np.testing.assert_allclose(places.share, [[0, 1, 0], [0.5, 0.5, middle], [0.5] * 3], atol=1e-6)
