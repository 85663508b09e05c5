"""Weights over a training: their course, and that they are settings of one program."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from risjax.checks import wait_for_checks
from risjax.config import LossConfig
from risjax.loss import at_progress, loss_settings
from risjax.train import Trainer
from risjax.train.health import find_nonfinite_terms
from risjax.train.records import health_of, step_record
from risjax.train.settings import program_key
from tests.tiny import tiny_config

SCHEDULED = {
    "loss__projector__warmup": 0.0,
    "loss__covariance__final": 0.25,
    "loss__alignment__weight": 0.3,
    "loss__alignment__warmup": 3.0,
    "loss__schedule__warmup_fraction": 0.5,
    "loss__schedule__final_fraction": 0.25,
}


@pytest.mark.parametrize(
    ("w", "f"), [(0.1, 0.2), (0.0, 0.5), (0.5, 0.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.4, 0.6)]
)
def test_the_three_phases(w, f):
    config = LossConfig.model_validate(
        {
            "covariance": {"weight": 2.0, "warmup": 0.0, "final": 3.0},
            "projector": {"weight": 0.5},
            "schedule": {"warmup_fraction": w, "final_fraction": f},
        }
    )
    settings = loss_settings(config)
    multiple = jax.jit(lambda t: at_progress(settings, t).weights)
    for progress in np.linspace(0.0, 0.999, 23):
        now = multiple(jnp.float32(progress))
        # np.interp takes the later of two values at one place: a phase of no length is none.
        expected = np.interp(progress, [0.0, w, 1 - f, 1.0], [0.0 if w else 1.0, 1.0, 1.0, 3.0 if f else 1.0])
        assert float(now["covariance"]) == pytest.approx(2.0 * expected, abs=1e-5)
        assert float(now["projector"]) == pytest.approx(0.5)


def test_constant_weights_have_no_schedule():
    settings = loss_settings(LossConfig.model_validate({"schedule": {"warmup_fraction": 0.7}}))
    assert settings.schedule is None
    assert at_progress(settings, 0.3) is settings


def test_phases_that_overlap_are_refused():
    with pytest.raises(ValidationError, match=r"must not overlap, got 0\.6 and 0\.5"):
        LossConfig.model_validate({"schedule": {"warmup_fraction": 0.6, "final_fraction": 0.5}})


def test_a_term_whose_weight_is_zero_only_at_first_is_in_the_program():
    keys = [
        program_key(tiny_config(**overrides)).loss
        for overrides in ({}, {"loss__alignment__weight": 0.2, "loss__alignment__warmup": 0.0})
    ]
    assert "alignment" not in str(keys[0])
    assert "alignment" in str(keys[1])


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(tiny_config(**SCHEDULED))


def test_a_training_follows_the_schedule_under_one_program_and_logs_it(trainer):
    state, records = trainer.init(), []
    steps = trainer.config.train.epochs * trainer.config.train.steps_per_epoch
    for step in range(steps):
        state, info = trainer.step(state, trainer.draw(state.step))
        records.append(step_record(step, 1, jax.device_get(info), 1.0))
    wait_for_checks()
    progress = np.arange(steps) / steps
    expected = {
        "covariance": np.interp(progress, [0, 0.5, 0.75, 1], [1, 1, 1, 0.25]),
        "projector": 0.5 * np.interp(progress, [0, 0.5, 0.75, 1], [0, 1, 1, 1]),
        "alignment": 0.3 * np.interp(progress, [0, 0.5, 0.75, 1], [3, 1, 1, 1]),
    }
    for name, course in expected.items():
        np.testing.assert_allclose([record["weights"][name] for record in records], course, atol=1e-6)
    for record in records:
        weighted = sum(record["weights"][name] * value for name, value in record["terms"].items())
        assert record["loss"] == pytest.approx(weighted, rel=1e-5)
    assert health_of(records)["weights"] == records[-1]["weights"]

    other = {
        **SCHEDULED,
        "loss__projector__warmup": 0.7,
        "loss__schedule__final_fraction": 0.0,
        "loss__alignment__loading": 0.3,
    }
    assert Trainer(tiny_config(**other)).program is trainer.program
    assert Trainer(tiny_config()).program is not trainer.program


def test_a_skipped_step_does_not_move_the_schedule(trainer):
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    state, _ = trainer.step(state, batch)
    wait_for_checks()
    held = state._replace(step=state.step + 5)  # steps tried, not applied
    _, info = trainer.step(held, batch)
    wait_for_checks()
    assert float(info.weights["projector"]) == pytest.approx(0.5 * (1 / 12) / 0.5, rel=1e-5)


@pytest.mark.slow
def test_a_term_that_is_not_finite_is_named(monkeypatch):
    trainer = Trainer(tiny_config(loss__projector__weight=0.0, loss__alignment__weight=0.2))
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))

    def broken(predicted, label, loading):
        return jnp.sum(predicted.real) * jnp.nan

    monkeypatch.setattr(importlib.import_module("risjax.loss.subspace_alignment"), "subspace_alignment", broken)
    assert find_nonfinite_terms(trainer, state, batch) == [
        f"loss term 'alignment': {what} of scenes 0, 1, 2, 3" for what in ("gradient", "value")
    ]
