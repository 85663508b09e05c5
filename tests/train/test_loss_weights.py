"""Weights of the loss's terms in a training."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from risjax.checks import wait_for_checks
from risjax.train import Trainer
from risjax.train.health import find_nonfinite_terms
from risjax.train.records import step_record
from tests.tiny import tiny_config


def test_the_loss_is_the_weighted_sum_under_one_program_for_all_weights():
    weights = {"covariance": 1.0, "projector": 0.25, "alignment": 0.3}
    trainer = Trainer(tiny_config(**{f"loss__{name}__weight": weight for name, weight in weights.items()}))
    _, info = trainer.step(trainer.init(), trainer.draw(jnp.asarray(0)))
    wait_for_checks()
    record = step_record(0, 1, jax.device_get(info), 1.0)
    assert record["loss"] == pytest.approx(
        sum(weights[name] * term for name, term in record["terms"].items()), rel=1e-5
    )
    other = tiny_config(loss__projector__weight=0.7, loss__alignment__weight=0.1, loss__alignment__loading=0.3)
    assert Trainer(other).program is trainer.program
    assert Trainer(tiny_config()).program is not trainer.program


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
