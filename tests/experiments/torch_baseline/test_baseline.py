"""The baseline by itself: weights crossing over, its data, the failures it reproduces, and its repair."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch baseline needs it: pip install -e '.[torch]'")

from risjax.config.io import apply_overrides  # noqa: E402
from risjax.experiments import torch_baseline as baseline  # noqa: E402
from risjax.experiments.torch_baseline.casting import Packed, join, narrow  # noqa: E402
from risjax.experiments.torch_baseline.runtime import set_matmul_precision  # noqa: E402
from risjax.model import build  # noqa: E402
from tests.experiments.torch_baseline.parity import configuration, eager, gradients, same_scenes  # noqa: E402

HALF_COMPLEX = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
EPS = 1e-6
"""Step of the finite differences, in float64."""


@pytest.mark.parametrize("encoder", ["backprojection", "minimum_norm", "snapshots"])
def test_weights_cross_over_and_come_back(encoder):
    config = configuration("float32", encoder)
    params = build(config.physics.array, config.model, config.precision).init(jax.random.key(0))
    network = baseline.build_network(config.physics.array, config.model)
    network.load_state_dict(baseline.to_torch(params), strict=True)
    back = baseline.to_flax(network.state_dict())
    jax.tree.map(np.testing.assert_array_equal, params, back)  # of one structure, too
    again = baseline.to_torch(back)
    assert again.keys() == network.state_dict().keys()
    assert all(torch.equal(again[name], leaf) for name, leaf in network.state_dict().items())
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    jax.tree.map(np.testing.assert_array_equal, params, back)  # copies, not views


def test_the_loader_hands_out_whole_batches_in_order_and_features_made_ahead():
    config, _, tensors = same_scenes(configuration("float32"))
    scenes = baseline.MadeScenes(tensors)
    batches = list(baseline.make_loader(scenes, 2))
    assert len(batches) == 2
    assert torch.equal(torch.cat([batch["snapshots"] for batch in batches]), tensors["snapshots"])
    trainer = baseline.Trainer(config, options=eager())
    ahead = next(iter(baseline.make_loader(scenes.with_features(config.model, config.physics, batch_size=3), 4)))
    torch.testing.assert_close(trainer.loss(ahead)[0], trainer.loss(tensors)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="scenes lack label_factor"):
        baseline.MadeScenes({name: tensors[name] for name in ("snapshots", "channel", "codes", "num_sources")})


@HALF_COMPLEX
def test_the_upcast_takes_whole_dictionaries_and_never_narrows():
    tree = {"factor": torch.ones(3, dtype=torch.complex64), "weight": torch.ones(2), "count": torch.ones(1).int()}
    for half in (torch.float16, torch.bfloat16):
        narrowed = narrow(tree, half)
        assert isinstance(narrowed["factor"], Packed)
        assert narrowed["weight"].dtype == half
        back = baseline.upcast({"labels": narrowed})["labels"]
        assert {name: leaf.dtype for name, leaf in back.items()} == {name: leaf.dtype for name, leaf in tree.items()}
    assert baseline.upcast(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert join(narrow(tree, torch.float16)["factor"]).dtype == torch.complex32


@HALF_COMPLEX
def test_with_loading_one_the_builtin_gradient_is_nan_and_no_cast_helps_but_the_rule_does():
    """`loss finite, gradients NaN`: the original's log, reproduced; predictions and labels are in full precision."""
    overrides = {"covariance__loading": 1.0, "precision__compute": "float16"}
    config, _, tensors = same_scenes(configuration("float32", **overrides))
    for cast in ("predictions", "both"):
        broken = baseline.Trainer(config, options=eager(cast=cast, rule="builtin"))
        report = broken.step(tensors)
        assert np.isfinite(report.loss)
        assert np.isnan(report.grad_norm)
        assert not report.finite
        assert (broken.applied, broken.skipped) == (0, 1)
    with pytest.raises(RuntimeError):  # complex32 has no matrix product
        baseline.Trainer(config, options=eager(cast="none", rule="builtin")).step(tensors)
    for rule in ("low_rank", "dense"):
        repaired = baseline.Trainer(config, options=eager(rule=rule))
        repaired.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        assert repaired.step(tensors).finite


def test_without_the_skip_a_nan_step_poisons_every_parameter():
    config, _, tensors = same_scenes(configuration("float32", covariance__loading=1.0))
    trainer = baseline.Trainer(config, options=eager(rule="builtin", skip_nonfinite=False))
    trainer.step(tensors)
    assert all(torch.isnan(p).any() for p in trainer.network.parameters())


