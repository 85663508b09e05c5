"""The audit passes the shipped step and catches each of five planted faults, with the line that planted it."""

import importlib

import jax
import jax.numpy as jnp
import pytest

import risjax.loss.total
import risjax.train.loss_and_grad
from risjax.config import LossConfig
from risjax.config.io import load_config
from risjax.experiments.audit import operations, run_audit, trace_step, violations
from risjax.loss.covariance_nmse import covariance_nmse
from risjax.loss.total import Labels, make_labels
from risjax.precision import Policy, upcast
from risjax.runs.run_directory import RunDirectory
from risjax.runs.terminal import Terminal
from risjax.types import PackedComplex

SMALL = ["model.layers=1"]
"""Tracing costs the same for every array; one layer of the network holds every operation of four."""


@pytest.fixture
def config():
    return load_config("quick.yaml", SMALL)


def found(config):
    program = operations(trace_step(config))
    return violations(program, compute=config.precision.compute, loss_matmul=config.precision.loss_matmul)


@pytest.mark.parametrize("compute", ["bfloat16", "float16", "float32"])
def test_the_shipped_step_is_clean_for_every_policy(compute):
    assert found(load_config("quick.yaml", [f"precision.compute={compute}"])) == []


WHOLE_LOSS = [f"loss.{name}.weight=0.5" for name in LossConfig().terms]


def test_the_step_is_clean_with_every_term_of_the_loss():
    config = load_config("quick.yaml", [*SMALL, *WHOLE_LOSS])
    program = list(operations(trace_step(config)))
    precision = config.precision
    assert violations(program, compute=precision.compute, loss_matmul=precision.loss_matmul) == []
    # and it saw them: the arithmetic of each of those that have some of their own, there and back
    for file in ("subspace_alignment.py", "projector_distance.py"):
        seen = [operation for operation in program if operation.part == "loss" and file in operation.source]
        assert {operation.is_backward for operation in seen} == {False, True}, file


@pytest.mark.parametrize("term", ["subspace_alignment", "projector_distance"])
def test_half_precision_in_any_term_is_caught(term, monkeypatch):
    config = load_config("quick.yaml", [*SMALL, *WHOLE_LOSS])
    module = importlib.import_module(f"risjax.loss.{term}")  # the package exports the function by that name
    computed = getattr(module, term)

    def planted(*arguments):
        return computed(*arguments).astype(jnp.bfloat16).astype(jnp.float32)

    monkeypatch.setattr(module, term, planted)
    messages = [o.message for o in found(config)]
    assert any("bfloat16 in the loss" in message for message in messages)
    assert any("bfloat16 in the backward pass of the loss" in message for message in messages)


def test_the_stage_prints_and_writes_its_proof(config, tmp_path, capsys):
    directory = RunDirectory(tmp_path)
    assert run_audit(config, directory, Terminal(quiet=True))
    record = directory.read_json("audit.json")
    assert record["clean"]
    rooms = {(row["part"], row["pass"]) for row in record["operations"]}
    assert rooms == {(room, way) for room in ("loss", "network") for way in ("forward", "backward")}
    assert any(row["operation"] == "eigh" and row["part"] == "loss" for row in record["operations"])
    assert "✓ all" in capsys.readouterr().out


def careless(tree):
    """An upcast that nobody declared: what a silent promotion does."""

    def widen(leaf):
        if isinstance(leaf, PackedComplex):
            return jax.lax.complex(leaf.real.astype(jnp.float32), leaf.imag.astype(jnp.float32))
        return leaf

    return jax.tree.map(widen, tree, is_leaf=lambda node: isinstance(node, PackedComplex))


def half_labels(scene, sample):
    labels = make_labels(scene, sample)
    half = PackedComplex(labels.factor.real.astype(jnp.float16), labels.factor.imag.astype(jnp.float16))
    return labels._replace(factor=half)


def test_labels_left_in_float16_are_caught(config, monkeypatch):
    monkeypatch.setattr(risjax.train.loss_and_grad, "make_labels", half_labels)
    assert found(config) == []  # half labels are fine where the door widens them
    monkeypatch.setattr(risjax.loss.total, "upcast", careless)
    assert any("float16 in the loss" in o.message and "careless" in o.source for o in found(config))


