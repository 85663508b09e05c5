"""The NaN map: which combination of network dtype, casts, gradient rule and loading trains, and which is NaN.

    python benchmarks/nan_map.py                       # about two minutes on two cores

One projector loss ||P(R_pred) - P_label||^2 of a predicted factor A (N = 36, 5 columns), R_pred = A A^H N / tr +
loading I, over network dtype x cast before the loss x gradient rule x loading x scene, in JAX and, where installed,
in PyTorch:

* compute: the dtype in which the network emitted the real and imaginary parts of A;
* cast: "none", predictions and labels are in the compute dtype; "predictions" alone are brought to full precision, the
  labels still are half; "both", the labels are in full precision too;
* rule: the library's own eigh, its own svd, or ours (`risjax.linalg`: normalise_trace, then signal_projector).

Each cell is finite (with its error relative to the exact gradient in float64 at the same, rounded prediction and the
exact label, where the projector is differentiable there), NaN, or raises. Writes nan_map.json and nan_map.png beside
this file.
"""

import risjax  # noqa: F401  isort: skip  (before jax: it sets the environment)

import functools
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from picture import draw_nan_map

from risjax.linalg import normalise_trace, signal_projector

try:
    import torch
except ImportError:
    torch = None

SIZE, RANK = 36, 5
COMPUTE = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
CASTS = ["none", "predictions", "both"]
LOADINGS = [0.0, 1e-4, 1e-2, 1.0]
CUTS = {
    "healthy": 5,
    "K = 1": 1,
    "two equal sources": 5,
    "all-zero prediction": 5,
    "rank 3, cut 5": 5,
    "R = identity": 5,
    "near-far 60 dB": 5,
}
NO_EXACT_GRADIENT = ("all-zero prediction", "rank 3, cut 5", "R = identity")
"""The cut falls among equal eigenvalues (or R is not defined at all): the projector is not differentiable there."""


def complex_normal(seed, *shape):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def prediction(scene):
    """A, before rounding to the compute dtype, and (for R = identity alone) as many columns as elements."""
    factor = complex_normal(1, SIZE, RANK) * np.array([1.3, 1.1, 1.0, 0.8, 0.6]) / np.sqrt(2)
    match scene:
        case "K = 1":
            factor[:, 1:] *= 0.2
        case "two equal sources":  # disjoint supports, equal entries: their eigenvalues are the same number
            factor[:, 1] = np.roll(np.where(np.arange(SIZE) < 12, factor[:, 0], 0), 12)
            factor[12:, 0] = 0
            factor[:24, 2:] = 0
        case "all-zero prediction":
            factor[:] = 0
        case "rank 3, cut 5":
            factor[:, 3:] = 0
        case "R = identity":
            factor = np.eye(SIZE, dtype=complex)
        case "near-far 60 dB":
            factor[:, 1:] *= 1e-3
    return factor


LABEL = (lambda q: q @ q.conj().T)(np.linalg.qr(complex_normal(2, SIZE, RANK))[0])


def exact(parts, cut, loading):
    """The gradient in float64 with respect to (Re A, Im A), through the resolvent formula and the trace's quotient."""
    factor = parts[0].astype(float) + 1j * parts[1].astype(float)
    trace = np.sum(np.abs(factor) ** 2)
    matrix = factor @ factor.conj().T * SIZE / trace + loading * np.eye(SIZE)
    values, vectors = np.linalg.eigh(matrix)
    signal, noise = vectors[:, -cut:], vectors[:, :-cut]
    inner = signal.conj().T @ (signal @ signal.conj().T - LABEL) @ noise / (values[-cut:, None] - values[None, :-cut])
    half = signal @ inner @ noise.conj().T
    slope = 2 * (half + half.conj().T)  # d loss = Re tr(slope dR)
    through_factor = 2 * slope @ factor * SIZE / trace
    radial = -np.trace(slope @ factor @ factor.conj().T).real * SIZE / trace**2
    gradient = through_factor + 2 * radial * factor
    return np.stack([gradient.real, gradient.imag])


def outcome(gradient, reference):
    if not np.isfinite(gradient).all():
        return {"outcome": "nan", "error": None}
    if reference is None:
        return {"outcome": "finite", "error": None}
    return {"outcome": "finite", "error": float(np.linalg.norm(gradient - reference) / np.linalg.norm(reference))}


