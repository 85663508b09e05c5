"""Error of the gradient of a projector loss: built-in eigh of JAX and PyTorch against the rule of risjax.

    python benchmarks/projector_gradient.py            # about two minutes on two cores
    python benchmarks/projector_gradient.py times      # the times alone, the rest of the JSON kept

Three experiments on ||P(R) - P_0||^2 for R of size 144 with 5 signal eigenvalues, errors relative to the exact gradient
in complex128 (the resolvent formula, no eigenvector derivative in it):

* inside: the relative spacing of the signal eigenvalues goes from 1e-1 to 0, at three loadings;
* across: the relative gap between the 5th and the 6th eigenvalue goes from 1 to 0;
* random: share of random draws R = A A^H N / tr + loading I whose built-in gradient is NaN;

and one of time: value and gradient at batch 64. Writes projector_gradient.json and .png beside this file.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import json
import platform
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from picture import draw_projector_gradient

from risjax.linalg import (
    LowRankCovariance,
    low_rank_signal_projector,
    normalise_trace,
    signal_overlap,
    signal_projector,
)
from risjax.linalg.hermitian import TAU

try:
    import torch
except ImportError:
    torch = None

SIZE, RANK, BATCH = 144, 5, 64
SPACINGS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 0.0]
GAPS = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0]
LOADINGS = [1e-4, 1e-2, 1.0]
DRAW_LOADINGS = [1e-5, 1e-4, 1e-3, 1e-2, 1.0]
DRAWS = 20

rng = np.random.default_rng(0)


def complex_normal(*shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


UNITARY = np.linalg.qr(complex_normal(SIZE, SIZE))[0]
TARGET = (lambda q: q @ q.conj().T)(np.linalg.qr(UNITARY[:, :RANK] + 0.5 * complex_normal(SIZE, RANK) / 12)[0])


def with_eigenvalues(values):
    matrix = (UNITARY * values) @ UNITARY.conj().T
    return (matrix + matrix.conj().T) / 2


def exact_gradient(values):
    """jax's convention (the conjugate of steepest ascent) for R = U diag(values) U^H, values descending."""
    signal, noise = UNITARY[:, :RANK], UNITARY[:, RANK:]
    difference = signal @ signal.conj().T - TARGET
    inner = (signal.conj().T @ difference @ noise) / (values[:RANK, None] - values[None, RANK:])
    half = signal @ inner @ noise.conj().T
    return 2 * (half + half.conj().T).conj()


def loss_ours(matrix, target):
    return jnp.sum(jnp.abs(signal_projector(matrix, RANK) - target) ** 2)


def loss_builtin(matrix, target):
    vectors = jnp.linalg.eigh(matrix)[1][:, -RANK:]
    return jnp.sum(jnp.abs(jnp.matmul(vectors, vectors.conj().T, precision="highest") - target) ** 2)


def gradient_jax(loss):
    gradient = jax.jit(jax.grad(loss))

    def run(matrix):
        result = np.asarray(gradient(jnp.asarray(matrix), jnp.asarray(TARGET.astype(matrix.dtype))))
        return (result + result.conj().T) / 2

    return run


def gradient_torch(decompose):
    def run(matrix):
        leaf = torch.tensor(matrix, requires_grad=True)
        vectors = decompose(leaf)
        difference = vectors @ vectors.conj().T - torch.tensor(TARGET.astype(matrix.dtype))
        try:
            (difference.abs() ** 2).sum().backward()
        except RuntimeError:  # svd refuses what it calls ill-defined
            return np.full_like(matrix, np.nan)
        result = leaf.grad.numpy().conj()
        return (result + result.conj().T) / 2

    return run


METHODS = {"risjax": gradient_jax(loss_ours), "jax eigh": gradient_jax(loss_builtin)}
if torch is not None:
    METHODS["torch eigh"] = gradient_torch(lambda m: torch.linalg.eigh(m)[1][:, -RANK:])
    METHODS["torch svd"] = gradient_torch(lambda m: torch.linalg.svd(m)[0][:, :RANK])


def error(gradient, exact):
    """Relative error; None (null in JSON) stands for NaN or infinity anywhere."""
    return float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact)) if np.isfinite(gradient).all() else None


def inside(dtype):
    rows = []
    for loading in LOADINGS:
        for spacing in SPACINGS:
            values = np.r_[SIZE / RANK * (1 - spacing * np.arange(RANK)), np.zeros(SIZE - RANK)] + loading
            matrix = with_eigenvalues(values).astype(dtype)
            errors = {name: error(run(matrix), exact_gradient(values)) for name, run in METHODS.items()}
            rows.append({"loading": loading, "spacing": spacing, **errors})
    return rows


def across(dtype):
    rows = []
    for gap in GAPS:
        fifth = 20.0
        values = np.r_[32.0, 30.0, 27.0, 24.0, fifth, fifth * (1 - gap), np.full(SIZE - RANK - 1, 0.01)]
        matrix = with_eigenvalues(values).astype(dtype)
        bias = TAU**2 / ((fifth * gap) ** 2 + TAU**2)
        row = {"gap": gap, "bias of the broadening": bias}
        for name, run in METHODS.items():
            gradient = run(matrix)
            row[f"{name} finite"] = bool(np.isfinite(gradient).all())
            row[name] = error(gradient, exact_gradient(values)) if gap > 0 else None
        rows.append(row)
    return rows


