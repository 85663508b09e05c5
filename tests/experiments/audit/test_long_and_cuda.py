"""Long tests and those of a CUDA device: thousands of steps without a skip, and the same proofs on the GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax.train.trainer
from risjax.checks import drop_checks, wait_for_checks
from risjax.config import CovarianceConfig, LossConfig, PrecisionConfig
from risjax.config.io import load_config
from risjax.experiments.audit import operations, trace_step, violations
from risjax.linalg.hermitian import matmul
from risjax.loss import Labels, loss_settings, total_loss
from risjax.train import Trainer
from risjax.train.health import locate
from risjax.types import PackedComplex, Prediction
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

    def counting(key, *rest):
        step = make_step(key, *rest)

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
    assert violations(program, compute=config.precision.compute, loss_matmul=config.precision.loss_matmul) == []


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_on_cuda_no_product_of_the_linear_algebra_runs_in_tf32(cuda, dtype):
    left, right = (random_array(seed, (256, 256), dtype) for seed in range(2))
    exact = left.astype(complex) @ right.astype(complex)
    got = np.asarray(jax.jit(matmul)(jnp.asarray(left), jnp.asarray(right)))
    # TF32 keeps 10 bits: its error would be about 5e-4.
    assert np.linalg.norm(got - exact) / np.linalg.norm(exact) < 1e-6


def loss_and_gradient(device):
    """Value, and gradient by the predictions, of the whole loss of four scenes of the full size, on a device."""
    real, imag = (jnp.asarray(random_array(seed, (4, 144, 8), "float32")) for seed in range(2))
    labels = Labels(
        factor=jnp.asarray(random_array(2, (4, 144, 5), "complex64")),
        num_sources=jnp.full(4, 5, jnp.int32),
        sample_factor=jnp.asarray(random_array(3, (4, 144, 1), "complex64")),
    )
    arguments = jax.device_put((Prediction(factor=PackedComplex(real, imag)), labels), device)

    def loss(prediction, labels):
        return total_loss(prediction, labels, loss_settings(LossConfig()), CovarianceConfig(), PrecisionConfig()).total

    value, gradient = jax.jit(jax.value_and_grad(loss))(*arguments)
    return float(value), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])


@pytest.mark.gpu
def test_on_cuda_the_loss_is_the_cpus_to_float32_and_so_has_no_tf32_in_it(cuda):
    value, gradient = loss_and_gradient(cuda)
    expected, expected_gradient = loss_and_gradient(jax.devices("cpu")[0])
    assert value == pytest.approx(expected, rel=1e-5)
    # TF32 keeps 10 bits: its error would be about 5e-4.
    assert np.linalg.norm(gradient - expected_gradient) / np.linalg.norm(expected_gradient) < 5e-5


@pytest.mark.gpu
def test_on_cuda_planted_nans_raise_and_are_located(cuda):
    trainer = Trainer(tiny_config())
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    label = batch.truth.label_factor.at[1, 0, 0].set(jnp.nan)
    spoiled = batch._replace(truth=batch.truth._replace(label_factor=label))
    bias = state.params["head"]["rows"]["bias"].at[0].set(jnp.nan)
    head = {"rows": {**state.params["head"]["rows"], "bias": bias}}
    poisoned = state._replace(params={**state.params, "head": head})
    for what, leaf, arguments in (
        ("labels", "batch.truth.label_factor", (state, spoiled)),
        ("prediction", "state.params['head']['rows']['bias']", (poisoned, batch)),
    ):
        trainer.step(*arguments)
        with pytest.raises(AssertionError, match=what):
            wait_for_checks()
        drop_checks()
        assert leaf in locate(trainer, *arguments)[0]
