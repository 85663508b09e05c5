"""risjax against the PyTorch baseline: same weights, same batch; outputs, loss terms, every gradient leaf, steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="comparing with PyTorch needs it: pip install -e '.[torch]'")

from risjax.experiments import torch_baseline as baseline  # noqa: E402
from risjax.experiments.torch_baseline.network import prediction  # noqa: E402
from risjax.loss import loss_settings, make_labels, total_loss  # noqa: E402
from risjax.model import build, make_inputs  # noqa: E402
from risjax.physics.images import NOISE_TO_SIGNAL_RANGE  # noqa: E402
from risjax.physics.measurement import gram  # noqa: E402
from risjax.train import Trainer  # noqa: E402
from tests.experiments.torch_baseline.parity import (  # noqa: E402
    BUILTIN64,
    FLOAT32,
    FLOAT64,
    WHOLE_LOSS,
    assert_trees_agree,
    configuration,
    eager,
    error,
    gradients,
    same_scenes,
)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "encoder"),
    [
        ("float32", FLOAT32, "backprojection"),
        ("float64", FLOAT64, "backprojection"),
        ("float64", FLOAT64, "snapshots"),
        ("float64", FLOAT64, "minimum_norm"),
    ],
)
def test_inputs_outputs_terms_and_every_gradient_leaf_agree(dtype, tolerance, encoder):
    with jax.enable_x64(dtype == "float64"):
        config, scene, tensors = same_scenes(configuration(dtype, encoder))
        network = build(config.physics.array, config.model, config.precision)
        params = network.init(jax.random.key(0))
        inputs = jax.vmap(lambda observation: make_inputs(observation, config.model, config.physics))(scene.observation)
        weights = loss_settings(config.loss)
        labels = make_labels(scene, inputs.sample_factor)

        features, sample = baseline.make_inputs(tensors, config.model, config.physics)
        # The ridge leaves at most cond(G) = 1 / its least value, and a solve loses as many digits.
        spread = np.linalg.cond(np.asarray(gram(jax.tree.map(lambda leaf: leaf[0], scene.observation))))
        conditioning = min(spread, 36 / NOISE_TO_SIGNAL_RANGE[0]) * np.finfo(dtype).eps
        assert_trees_agree(inputs.features._asdict(), {k: v.numpy() for k, v in features.items()}, 10 * conditioning)
        assert error(inputs.sample_factor, sample.numpy()) <= 10 * conditioning

        def objective(params):
            emitted = network.apply(params, inputs.features)
            loss = total_loss(emitted, labels, weights, config.covariance, config.precision)
            return loss.total, (emitted, loss.terms)

        ours, (emitted, terms) = jax.jit(jax.grad(objective, has_aux=True))(params)
        same = {name: torch.tensor(np.asarray(leaf)) for name, leaf in inputs.features._asdict().items()}
        targets = {
            "factor": tensors["label_factor"],
            "num_sources": tensors["num_sources"],
            "sample": torch.tensor(np.asarray(inputs.sample_factor)),
        }
        rules = {"low_rank": tolerance, "dense": tolerance}
        if dtype == "float64":
            rules["builtin"] = BUILTIN64
        for rule, allowed in rules.items():
            theirs = baseline.build_network(config.physics.array, config.model, dtype=getattr(torch, dtype))
            theirs.load_state_dict(baseline.to_torch(params))
            predicted = prediction(theirs(same))
            total, found = baseline.total_loss(predicted, targets, weights, config.covariance, eager(rule=rule))
            total.backward()
            assert error(jax.lax.complex(*emitted.factor), torch.complex(*predicted["factor"]).detach()) <= tolerance
            assert set(terms) == {"covariance", "projector"}
            for name in terms:
                assert error(terms[name], found[name].detach()) <= tolerance
            assert_trees_agree(ours, gradients(theirs), allowed)


@pytest.mark.parametrize(("dtype", "steps", "overrides"), [("float64", 10, WHOLE_LOSS), ("float32", 3, {})])
def test_optimizer_steps_agree(dtype, steps, overrides):
    """Features, network, loss, its schedule, clipping, AdamW, decay, schedule and EMA, step after step."""
    with jax.enable_x64(dtype == "float64"):
        config, scene, tensors = same_scenes(configuration(dtype, **overrides))
        ours = Trainer(config)
        state = ours.init()
        start = state.params
        theirs = baseline.Trainer(config, state.params, eager())
        # Adam divides by |gradient|: an update is as exact as its gradient is relative to itself, and the rounding
        # of a leaf's large entries (FLOAT32) is a thousandth of its small ones. Weights move by 1e-3 of their size.
        tolerance = FLOAT64 if dtype == "float64" else 1e3 * FLOAT32
        for _ in range(steps):
            state, info = ours.step(state, scene)
            report = theirs.step(tensors)
            assert report.finite
            assert error(report.loss, info.loss) <= (FLOAT64 if dtype == "float64" else FLOAT32)
            norm = np.hypot(info.grad_norm_backbone, info.grad_norm_head)
            assert error(report.grad_norm, norm) <= (FLOAT64 if dtype == "float64" else FLOAT32)
        for ours, other in ((state.params, theirs.parameters()), (state.ema, theirs.parameters(average=True))):
            moved, moved_too = (jax.tree.map(np.subtract, tree, start) for tree in (ours, other))
            assert_norms_agree(moved, moved_too, tolerance)
        assert theirs.applied == steps


def assert_norms_agree(ours, theirs, tolerance):
    for (path, leaf), other in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        distance = np.linalg.norm(np.asarray(leaf) - other) / np.linalg.norm(other)
        assert distance <= tolerance, (jax.tree_util.keystr(path), distance)


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_half_precision_agrees_within_its_own_rounding(compute):
    """The two round in different places (PyTorch keeps the residual stream in float32), none more than its eps."""
    config, scene, tensors = same_scenes(configuration("float32", precision__compute=compute))
    network = build(config.physics.array, config.model, config.precision)
    params = network.init(jax.random.key(1))
    inputs = jax.vmap(lambda observation: make_inputs(observation, config.model, config.physics))(scene.observation)
    emitted = network.apply(params, inputs.features)
    weights = loss_settings(config.loss)
    labels = make_labels(scene, inputs.sample_factor)
    ours = total_loss(emitted, labels, weights, config.covariance, config.precision)

    theirs = baseline.Trainer(config, params, eager())
    total, _ = theirs.loss(tensors)
    total.backward()
    assert total.dtype == torch.float32, "the loss runs in full precision"
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in theirs.network.parameters())
    features, _ = baseline.make_inputs(tensors, config.model, config.physics)
    with torch.autocast("cpu", dtype=getattr(torch, compute)):
        parts = theirs.network(features)
    assert {part.dtype for part in parts} == {getattr(torch, compute)}
    # A dozen roundings in a row, each of half an eps, in each of the two frameworks.
    rounding = 2 * 12**0.5 * float(jnp.finfo(compute).eps)
    for part, other in zip(emitted.factor, parts, strict=True):
        assert 0 < error(part, other.detach().float().numpy()) < rounding
    assert error(ours.total, total.item()) < rounding
