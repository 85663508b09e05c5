"""The first non-finite intermediate is named, with the line that made it, whatever call it hides in."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import risjax.loss.total
from risjax.loss.covariance_nmse import covariance_nmse
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.train import NonFiniteTraining, Trainer, train
from risjax.train import epoch as epoch_module
from risjax.train.health import find_nonfinite_terms, locate
from risjax.train.locate_nonfinite import first_nonfinite
from risjax.types import Scene
from tests.tiny import tiny_config


def line_of(mark: str) -> str:
    """``file:line`` of the line of this file that ends with a comment, the mark."""
    for number, line in enumerate(Path(__file__).read_text().splitlines(), 1):
        if line.endswith(f"# {mark}"):
            return f"{Path(__file__).name}:{number}:"
    raise AssertionError(f"no line is marked {mark}")


def zero_over_zero(x):
    return jnp.sum(x) + (x[0] - x[0]) / (x[1] - x[1])  # planted


@jax.custom_jvp
def with_a_rule(x):
    return zero_over_zero(x)


with_a_rule.defjvp(lambda primals, tangents: (zero_over_zero(primals[0]), jnp.sum(tangents[0])))

with_a_backward_rule = jax.custom_vjp(zero_over_zero)
with_a_backward_rule.defvjp(lambda x: (zero_over_zero(x), x), lambda x, g: (x * g,))


def in_a_scan(x):
    def body(carry, step):
        count, total = carry
        is_second = (step == 3) & (count == 1)  # only from the end backwards
        return (count + 1, jax.lax.cond(is_second, zero_over_zero, jnp.sum, x) + total), step

    return jax.lax.scan(body, (0, jnp.zeros((), x.dtype)), jnp.arange(5), reverse=True)


def in_a_mapped_scan(x):
    """Constants, a carry of two shapes and stacked operands of two shapes, in a scan with a batch axis of its own."""

    def scan_row(row, shift):
        def body(carry, step):
            scale, vector = carry
            return (scale + shift, vector + step[0]), zero_over_zero(row) * scale + step[1]

        return jax.lax.scan(body, (0.0, row), (jnp.stack([row, row]), jnp.arange(2.0)))[1]

    return jax.vmap(scan_row)(jnp.stack([x, x]), x[:2])


def in_a_differentiated_scan(x):
    def total(x):
        return jax.lax.scan(lambda carry, step: (carry + step * zero_over_zero(x), None), 0.0, x)[0]

    return jax.value_and_grad(jax.checkpoint(total))(x)


def in_a_loop(x):
    def body(carry):
        index, total = carry
        return index + 1, total + jax.lax.cond(index == 2, zero_over_zero, jnp.sum, x)

    return jax.lax.while_loop(lambda carry: carry[0] < 4, body, (0, jnp.zeros((), x.dtype)))


CALLS = {
    "plain": zero_over_zero,
    "jit": jax.jit(jax.jit(zero_over_zero)),
    "vmap": lambda x: jax.vmap(zero_over_zero)(x[None]),
    "checkpoint": jax.checkpoint(zero_over_zero),
    "gradient": lambda x: jax.value_and_grad(zero_over_zero)(x),
    "custom_jvp": with_a_rule,
    "custom_jvp, differentiated": lambda x: jax.value_and_grad(with_a_rule)(x),
    "custom_vjp": with_a_backward_rule,
    "cond": lambda x: jax.lax.cond(x[0] > 0, zero_over_zero, jnp.sum, x),
    "switch": lambda x: jax.lax.switch(jnp.asarray(x[0], int), [jnp.sum, zero_over_zero], x),
    "scan": in_a_scan,
    "scan, mapped": in_a_mapped_scan,
    "scan, differentiated": in_a_differentiated_scan,
    "map": lambda x: jax.lax.map(lambda step: zero_over_zero(x) + step, x),
    "fori": lambda x: jax.lax.fori_loop(0, 3, lambda step, total: total + zero_over_zero(x) * step, 0.0),
    "while": in_a_loop,
}


@pytest.mark.parametrize("call", CALLS)
def test_the_line_is_found_inside_every_call(call):
    found = first_nonfinite(CALLS[call], x=jnp.arange(1.0, 4.0))
    assert found[0].startswith("the first intermediate that is not finite: div -> float32[")
    assert line_of("planted") in found[1]
    assert all("magnitudes from 0 to 0" in line for line in found[2:])


def test_a_sharded_call_is_named_as_a_whole():
    """Each device runs its own part of it, so the operations inside have no values of the whole program."""
    mesh, spec = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)), jax.sharding.PartitionSpec()
    sharded = jax.shard_map(zero_over_zero, mesh=mesh, in_specs=spec, out_specs=spec)
    found = first_nonfinite(lambda x: 2 * sharded(x), x=jnp.arange(1.0, 4.0))  # sharded
    assert found[0].startswith("the first intermediate that is not finite: shard_map -> float32[]")
    assert line_of("sharded") in found[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtype_scope_and_overflow_are_named(dtype):
    def product(x):
        with jax.named_scope("network"):
            return jnp.sum(jnp.tanh((x * x).real))  # overflows

    large = jnp.full(2, float(jnp.finfo(dtype).max) ** 0.6, dtype)
    found = first_nonfinite(lambda x: jnp.log(product(x) * 0 - 1), x=large)
    assert f"log -> {jnp.finfo(dtype).dtype}[], nan" in found[0]  # tanh(inf) = 1: the overflow reached nothing
    found = first_nonfinite(lambda x: product(x) + x[0] * x[1], x=large)
    assert f"mul -> {dtype}[]" in found[0]
    found = first_nonfinite(jax.grad(lambda x: jnp.sum(((x * large) * large).real)), x=0 * large)
    assert "in scope transpose(jvp())" in found[0]
    assert found[0].endswith("backward")


def test_a_masked_nan_is_not_reported():
    def masked(x):
        return jnp.sum(jnp.where(x > 0, jnp.log(x), 0.0))  # masked

    assert first_nonfinite(masked, x=jnp.asarray([0.0, -1.0, 2.0])) == []
    # Its gradient is the classic trap: 0 * (1 / 0), made in the backward pass.
    found = first_nonfinite(jax.grad(masked), x=jnp.asarray([0.0, 1.0]))
    assert "div -> float32[2]" in found[0]
    assert line_of("masked") in found[1]


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Trainer(tiny_config())


@pytest.mark.slow
def test_in_the_training_step(trainer, monkeypatch):
    state, batch = trainer.init(), trainer.draw(jnp.asarray(0))
    assert locate(trainer, state, batch) == [
        "evaluated operation by operation, the step is finite: the compiled program rounds differently"
    ]

    label = batch.truth.label_factor.at[1, 0, 0].set(jnp.nan)
    found = locate(trainer, state, batch._replace(truth=batch.truth._replace(label_factor=label)))
    assert "not finite before the first operation: batch.truth.label_factor, complex64[4, 36, 2]" in found[0]
    assert "at [1, 0, 0]" in found[0]
    assert "spoils: real -> float32[4, 36, 2], nan at [1, 0, 0], in scope" in found[1]
    assert "loss" in found[1]
    assert "risjax/linalg/scale.py" in found[2]

    weight = state.params["head"]["rows"]["bias"].at[2].set(jnp.inf)
    params = {**state.params, "head": {"rows": {**state.params["head"]["rows"], "bias": weight}}}
    assert "params['head']['rows']['bias']" in find_nonfinite_terms(trainer, state._replace(params=params), batch)
    found = locate(trainer, state._replace(params=params), batch)
    assert "state.params['head']['rows']['bias'], float32[24], inf at [2]" in found[0]
    assert "convert_element_type -> bfloat16[24]" in found[1]
    assert "network" in found[1]
    assert "risjax/precision.py" in found[2]

    def broken(predicted, label):
        return covariance_nmse(predicted, label) + jnp.sum(0 * label.real) / jnp.sum(0 * predicted.imag)  # broken

    monkeypatch.setattr(risjax.loss.total, "covariance_nmse", broken)
    found = locate(trainer, state, batch)
    assert "the first intermediate that is not finite: div -> float32[4], nan at [0], in scope jvp(loss)" in found[0]
    assert line_of("broken") in found[1]


@jax.jit
def spoiled_at_step_three(batch: Scene, step: jax.Array) -> Scene:
    label = batch.truth.label_factor
    return batch._replace(truth=batch.truth._replace(label_factor=jnp.where(step == 3, jnp.nan, label)))


@pytest.mark.parametrize("is_on", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_stopped_training_names_the_operation_if_requested(tmp_path, monkeypatch, is_on):
    seen = []

    def recording(trainer, state, batch):
        seen.append((state, batch))
        return ["the first intermediate that is not finite: here"]

    draw = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda self, step: spoiled_at_step_three(draw(self, step), step))
    monkeypatch.setattr(epoch_module, "locate", recording)
    config = tiny_config(debug__locate_nonfinite=is_on)
    with pytest.raises(NonFiniteTraining, match=r"(?s)step 3 .*labels\.factor of scenes") as error:
        train(config, RunDirectory(tmp_path), Terminal(quiet=True))
    assert ("the first intermediate that is not finite: here" in str(error.value)) == is_on
    assert len(seen) == is_on
    for state, batch in seen:
        # The state before that very step, though three good ones lie between it and the last visit of the host.
        assert int(state.step) == 3
        assert not np.isfinite(batch.truth.label_factor).any()
        assert int(state.skipped) == 0