@pytest.mark.parametrize("kind", ["generic", "two equal columns", "zero columns", "all zero", "rank below K"])
def test_the_repaired_rules_are_the_derivative_wherever_there_is_one(kind):
    generator = torch.Generator().manual_seed(3)
    factor = torch.randn(2, 12, 4, dtype=torch.complex128, generator=generator)
    label = torch.randn(2, 12, 3, dtype=torch.complex128, generator=generator)
    direction = torch.randn(2, 12, 4, dtype=torch.complex128, generator=generator)
    count = torch.tensor([2, 3])
    match kind:
        case "two equal columns":
            factor[:, :, 1] = factor[:, :, 0]
        case "zero columns":
            factor[:, :, 3] = 0
        case "all zero":
            factor[:] = 0
        case "rank below K":
            factor[:, :, 1:] = 0

    def overlap(factor):
        return baseline.signal_overlap(factor, label, count).sum()

    def dense(factor):
        predicted = baseline.signal_projector(factor @ factor.mH, count, max_sources=3)
        true = baseline.signal_projector(label @ label.mH, count, max_sources=3)
        return (predicted * true.mT).sum().real

    for value in (overlap, dense):
        leaf = factor.clone().requires_grad_(True)
        value(leaf).backward()
        assert torch.isfinite(torch.view_as_real(leaf.grad)).all()
        if kind in ("generic", "two equal columns", "zero columns"):
            numeric = (value(factor + EPS * direction) - value(factor - EPS * direction)) / (2 * EPS)
            # Second-order differences leave EPS^2; the broadening (tau / gap)^2; gaps here are larger than 1.
            torch.testing.assert_close((leaf.grad.conj() * direction).sum().real, numeric, rtol=1e-5, atol=1e-7)


def test_a_scene_that_is_not_finite_is_nan_and_spares_its_neighbours():
    factor = torch.randn(3, 6, 3, dtype=torch.complex64)
    factor[1, 0, 0] = torch.nan
    overlap = baseline.signal_overlap(factor, torch.randn(3, 6, 2, dtype=torch.complex64), torch.tensor([1, 2, 2]))
    assert torch.isfinite(overlap).tolist() == [True, False, True]


def test_a_failing_compiler_is_reported_and_training_continues(monkeypatch):
    def broken(network, **_):
        def call(*_):
            raise RuntimeError("no C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    config, _, tensors = same_scenes(configuration("float32"))
    trainer = baseline.Trainer(config)
    with pytest.warns(UserWarning, match="runs eagerly and slower: RuntimeError: no C"):
        assert trainer.step(tensors).finite
    assert trainer.compilation is not None
    assert (trainer.compilation["compiled"], trainer.compilation["reason"]) == (
        False,
        "RuntimeError: no C++ compiler found",
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # inductor's own
def test_the_compiled_network_gives_the_eager_ones_gradients():
    config, _, tensors = same_scenes(configuration("float32"))
    compiled, plain = baseline.Trainer(config), baseline.Trainer(config, options=eager())
    plain.network.load_state_dict(compiled.network.state_dict())
    for trainer in (compiled, plain):
        trainer.loss(tensors)[0].backward()
    if compiled.compilation is None or not compiled.compilation["compiled"]:
        pytest.skip(f"torch.compile does not work here: {compiled.compilation}")
    by_compiled, by_plain = gradients(compiled.network), gradients(plain.network)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), by_compiled, by_plain)


def test_settings_without_a_counterpart_are_refused():
    with pytest.raises(ValueError, match="no matmul precision like 'high'"):
        set_matmul_precision("high")


def test_type_promotion_agrees_with_the_documentation():
    """Neither framework lets a half-precision operand narrow a wider one; torch.matmul refuses to mix."""
    assert torch.promote_types(torch.float32, torch.float16) == torch.float32
    assert jax.numpy.promote_types("float32", "float16") == jax.numpy.float32
    assert torch.promote_types(torch.complex64, torch.float16) == torch.complex64
    assert jax.numpy.promote_types("complex64", "float16") == jax.numpy.complex64
    with pytest.raises(RuntimeError, match="dtype"):
        torch.matmul(torch.ones(2, 2), torch.ones(2, 2, dtype=torch.float16))


def test_a_batch_in_parts_is_the_step_of_the_whole():
    """As in risjax: `train.accumulation` parts make one gradient."""
    config, _, tensors = same_scenes(configuration("float32"))
    in_parts = apply_overrides(config, {"train.accumulation": 2})
    params = build(config.physics.array, config.model, config.precision).init(jax.random.key(0))
    whole, divided = (baseline.Trainer(each, params, options=eager()) for each in (config, in_parts))
    for _ in range(2):
        expected, found = whole.step(tensors), divided.step(tensors)
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.terms == pytest.approx(expected.terms, rel=1e-5)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