def test_labels_left_in_float16_stop_at_the_door(config, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(risjax.train.loss_and_grad, "make_labels", half_labels)
    monkeypatch.setattr(risjax.loss.total, "upcast", lambda tree: tree if isinstance(tree, Labels) else upcast(tree))
    assert not run_audit(config, RunDirectory(tmp_path), Terminal(quiet=True))
    assert "labels contains a PackedComplex of float16" in capsys.readouterr().out


def test_predictions_left_in_bfloat16_are_caught(config, monkeypatch):
    monkeypatch.setattr(Policy, "cast_to_output", lambda self, tree: tree)
    assert found(config) == []
    monkeypatch.setattr(risjax.loss.total, "upcast", careless)
    messages = [o.message for o in found(config)]
    assert any("bfloat16 in the loss" in message for message in messages)
    assert any("bfloat16 in the backward pass of the loss" in message for message in messages)


def test_a_half_reduction_hidden_in_a_helper_is_caught_in_a_scan_inside_a_jit(config, monkeypatch):
    @jax.jit
    def hidden_mean(values):
        return jax.lax.scan(
            lambda total, value: (total + jnp.sum(value.astype(jnp.bfloat16)), None),
            jnp.zeros((), jnp.bfloat16),
            values,
        )[0]

    def planted(predicted, label):
        return covariance_nmse(predicted, label) + hidden_mean(predicted.real).astype(jnp.float32)

    monkeypatch.setattr(importlib.import_module("risjax.loss.covariance_nmse"), "covariance_nmse", planted)
    assert any("add on bfloat16" in o.message and "hidden_mean" in o.source for o in found(config))


def test_default_matmul_precision_in_the_loss_is_caught_forward_and_backward(config, monkeypatch):
    def planted(predicted, label):
        with jax.default_matmul_precision("default"):
            return covariance_nmse(predicted, label)

    monkeypatch.setattr(importlib.import_module("risjax.loss.covariance_nmse"), "covariance_nmse", planted)
    messages = [o.message for o in found(config)]
    assert any("matmul precision default in the loss, which states highest" in message for message in messages)
    assert any("matmul precision default in the backward pass of the loss" in message for message in messages)
    stated = load_config("quick.yaml", [*SMALL, "precision.loss_matmul=default"])
    assert found(stated) == []


def test_a_mixed_policy_that_computes_in_float32_is_detected(config, monkeypatch):
    cast = Policy.cast_to_compute

    def parameters_alone(self, trees):
        params, inputs = trees
        return cast(self, params), inputs

    monkeypatch.setattr(Policy, "cast_to_compute", parameters_alone)
    assert any("no contraction of the network runs in bfloat16" in o.message for o in found(config))


def test_a_program_without_scopes_proves_nothing():
    program = jax.make_jaxpr(lambda x: jnp.sum(x @ x))(jnp.ones((2, 2)))
    messages = [o.message for o in violations(operations(program), compute="bfloat16", loss_matmul="highest")]
    assert any("'loss'" in message for message in messages)
    assert any("'network'" in message for message in messages)


WRAPS = [
    *("jit", "cond", "switch", "scan", "map", "fori", "while", "condition", "custom_jvp", "custom_vjp", "checkpoint"),
    *("vmap", "shard_map", "linear_solve"),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_no_call_hides_an_operation(wrap):
    def narrow(x):
        return jnp.sum(jnp.exp(x.astype(jnp.float16))).astype(jnp.float32)

    def program(x):
        with jax.named_scope("loss"):
            match wrap:
                case "jit":
                    return jax.jit(jax.jit(narrow))(x)
                case "scan":
                    return jax.lax.scan(lambda total, step: (total + narrow(step), None), 0.0, jnp.stack([x, x]))[0]
                case "custom_jvp":
                    forward_rule = jax.custom_jvp(narrow)
                    forward_rule.defjvp(lambda primals, tangents: (narrow(primals[0]), jnp.sum(tangents[0])))
                    return forward_rule(x)
                case "cond":
                    return jax.lax.cond(x[0] > 0, narrow, jnp.sum, x)
                case "map":
                    return jnp.sum(jax.lax.map(narrow, jnp.stack([x, x])))
                case "fori":
                    return jax.lax.fori_loop(0, 3, lambda step, total: total + narrow(x), 0.0)
                case "switch":
                    return jax.lax.switch(jnp.asarray(x[0], int), [jnp.sum, jnp.max, narrow], x)
                case "condition":
                    return jax.lax.while_loop(lambda total: narrow(x) + total < 3, lambda total: total + 1, 0.0)
                case "shard_map":
                    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
                    spec = jax.sharding.PartitionSpec()
                    return jax.shard_map(narrow, mesh=mesh, in_specs=spec, out_specs=spec)(x)
                case "linear_solve":
                    return jnp.sum(jax.lax.custom_linear_solve(lambda y: 2 * y, x, lambda _, b: b / 2 + narrow(b)))
                case "while":
                    return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + narrow(x), s[1]), (0.0, 1.0))[0]
                case "custom_vjp":
                    rule = jax.custom_vjp(narrow)
                    rule.defvjp(lambda x: (narrow(x), x), lambda x, g: (x * g,))
                    return rule(x)
                case "checkpoint":
                    return jax.checkpoint(narrow)(x)
                case "vmap":
                    return jnp.sum(jax.vmap(narrow)(x[None]))

    traced = jax.make_jaxpr(program)(jnp.ones(3))
    messages = [o.message for o in violations(operations(traced), compute="float32", loss_matmul="highest")]
    assert any("exp on float16" in message for message in messages)
