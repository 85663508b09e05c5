"""A batch worked on in parts: the step it makes is the step of the whole batch. (With devices: `test_devices`.)"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides
from risjax.experiments.audit.stage import trace_step
from risjax.train import Trainer, health
from risjax.train.mesh import _count
from tests.tiny import tiny_config

STEPS = 3
EXACT = {f"precision__{name}": "float64" for name in ("params", "compute", "output")}


def training(parts: int, **changes: Any) -> dict[str, Any]:
    """A few steps from the stream, without assertions, which take long to compile and change nothing."""
    trainer = Trainer(tiny_config(**{"checks__finite": False, "train__accumulation": parts, **changes}))
    state, infos = trainer.init(), []
    for _ in range(STEPS):
        state, info = trainer.advance(state)
        infos.append(info)
    return {
        "losses": np.array([float(info.loss) for info in infos]),
        "terms": np.array([[float(value) for value in info.terms.values()] for info in infos]),
        "norms": np.array([float(info.grad_norm_head) for info in infos]),
        "params": np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)]),
        "scale": float(state.loss_scale.value),
    }


def assert_alike(parts: dict[str, Any], whole: dict[str, Any], rounding: float) -> None:
    for name in ("losses", "terms", "norms"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=rounding, err_msg=name)
    assert len(set(parts["losses"])) == STEPS, "the loss moves, so the comparison says something"
    # Adam divides a gradient by its own size: where it is next to nothing, its rounding is a whole learning rate's.
    np.testing.assert_allclose(parts["params"], whole["params"], atol=rounding * np.abs(whole["params"]).max())
    assert parts["scale"] == whole["scale"]


def test_a_batch_in_parts_trains_as_the_whole():
    assert_alike(training(4, precision__compute="float32"), training(1, precision__compute="float32"), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 4])
def test_with_a_network_in_double_precision_only_the_scenes_rounding_is_left(parts):
    """Scenes and images are made in float32, and how their sums are ordered depends on how many are made at once."""
    with jax.enable_x64(True):
        assert_alike(training(parts, **EXACT), training(1, **EXACT), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("compute", "rounding"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_in_half_precision_parts_differ_by_its_rounding(compute, rounding):
    """Weights' gradients are products over the scenes in half precision, two to the minus eleven and eight."""
    assert_alike(training(2, precision__compute=compute), training(1, precision__compute=compute), rounding)


@pytest.mark.slow
def test_a_repeated_set_of_scenes_is_the_same_in_parts():
    settings = {"precision__compute": "float32", "train__dataset_scenes": 8}
    assert_alike(training(2, **settings), training(1, **settings), 1e-5)


def test_one_scene_that_is_not_finite_skips_the_whole_step_once():
    """In float16: one step is counted, and the loss scale is halved once, however many parts there were."""
    trainer = Trainer(tiny_config(precision__compute="float16", checks__finite=False, train__accumulation=2))
    state = trainer.init()
    state, info = trainer.step(state, trainer.draw(state.step))
    assert bool(info.finite)
    batch = trainer.draw(state.step)
    factor = batch.truth.label_factor.at[3, 0, 0].set(jnp.nan)  # in the second part
    spoilt = batch._replace(truth=batch.truth._replace(label_factor=factor))
    after, info = trainer.step(state, spoilt)
    assert not bool(info.finite)
    chex.assert_trees_all_equal(*((s.params, s.opt_state, s.ema) for s in (after, state)))
    assert (int(after.step), int(after.skipped), int(after.skipped_in_a_row)) == (2, 1, 1)
    assert float(after.loss_scale.value) == float(state.loss_scale.value) / 2
    first, _ = trainer.step(state, batch)
    assert int(first.skipped) == 0


def test_nonfinite_scenes_are_numbered_across_all_parts(monkeypatch):
    trainer = Trainer(tiny_config(train__accumulation=2))
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    asked = []

    def every_second(trainer: Trainer, state: Any, part: Any) -> dict[str, np.ndarray]:
        asked.append(np.asarray(part.truth.snr_db))
        return {"a term": np.array([False, True]), "another": np.array([False, False])}

    monkeypatch.setattr(health, "_nonfinite_scenes", every_second)
    assert health.find_nonfinite_terms(trainer, state, batch) == ["a term of scenes 1, 3"]
    np.testing.assert_array_equal(np.concatenate(asked), batch.truth.snr_db)


def test_a_batch_of_one_part_has_no_loop():
    def loops(parts: int) -> int:
        program = trace_step(tiny_config(train__accumulation=parts))
        return sum(equation.primitive.name == "scan" for equation in program.jaxpr.eqns)

    assert loops(2) == loops(1) + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.accumulation": 3}, r"divide the 4 scenes of .* got 3; try accumulation = 2 or batch_size = 6"),
        ({"train.accumulation": 4, "train.devices": 2}, r"the 2 scenes .*try accumulation = 2 or batch_size = 8"),
        ({"train.accumulation": 0}, "expected >= 1"),
    ],
)
def test_parts_that_do_not_divide_a_batch_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        apply_overrides(tiny_config(), changes)


@pytest.mark.parametrize(("parts", "expected"), [(1, 4), (2, 4), (4, 2), (8, 1)])
def test_without_a_number_as_many_devices_train_as_leave_each_its_parts(parts, expected):
    config = tiny_config(train__batch_size=8, train__accumulation=parts)
    assert _count(config.train, jax.devices()[:1] * 4) == expected
