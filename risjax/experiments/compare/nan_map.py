"""The NaN map: which combination of network dtype, casts, gradient rule and loading trains, and which is NaN.

One projector loss ||P(R_pred) - P_label||^2 of a predicted factor A (N = 36, 5 columns), R_pred = A A^H N / tr +
loading I, over network dtype x cast before the loss x gradient rule x loading x scene, in JAX and PyTorch:

* compute: the dtype in which the network emitted the real and imaginary parts of A;
* cast: "none", predictions and labels are in the compute dtype; "predictions" alone are brought to full precision, the
  labels remain half; "both", the labels are in full precision too;
* rule: the library's own eigh, its own svd, or ours (normalise_trace, then signal_projector: `risjax.linalg` in JAX,
  `risjax.experiments.torch_baseline` in PyTorch).

Each cell is finite (with its error relative to the exact gradient in float64 at the same, rounded prediction and the
exact label, where the projector is differentiable there), NaN, or raises.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Complex

from risjax.linalg import normalise_trace, signal_projector

SIZE, RANK = 36, 5
COMPUTE = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
CASTS = ("none", "predictions", "both")
RULES = ("eigh", "svd", "ours")
LOADINGS = (0.0, 1e-4, 1e-2, 1.0)
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

Cell = dict[str, Any]


def nan_map(
    libraries: Sequence[str] = ("JAX", "PyTorch"),
    *,
    scenes: Sequence[str] = tuple(CUTS),
    loadings: Sequence[float] = LOADINGS,
    on_cell: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the outcome of every cell; all of them take about two minutes of compiling on two cores.

    Args:
        libraries: ``JAX``, ``PyTorch`` (which needs the extra ``torch``).
        scenes: keys of `CUTS`.
        loadings: some of `LOADINGS`.
        on_cell: called with the number of completed cells.

    Returns:
        ``{"size", "scenes", "loadings", "refusals", "cells": [{library, rule, cast, compute, scene, loading, outcome,
        error}]}``.
    """
    cells, refusals = [], set()
    for library, rule, cast, compute in itertools.product(libraries, RULES, CASTS, COMPUTE):
        for scene, loading in itertools.product(scenes, loadings):
            cell = {"library": library, "rule": rule, "cast": cast, "compute": compute}
            try:
                found = _cell(library, rule, cast, compute, scene, loading)
            except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
                found = {"outcome": "raises", "error": None}
                refusals.add(f"{library} {rule}, {cast}: {str(error).splitlines()[0][:120]}")
            cells.append({**cell, "scene": scene, "loading": loading, **found})
        on_cell(len(scenes) * len(loadings))
    return {
        "size": SIZE,
        "scenes": list(scenes),
        "loadings": list(loadings),
        "refusals": sorted(refusals),
        "cells": cells,
    }


def counts(cells: Sequence[Cell]) -> dict[str, dict[str, int]]:
    """Count the outcomes with predictions and labels cast, ``{"JAX eigh": {finite, nan, raises}, ...}``."""
    both = [cell for cell in cells if cell["cast"] == "both"]
    names = dict.fromkeys(f"{cell['library']} {cell['rule']}" for cell in both)
    return {
        name: {
            kind: sum(f"{c['library']} {c['rule']}" == name and c["outcome"] == kind for c in both)
            for kind in ("finite", "nan", "raises")
        }
        for name in names
    }


def _cell(library: str, rule: str, cast: str, compute: str, scene: str, loading: float) -> Cell:
    dtype = COMPUTE[compute]
    label_dtype = "float32" if cast == "both" else compute
    label = np.stack([np.real(_LABEL), np.imag(_LABEL)]).astype(COMPUTE[label_dtype])
    factor = _prediction(scene)
    parts = np.stack([np.real(factor), np.imag(factor)]).astype(dtype)
    met = compute if cast == "none" else "float32"
    run = _run_jax if library == "JAX" else _run_torch
    gradient = run(parts.astype(COMPUTE[met]), label, loading, cut=CUTS[scene], rule=rule)
    reference = None if scene in NO_EXACT_GRADIENT else _exact(parts, CUTS[scene], loading)
    return _outcome(gradient, reference)


