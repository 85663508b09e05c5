"""What takes long, or a CUDA device: thousands of steps without a skip, and the same proofs on the GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax.train.trainer
from risjax.audit import offences, operations, trace_step
from risjax.checks import wait_for_checks
from risjax.config.io import load_config
from risjax.linalg.hermitian import matmul
from risjax.train import Trainer
from tests.linalg.reference import random_array
from tests.tiny import tiny_config


def skipped_steps(trainer: Trainer, steps: int) -> int:
    """Trains, with the chex assertions on, and counts the steps whose gradient was not finite."""
    state = trainer.init()
    for _ in range(steps):
        state, _ = trainer.step(state, trainer.draw(state.step))
    wait_for_checks()
    return int(state.skipped)


@pytest.mark.slow
def test_two_thousand_bfloat16_steps_skip_none():
    assert skipped_steps(Trainer(tiny_config(precision__compute="bfloat16")), 2000) == 0


@pytest.fixture
def cuda():
    devices = [device for device in jax.devices() if device.platform == "gpu"]
    if not devices:
        pytest.skip("needs a CUDA device: pip install -e '.[cuda12]'")
    return devices[0]


@pytest.mark.gpu
@pytest.mark.parametrize("compute", ["bfloat16", "float16", "float32"])
def test_on_cuda_the_step_compiles_once_and_two_hundred_steps_are_finite(cuda, compute, monkeypatch):
    traces = []
    make_step = risjax.train.trainer.make_step

    def counting(key, network):
        step = make_step(key, network)

        def counted(*arguments):
            traces.append(key)
            return step(*arguments)

        return counted

    monkeypatch.setattr(risjax.train.trainer, "make_step", counting)
    risjax.train.trainer.make_program.cache_clear()
    trainer = Trainer(load_config("quick.yaml", [f"precision.compute={compute}"]))
    skipped = skipped_steps(trainer, 200)
    risjax.train.trainer.make_program.cache_clear()
    assert len(traces) == 1
    # float16 may halve its initial scale a few times before it fits.
    assert skipped <= (5 if compute == "float16" else 0)


@pytest.mark.gpu
def test_on_cuda_the_audit_is_clean(cuda):
    config = load_config("audit.yaml")
    program = operations(trace_step(config))
    assert offences(program, compute=config.precision.compute, loss_matmul=config.precision.loss_matmul) == []


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_on_cuda_no_product_of_the_linear_algebra_runs_in_tf32(cuda, dtype):
    left, right = (random_array(seed, (256, 256), dtype) for seed in range(2))
    exact = left.astype(complex) @ right.astype(complex)
    got = np.asarray(jax.jit(matmul)(jnp.asarray(left), jnp.asarray(right)))
    # TF32 keeps 10 bits: its error would be about 5e-4.
    assert np.linalg.norm(got - exact) / np.linalg.norm(exact) < 1e-6
