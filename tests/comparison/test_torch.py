"""risjax against PyTorch: same weights, same batch; outputs, loss terms, gradients and optimizer steps agree."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from risjax.config import ArrayConfig, CovarianceConfig, ModelConfig, PrecisionConfig
from risjax.covariance import dense, effective_covariance
from risjax.loss import covariance_nmse, projector_distance, total_loss
from risjax.loss.total import Labels
from risjax.model import Features, build
from risjax.train.optimizer import make_optimizer
from risjax.train.settings import make_settings
from risjax.types import LowRankCovariance, PackedComplex
from tests.tiny import tiny_config

torch = pytest.importorskip("torch", reason="comparing with PyTorch needs it: pip install -e '.[torch]'")

from tests.comparison import reference  # noqa: E402

SIDE, PATCH, HEADS, BATCH, K = 4, 2, 2, 3, 2
ARRAY = ArrayConfig(num_horizontal=SIDE, num_vertical=SIDE)
MODEL = ModelConfig(width=16, layers=2, heads=HEADS, patch=PATCH, rank=4)
COVARIANCE = CovarianceConfig(blend=0.2, shrinkage=0.1, loading=1e-3)
WEIGHTS = {"covariance": 1.0, "projector": 0.5}

# The rounding of a product of a hundred terms, through two blocks and back.
FLOAT32 = {"rtol": 2e-4, "atol": 2e-5}
# Our derivative broadens gaps across the cut: relative bias (tau / gap)^2 = 1e-8 for gaps of one.
FLOAT64 = {"rtol": 1e-6, "atol": 1e-8}


def random(seed: int, *shape: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def random_complex(seed: int, *shape: int, dtype: str) -> np.ndarray:
    return random(seed, *shape, dtype=dtype) + 1j * random(seed + 1, *shape, dtype=dtype)


def a_batch(dtype: str) -> tuple[Features, Labels]:
    channels = 2 * (1 + len(MODEL.extra_regularisation))
    features = Features(random(0, BATCH, SIDE**2, channels, dtype=dtype), random(1, BATCH, 2, dtype=dtype))
    labels = Labels(
        factor=random_complex(2, BATCH, SIDE**2, K, dtype=dtype),
        num_sources=np.full(BATCH, K, np.int32),
        sample=random_complex(4, BATCH, SIDE**2, 1, dtype=dtype),
    )
    return jax.tree.map(jnp.asarray, features), jax.tree.map(jnp.asarray, labels)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", FLOAT32), ("float64", FLOAT64)])
def test_network_loss_terms_and_every_gradient_leaf_agree(dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        precision = PrecisionConfig(params=dtype, compute=dtype, output=dtype)
        network = build(ARRAY, MODEL, precision)
        params, (features, labels) = network.init(jax.random.key(0)), a_batch(dtype)

        def objective(params):
            prediction = network.apply(params, features)
            loss = total_loss(prediction, labels, WEIGHTS, COVARIANCE, precision)
            return loss.total, (prediction, loss.terms)

        gradient, (prediction, terms) = jax.jit(jax.grad(objective, has_aux=True))(params)

        theirs = reference.to_torch(params)
        elements, context = (torch.tensor(np.asarray(leaf)) for leaf in features)
        factor = reference.network(theirs, elements, context, side=SIDE, patch=PATCH, heads=HEADS)
        label, sample = torch.tensor(np.asarray(labels.factor)), torch.tensor(np.asarray(labels.sample))
        effective = reference.effective_covariance(factor, sample, **COVARIANCE.model_dump())
        nmse = reference.covariance_nmse(factor, label)
        projector = reference.projector_distance(effective, label, K)
        (nmse.mean() + 0.5 * projector.mean()).backward()

        np.testing.assert_allclose(
            jax.lax.complex(*prediction.factor), factor.detach().numpy(), **tolerance, err_msg="prediction"
        )
        np.testing.assert_allclose(terms["covariance"], nmse.detach().numpy(), **tolerance)
        np.testing.assert_allclose(terms["projector"], projector.detach().numpy(), **tolerance)
        for (path, ours), leaf in zip(jax.tree.leaves_with_path(gradient), reference.leaves(theirs), strict=True):
            np.testing.assert_allclose(ours, leaf.grad.numpy(), **tolerance, err_msg=jax.tree_util.keystr(path))


def test_effective_covariance_agrees():
    factor, sample = random_complex(0, 16, 4, dtype="float32"), random_complex(2, 16, 1, dtype="float32")
    ours = dense(effective_covariance(jnp.asarray(factor), jnp.asarray(sample), COVARIANCE))
    theirs = reference.effective_covariance(torch.tensor(factor), torch.tensor(sample), **COVARIANCE.model_dump())
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_ten_optimizer_steps_agree_in_float64():
    with jax.enable_x64(True):
        config = tiny_config(precision__params="float64", train__weight_decay=0.1, train__clip_norm=0.5)
        settings, total, warmup = make_settings(config), 12, 1
        matrix, vector = random(0, 4, 3, dtype="float64"), random(1, 3, dtype="float64")
        ours = {"matrix": jnp.asarray(matrix), "vector": jnp.asarray(vector)}
        optimizer = make_optimizer("adamw", settings)
        state = optimizer.init(ours)
        theirs = [torch.tensor(matrix, requires_grad=True), torch.tensor(vector, requires_grad=True)]
        torch_optimizer = torch.optim.AdamW(
            [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}],
            lr=config.train.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            torch_optimizer,
            lambda step: reference.learning_rate_share(step, total, warmup, config.train.final_learning_rate_fraction),
        )
        for step in range(10):
            gradient = [random(10 + step, 4, 3, dtype="float64"), random(30 + step, 3, dtype="float64")]
            updates, state = optimizer.update({"matrix": gradient[0], "vector": gradient[1]}, state, ours)
            ours = optax.apply_updates(ours, updates)
            for parameter, value in zip(theirs, gradient, strict=True):
                parameter.grad = torch.tensor(value)
            torch.nn.utils.clip_grad_norm_(theirs, 0.5)
            torch_optimizer.step()
            schedule.step()
        np.testing.assert_allclose(ours["matrix"], theirs[0].detach().numpy(), rtol=1e-6)
        np.testing.assert_allclose(ours["vector"], theirs[1].detach().numpy(), rtol=1e-6)


def test_where_pytorchs_gradient_is_nan_ours_is_finite_and_right():
    """Orthonormal columns: repeated eigenvalues on both sides of the cut, the built-in rule divides by zero."""
    factor = np.zeros((16, 4), np.complex64)
    factor[range(4), range(4)] = [3.0, 2.0, 1.0, 1.0]
    label = random_complex(2, 16, K, dtype="float32")

    theirs = torch.tensor(factor, requires_grad=True)
    loaded = theirs @ theirs.mH + torch.eye(16, dtype=theirs.dtype)
    reference.projector_distance(loaded, torch.tensor(label), K).backward()
    assert not bool(torch.isfinite(torch.view_as_real(theirs.grad)).all())

    def distance(packed: PackedComplex, target: jax.Array) -> jax.Array:
        covariance = LowRankCovariance(jax.lax.complex(*packed), jnp.ones((), packed.real.dtype))
        return projector_distance(covariance, target, jnp.asarray(K))

    ours = jax.grad(distance)(PackedComplex(jnp.asarray(factor.real), jnp.asarray(factor.imag)), jnp.asarray(label))
    assert np.isfinite(np.stack(ours)).all()
    with jax.enable_x64(True):
        wide, target, step = factor.astype(np.complex128), jnp.asarray(label.astype(np.complex128)), 1e-6
        direction = random(7, 16, 4, dtype="float64")
        value = [
            distance(PackedComplex(jnp.asarray(wide.real + sign * step * direction), jnp.asarray(wide.imag)), target)
            for sign in (1, -1)
        ]
        numeric = float((value[0] - value[1]) / (2 * step))
    np.testing.assert_allclose(np.sum(np.asarray(ours.real) * direction), numeric, rtol=1e-3)


def test_type_promotion_is_what_the_documentation_says():
    """Neither framework lets a half-precision operand narrow a wider one; torch.matmul refuses to mix."""
    assert torch.promote_types(torch.float32, torch.float16) == torch.float32
    assert jnp.promote_types(jnp.float32, jnp.float16) == jnp.float32
    assert torch.promote_types(torch.complex64, torch.float16) == torch.complex64
    assert jnp.promote_types(jnp.complex64, jnp.float16) == jnp.complex64
    with pytest.raises(RuntimeError, match="dtype"):
        torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.float16)


def test_nmse_of_a_prediction_agrees():
    factor, label = random_complex(0, 16, 4, dtype="float32"), random_complex(2, 16, K, dtype="float32")
    theirs = reference.covariance_nmse(torch.tensor(factor), torch.tensor(label))
    np.testing.assert_allclose(covariance_nmse(jnp.asarray(factor), jnp.asarray(label)), theirs.numpy(), rtol=1e-5)