def random_draws(dtype):
    rows = []
    for loading in DRAW_LOADINGS:
        counts = dict.fromkeys(METHODS, 0)
        for _ in range(DRAWS):
            factor = complex_normal(SIZE, RANK)
            matrix = factor @ factor.conj().T
            matrix = matrix * SIZE / np.trace(matrix).real + loading * np.eye(SIZE)
            for name, run in METHODS.items():
                counts[name] += not np.isfinite(run(matrix.astype(dtype))).all()
        rows.append({"loading": loading, **{name: count / DRAWS for name, count in counts.items()}})
    return rows


def times(repetitions=9):
    """Time of value and gradient at batch 64, methods interleaved, and ratios to jax's own eigh.

    Ratios are medians over visits that lie beside each other; the least times and processor time are for machines that
    have other work to do.
    """
    factors = jax.vmap(normalise_trace)(jnp.asarray(complex_normal(BATCH, SIZE, 9).astype(np.complex64)))
    labels = jax.vmap(normalise_trace)(jnp.asarray(complex_normal(BATCH, SIZE, RANK).astype(np.complex64)))
    loading = jnp.full(BATCH, 1e-3, jnp.float32)
    projectors = jax.vmap(lambda f: low_rank_signal_projector(LowRankCovariance(f, jnp.float32(1e-3)), RANK))(labels)
    matrices = jnp.einsum("bir,bjr->bij", factors, factors.conj()) + 1e-3 * jnp.eye(SIZE)[None]
    target = jnp.asarray(TARGET.astype(np.complex64))

    def mean_over(loss):
        return jax.jit(jax.value_and_grad(lambda x, *rest: jnp.mean(jax.vmap(loss)(x, *rest))))

    def gram_projector(factor, projector, delta):
        predicted = low_rank_signal_projector(LowRankCovariance(factor, delta), RANK)
        return jnp.real(jnp.vdot(projector, predicted))

    def gram_overlap(factor, label, delta):
        return signal_overlap(LowRankCovariance(factor, delta), LowRankCovariance(label, delta), RANK)

    def loss_unbounded(matrix):
        return jnp.sum(jnp.abs(signal_projector(matrix, jnp.asarray(RANK)) - target) ** 2)

    runs = {
        "jax eigh 144x144": (mean_over(lambda m: loss_builtin(m, target)), (matrices,)),
        "risjax 144x144": (mean_over(lambda m: loss_ours(m, target)), (matrices,)),
        "risjax 144x144, no static bound of K": (mean_over(loss_unbounded), (matrices,)),
        "risjax Gram, projector": (mean_over(gram_projector), (factors, projectors, loading)),
        "risjax Gram, overlap": (mean_over(gram_overlap), (factors, labels, loading)),
    }
    calls = {}
    for name, (run, inputs) in runs.items():  # compiles; then as many calls a visit as fill a tenth of a second
        jax.block_until_ready(run(*inputs))
        started = time.perf_counter()
        jax.block_until_ready(run(*inputs))
        calls[name] = max(1, round(0.1 / (time.perf_counter() - started)))
    clock, processor = ({name: [] for name in runs} for _ in range(2))
    for _ in range(repetitions):
        for name, (run, inputs) in runs.items():
            started, used = time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                jax.block_until_ready(run(*inputs))
            clock[name].append((time.perf_counter() - started) / calls[name])
            processor[name].append((time.process_time() - used) / calls[name])
    reference = {"clock": clock["jax eigh 144x144"], "processor": processor["jax eigh 144x144"]}
    return [
        {
            "method": name,
            "milliseconds": 1e3 * float(np.median(clock[name])),
            "least milliseconds": 1e3 * min(clock[name]),
            "processor milliseconds": 1e3 * float(np.median(processor[name])),
            "times faster than jax eigh": float(np.median(np.divide(reference["clock"], clock[name]))),
            "times faster, least of each": min(reference["clock"]) / min(clock[name]),
            "times faster, processor time": float(np.median(np.divide(reference["processor"], processor[name]))),
        }
        for name in runs
    ]


def main(only_times):
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    here = Path(__file__).with_suffix("")
    if only_times:
        results = json.loads(here.with_suffix(".json").read_text()) | {"time, complex64": times()}
    else:
        results = experiments(f"{device.platform} {device.device_kind}")
    here.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    draw_projector_gradient(results, here.with_suffix(".png"))
    for row in results["time, complex64"]:
        print(row)


def experiments(device):
    return {
        "versions": {"jax": jax.__version__, "torch": torch and torch.__version__, "python": platform.python_version()},
        "device": device,
        "size": SIZE,
        "rank": RANK,
        "batch": BATCH,
        "draws": DRAWS,
        "tau": TAU,
        "inside": {dtype: inside(dtype) for dtype in ("complex64", "complex128")},
        "across": {dtype: across(dtype) for dtype in ("complex64", "complex128")},
        "random": {dtype: random_draws(dtype) for dtype in ("complex64", "complex128")},
        "time, complex64": times(),
    }


if __name__ == "__main__":
    main(only_times="times" in sys.argv[1:])
