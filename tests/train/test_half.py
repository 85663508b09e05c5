"""float16: one scene's degenerate gradient is limited where it enters the network, and only there."""

import pytest

import risjax.train.loss_and_grad
from risjax.experiments.audit import trace_step
from risjax.precision import HALF_LIMIT
from tests.tiny import tiny_config


@pytest.mark.parametrize("compute", ["float16", "bfloat16", "float32"])
def test_the_training_step_limits_what_enters_a_float16_network(compute, monkeypatch):
    seen = []
    monkeypatch.setattr(
        risjax.train.loss_and_grad, "limit_cotangents", lambda tree, bound: seen.append((tree, bound.shape)) or tree
    )
    trace_step(tiny_config(precision__compute=compute))
    assert len(seen) == (1 if compute == "float16" else 0)
    for prediction, shape in seen:
        assert prediction.factor.real.shape == (4, 36, 3)
        assert shape == ()
    assert 2.0**14 * HALF_LIMIT / 64 < 2.0**11  # what a float16 network sums up has room, at the scale's first halving