def _outcome(gradient: np.ndarray, reference: np.ndarray | None) -> Cell:
    if not np.isfinite(gradient).all():
        return {"outcome": "nan", "error": None}
    if reference is None:
        return {"outcome": "finite", "error": None}
    return {"outcome": "finite", "error": float(np.linalg.norm(gradient - reference) / np.linalg.norm(reference))}


def _run_jax(parts: np.ndarray, label: np.ndarray, loading: float, *, cut: int, rule: str) -> np.ndarray:
    with jax.default_matmul_precision("highest"):
        gradient = _jax_gradient(cut, rule)(jnp.asarray(parts), jnp.asarray(label), jnp.float32(loading))
    return np.asarray(gradient.astype(jnp.float32), float)


@functools.cache
def _jax_gradient(cut: int, rule: str) -> Callable[..., jax.Array]:
    return jax.jit(jax.grad(functools.partial(_jax_loss, cut=cut, rule=rule)))


def _jax_loss(parts: jax.Array, label: jax.Array, loading: jax.Array, *, cut: int, rule: str) -> jax.Array:
    factor = jax.lax.complex(parts[0], parts[1])  # raises in half precision: jax does not have complex32
    target = label[0] + 1j * label[1]  # promotes a half label to complex64, its rounding and all
    if rule == "ours":
        factor = normalise_trace(factor)
        matrix = factor @ factor.conj().T + loading * jnp.eye(SIZE)
        projector = signal_projector(matrix, cut)
    else:
        matrix = factor @ factor.conj().T
        matrix = matrix * (SIZE / jnp.trace(matrix).real) + loading * jnp.eye(SIZE)
        vectors = jnp.linalg.eigh(matrix)[1][:, -cut:] if rule == "eigh" else jnp.linalg.svd(matrix)[0][:, :cut]
        projector = vectors @ vectors.conj().T
    difference = projector - target
    return jnp.sum(difference.real**2 + difference.imag**2)


def _run_torch(parts: np.ndarray, label: np.ndarray, loading: float, *, cut: int, rule: str) -> np.ndarray:
    from risjax.experiments.torch_baseline.projector_gradient import gradient

    wide = parts.astype(np.float32), label.astype(np.float32)
    return gradient(*wide, loading, cut=cut, rule=rule, compute=str(parts.dtype), label_dtype=str(label.dtype))


def _complex_normal(seed: int, *shape: int) -> Complex[np.ndarray, "..."]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def _make_label() -> Complex[np.ndarray, "N N"]:
    basis = np.linalg.qr(_complex_normal(2, SIZE, RANK))[0]
    return basis @ basis.conj().T


_LABEL = _make_label()


def _prediction(scene: str) -> Complex[np.ndarray, "N columns"]:
    """A, before rounding to the compute dtype, and (for R = identity alone) as many columns as elements."""
    factor = _complex_normal(1, SIZE, RANK) * np.array([1.3, 1.1, 1.0, 0.8, 0.6]) / np.sqrt(2)
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


def _exact(parts: np.ndarray, cut: int, loading: float) -> np.ndarray:
    """The gradient in float64 with respect to (Re A, Im A), through the resolvent formula and the trace's quotient."""
    factor = parts[0].astype(float) + 1j * parts[1].astype(float)
    trace = np.sum(np.abs(factor) ** 2)
    matrix = factor @ factor.conj().T * SIZE / trace + loading * np.eye(SIZE)
    values, vectors = np.linalg.eigh(matrix)
    signal, noise = vectors[:, -cut:], vectors[:, :-cut]
    inner = signal.conj().T @ (signal @ signal.conj().T - _LABEL) @ noise / (values[-cut:, None] - values[None, :-cut])
    half = signal @ inner @ noise.conj().T
    slope = 2 * (half + half.conj().T)  # d loss = Re tr(slope dR)
    through_factor = 2 * slope @ factor * SIZE / trace
    radial = -np.trace(slope @ factor @ factor.conj().T).real * SIZE / trace**2
    gradient = through_factor + 2 * radial * factor
    return np.stack([gradient.real, gradient.imag])
