"""The training step: what it changes, what it refuses, how often it compiles."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from risjax.checks import drop_checks, wait_for_checks
from risjax.train import Trainer
from risjax.train.optimizer import make_optimizer, schedule_count
from risjax.types import Scene
from tests.tiny import tiny_config

COMPUTE = ("bfloat16", "float16", pytest.param("float32", marks=pytest.mark.slow))
"""float32 has bfloat16's code, without the casts."""


@pytest.fixture(scope="module", params=COMPUTE)
def trainer(request) -> Trainer:
    return Trainer(tiny_config(precision__compute=request.param))


def spoiled(batch: Scene, value: float) -> Scene:
    """The batch with one label entry overwritten."""
    factor = batch.truth.label_factor.at[1, 0, 0].set(value)
    return batch._replace(truth=batch.truth._replace(label_factor=factor))


def kept(state) -> tuple:
    return state.params, state.opt_state, state.ema


@pytest.fixture(scope="module")
def compilations() -> list[str]:
    """Names of the programs that XLA compiled since the module's tests began."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return events


def test_a_healthy_step_is_applied_reported_and_compiled_once(trainer, compilations):
    state = trainer.init()
    counts = []
    for step in range(3):
        before, (state, info) = state, trainer.step(state, trainer.draw(state.step))
        wait_for_checks()
        assert int(state.step) == step + 1
        assert int(schedule_count(state.opt_state)) == step + 1
        assert bool(info.finite)
        assert float(info.update_norm) > 0
        chex.assert_tree_all_finite(info)
        chex.assert_trees_all_equal_shapes_and_dtypes(before, state)
        counts.append(len(compilations))
    assert counts[2] == counts[1] == counts[0], "a later step compiled something again"
    jax.jit(lambda x: x + 1.5)(jnp.ones(7))
    assert len(compilations) > counts[2], "the listener hears no compilation: the test above proves nothing"
    chex.assert_type(jax.tree.leaves((state.params, state.ema)), jnp.float32)


def test_only_float16_scales_its_loss(trainer):
    _, info = trainer.step(trainer.init(), trainer.draw(jnp.asarray(0)))
    wait_for_checks()
    is_float16 = trainer.config.precision.compute == "float16"
    assert float(info.loss_scale) == (trainer.config.precision.initial_loss_scale if is_float16 else 1.0)


@pytest.mark.parametrize("compute", COMPUTE)
def test_a_non_finite_gradient_changes_nothing_but_the_count_and_the_scale(compute):
    trainer = Trainer(tiny_config(precision__compute=compute, checks__finite=False))
    state = trainer.init()
    state, _ = trainer.step(state, trainer.draw(state.step))
    after, info = trainer.step(state, spoiled(trainer.draw(state.step), jnp.nan))
    assert not bool(info.finite)
    chex.assert_trees_all_equal(kept(after), kept(state))
    assert int(after.step) == int(state.step) + 1
    assert (int(after.skipped), int(after.skipped_in_a_row)) == (1, 1)
    expected = float(state.loss_scale.value) / (2 if compute == "float16" else 1)
    assert float(after.loss_scale.value) == expected
    recovered, _ = trainer.step(after, trainer.draw(after.step))
    assert (int(recovered.skipped), int(recovered.skipped_in_a_row)) == (1, 0)


def test_planted_nans_are_reported_at_their_leaf():
    trainer = Trainer(tiny_config())
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    poisoned = jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(jnp.nan), state.params["head"])
    cases = {
        "labels": (state, spoiled(batch, jnp.nan)),
        "prediction": (state._replace(params={**state.params, "head": poisoned}), batch),
    }
    for what, arguments in cases.items():
        trainer.step(*arguments)
        with pytest.raises(AssertionError, match=what):
            wait_for_checks()
        drop_checks()
    trainer.step(state, batch)
    wait_for_checks()


def test_configurations_that_differ_in_continuous_settings_share_a_program():
    first = Trainer(tiny_config())
    other = Trainer(
        tiny_config(train__learning_rate=0.1, loss__projector__weight=0.2, covariance__blend=0.0, run__seed=7)
    )
    assert first.program is other.program
    assert first.program is not Trainer(tiny_config(model__layers=2)).program
    assert first.program is not Trainer(tiny_config(loss__projector__weight=0.0)).program


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train__learning_rate", 1e-2),
        ("train__weight_decay", 0.5),
        ("train__clip_norm", 1e-3),
        ("train__ema_decay", 0.0),
        ("loss__projector__weight", 3.0),
        ("covariance__blend", 0.9),
        ("run__seed", 1),
    ],
)
def test_every_traced_setting_changes_the_step(path, value):
    def outcome(config):
        trainer = Trainer(config)
        state = trainer.init()
        for _ in range(2):
            state, _ = trainer.step(state, trainer.draw(state.step))
        wait_for_checks()
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves((state.params, state.ema))])

    assert not np.array_equal(outcome(tiny_config()), outcome(tiny_config(**{path: value})))


def test_the_schedule_warms_up_to_the_peak_and_ends_at_its_final_rate():
    trainer = Trainer(tiny_config(train__warmup_fraction=0.25, train__final_learning_rate_fraction=0.1))
    state, rates = trainer.init(), []
    for _ in range(12):
        state, info = trainer.step(state, trainer.draw(state.step))
        rates.append(float(info.learning_rate))
    wait_for_checks()
    peak = trainer.config.train.learning_rate
    np.testing.assert_allclose(rates[:4], [peak / 3, peak * 2 / 3, peak, peak], rtol=1e-5)
    assert np.all(np.diff(rates[3:]) < 0)
    assert 0.1 * peak < rates[-1] < 0.2 * peak


def test_weight_decay_spares_vectors():
    trainer = Trainer(tiny_config(train__weight_decay=1.0, train__learning_rate=1e-2))
    state = trainer.init()
    zero = jax.tree.map(jnp.zeros_like, state.params)
    optimizer = make_optimizer("adamw", trainer.settings)
    updates, _ = jax.jit(optimizer.update)(zero, state.opt_state, state.params)
    for path, leaf in jax.tree.leaves_with_path(updates):
        moved = bool(jnp.any(leaf != 0))
        assert moved == (leaf.ndim > 1 and bool(jnp.any(_at(state.params, path) != 0))), jax.tree_util.keystr(path)
    assert float(optax.tree.norm(updates)) > 0


def _at(tree, path):
    for entry in path:
        tree = tree[entry.key]
    return tree
