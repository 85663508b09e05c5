"""The reference of `benchmarks/code_design.py`, and the statistics of `benchmarks/shared_codes.py`."""

import importlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from risjax.config import PhysicsConfig
from risjax.metrics.bootstrap import Drawn
from risjax.physics.code_design.optimise import gram_of

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: importlib.import_module(name)


def test_all_elements_are_observed_by_themselves_with_the_power_of_the_channel(scripts):
    block = scripts("codebook_scenes").draw_block(PhysicsConfig(), 0, 0, 2)
    channel, codes = scripts("code_design").elements(block, PhysicsConfig())
    np.testing.assert_allclose(np.abs(codes), 1, rtol=1e-5)
    np.testing.assert_allclose(
        jnp.linalg.norm(channel, axis=(1, 2)), jnp.linalg.norm(block.channel, axis=(1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(gram_of(channel[1], codes[1]), 16 * 16 / 144 * np.eye(144), atol=1e-4)


@pytest.mark.parametrize("between", [0.0, 0.05])
def test_the_spread_of_random_sets_excludes_the_variance_of_the_measurement(scripts, between):
    """48 sets whose values differ by ``between``, measured with an error of 0.02 that all draws repeat."""
    generator = np.random.default_rng(0)
    true = 0.7 + between * generator.standard_normal(48)
    values = true + 0.02 * generator.standard_normal(48)
    draws = values[:, None] + 0.02 * generator.standard_normal((48, 2000))
    drawn = [{"f1_3d": Drawn(value, row, 1)} for value, row in zip(values, draws, strict=True)]
    found = scripts("shared_codes").spread(drawn, "f1_3d")
    assert abs(found["measured"] - np.hypot(between, 0.02)) < 0.015
    assert abs(found["between_sets"] - between) < 0.015