def jax_loss(parts, label, loading, *, cut, rule):
    factor = jax.lax.complex(parts[0], parts[1])  # raises in half precision: there is no complex32 in jax
    target = label[0] + 1j * label[1]  # promotes a half label to complex64, its rounding and all
    if rule == "ours":
        factor = normalise_trace(factor)
        matrix = factor @ factor.conj().T + loading * jnp.eye(SIZE)
        projector = signal_projector(matrix, cut)
    else:
        matrix = factor @ factor.conj().T
        matrix = matrix * (SIZE / jnp.trace(matrix).real) + loading * jnp.eye(SIZE)
        decompose = {"eigh": lambda m: jnp.linalg.eigh(m)[1][:, -cut:], "svd": lambda m: jnp.linalg.svd(m)[0][:, :cut]}
        vectors = decompose[rule](matrix)
        projector = vectors @ vectors.conj().T
    difference = projector - target
    return jnp.sum(difference.real**2 + difference.imag**2)


def torch_loss(parts, label, loading, *, cut, rule):
    factor = torch.complex(parts[0], parts[1])  # complex32 in float16
    target = torch.complex(label[0], label[1]) if label.dtype != torch.bfloat16 else label[0] + 1j * label[1]
    matrix = factor @ factor.conj().T
    matrix = matrix * (SIZE / torch.trace(matrix).real) + loading * torch.eye(SIZE)
    vectors = torch.linalg.eigh(matrix)[1][:, -cut:] if rule == "eigh" else torch.linalg.svd(matrix)[0][:, :cut]
    return ((vectors @ vectors.conj().T - target).abs() ** 2).sum()


@functools.cache
def gradient_jax(cut, rule):
    return jax.jit(jax.grad(functools.partial(jax_loss, cut=cut, rule=rule)))


def run_jax(parts, label, loading, *, cut, rule):
    with jax.default_matmul_precision("highest"):
        gradient = gradient_jax(cut, rule)(jnp.asarray(parts), jnp.asarray(label), jnp.float32(loading))
    return np.asarray(gradient.astype(jnp.float32), float)


def run_torch(parts, label, loading, *, cut, rule):
    parts, label = (
        torch.tensor(array.astype(np.float32)).to(getattr(torch, str(array.dtype))) for array in (parts, label)
    )
    parts.requires_grad_(True)
    torch_loss(parts, label, loading, cut=cut, rule=rule).backward()
    return parts.grad.float().numpy().astype(float)


def main():
    libraries = {"JAX": (run_jax, ["eigh", "svd", "ours"])}
    if torch is not None:
        libraries["PyTorch"] = (run_torch, ["eigh", "svd"])
    cells, refusals = [], set()
    for library, (run, rules) in libraries.items():
        for rule, cast, (compute, dtype) in itertools.product(rules, CASTS, COMPUTE.items()):
            label = np.stack([LABEL.real, LABEL.imag]).astype(np.float32 if cast == "both" else dtype)
            for scene, loading in itertools.product(CUTS, LOADINGS):
                factor = prediction(scene)
                parts = np.stack([factor.real, factor.imag]).astype(dtype)
                if cast != "none":
                    parts = parts.astype(np.float32)
                reference = None if scene in NO_EXACT_GRADIENT else exact(parts, CUTS[scene], loading)
                try:
                    gradient = run(parts, label, loading, cut=CUTS[scene], rule=rule)
                except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
                    cell = {"outcome": "raises", "error": None}
                    refusals.add(f"{library} {rule}, {cast}: {str(error).splitlines()[0][:120]}")
                else:
                    cell = outcome(gradient, reference)
                where = {"library": library, "rule": rule, "cast": cast, "compute": compute}
                cells.append({**where, "scene": scene, "loading": loading, **cell})
    results = {
        "versions": {"jax": jax.__version__, "torch": torch and torch.__version__},
        "size": SIZE,
        "scenes": list(CUTS),
        "loadings": LOADINGS,
        "refusals": sorted(refusals),
        "cells": cells,
    }
    here = Path(__file__).with_suffix("")
    here.with_suffix(".json").write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n")
    draw_nan_map(results, here.with_suffix(".png"))
    for library, rule in dict.fromkeys((c["library"], c["rule"]) for c in cells):
        both = [c for c in cells if (c["library"], c["rule"], c["cast"]) == (library, rule, "both")]
        counts = {kind: sum(c["outcome"] == kind for c in both) for kind in ("finite", "nan", "raises")}
        print(f"{library:8s} {rule:5s} predictions and labels cast: {counts} of {len(both)}")


if __name__ == "__main__":
    main()
