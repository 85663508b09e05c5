"""Options of XLA for programs that run briefly: this jaxlib accepts them, and only short trainings receive them."""

from pathlib import Path

import jax
import numpy as np
import pytest

from risjax.runs.compiler_options import fast_compilation, for_training, run_once
from risjax.train import Trainer
from risjax.train.settings import program_key
from tests.programs import left_out
from tests.tiny import tiny_config


@pytest.mark.parametrize("options", [fast_compilation, run_once])
def test_this_jaxlib_accepts_the_options(options):
    doubled = jax.jit(lambda x: 2 * x + 1, compiler_options=options())
    np.testing.assert_array_equal(doubled(np.arange(3.0, dtype=np.float32)), [1, 3, 5])


def test_a_training_is_short_up_to_29_steps_of_64_scenes():
    assert for_training(29 * 64) == run_once()
    assert for_training(29 * 64 + 1) == {}


@pytest.fixture
def optimised():
    """Compile with LLVM's optimisations, which the other tests of this folder leave out."""
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", left_out(Path(__file__)))
    jax.clear_caches()


@pytest.mark.usefixtures("optimised")
def test_a_short_training_has_the_numbers_of_a_long_one():
    """Both are at the peak of the schedule in their first step, and nothing but their programs differs.

    The network computes in bfloat16, of which one unit in the last place is 0.8 %.
    """
    short, long = (tiny_config(train__warmup_fraction=0.0, train__epochs=epochs) for epochs in (1, 200))
    assert program_key(short).compiler_options == tuple(run_once().items())
    assert program_key(long).compiler_options == ()
    infos = []
    for trainer in (Trainer(short), Trainer(long)):
        _, info = trainer.advance(trainer.init())
        infos.append(jax.device_get(info))
    np.testing.assert_allclose(infos[0].loss, infos[1].loss, rtol=2e-2)
    assert infos[0].learning_rate == infos[1].learning_rate
