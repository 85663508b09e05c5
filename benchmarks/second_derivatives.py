"""Errors of first and second derivatives of a subspace's distance: jnp.linalg.eigh, torch.linalg.eigh and risjax.

    python benchmarks/second_derivatives.py

Prints the table of docs/differentiable-subspaces.md: for each spectrum the relative errors of the first and of the
second derivative along a random direction, in float64, against perturbation theory with known eigenvectors.
Takes half a minute on two CPU cores.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

import risjax  # isort: split  # sets the environment before jax is imported
from risjax.linalg import signal_projector, subspace_distance

SIZE, CUT = 8, 3
SPECTRA = {
    "distinct eigenvalues": [3.0, 2.5, 2.0, 1.0, 0.7, 0.5, 0.3, 0.1],
    "1e-4 apart on one side": [3.0, 3.0 - 1e-4, 2.0, 1.0, 0.7, 0.5, 0.3, 0.1],
    "1e-8 apart on one side": [3.0, 3.0 - 1e-8, 2.0, 1.0, 0.7, 0.5, 0.3, 0.1],
    "equal on both sides": [3.0] * 3 + [1.0] * 5,
    "equal, gap of 0.3": [1.2] * 3 + [0.9] * 5,
    "equal, gap of 0.01": [1.01] * 3 + [1.0] * 5,
}

Derivatives = tuple[float, float]


def exact(vectors: np.ndarray, values: np.ndarray, change: np.ndarray, goal: np.ndarray) -> Derivatives:
    """Derivatives of ||P - goal||^2 / 2 along a change, from the eigenvectors that made the matrix."""
    rotated = vectors.T @ change @ vectors
    signal, noise = slice(None, CUT), slice(CUT, None)
    gaps = values[signal, None] - values[None, noise]
    x = rotated[signal, noise] / gaps
    first, second = np.zeros((2, SIZE, SIZE))
    first[signal, noise], first[noise, signal] = x, x.T
    across = 2 * (x @ rotated[noise, noise] - rotated[signal, signal] @ x) / gaps
    second[signal, noise], second[noise, signal] = across, across.T
    second[signal, signal], second[noise, noise] = -2 * x @ x.T, 2 * x.T @ x
    inner = vectors.T @ goal @ vectors
    return -float(np.sum(first * inner)), -float(np.sum(second * inner))


def by_jax(
    project: Callable[[jax.Array], jax.Array], matrix: np.ndarray, change: np.ndarray, goal: np.ndarray
) -> Derivatives:
    def along(step: jax.Array) -> jax.Array:
        return subspace_distance(project(jnp.asarray(matrix) + step * change), jnp.asarray(goal))

    derivative = jax.grad(along)
    return float(derivative(0.0)), float(jax.grad(derivative)(0.0))


def builtin_projector(matrix: jax.Array) -> jax.Array:
    vectors = jnp.linalg.eigh(matrix)[1][:, -CUT:]
    return vectors @ vectors.T


def by_torch(matrix: np.ndarray, change: np.ndarray, goal: np.ndarray) -> Derivatives:
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    vectors = torch.linalg.eigh(torch.from_numpy(matrix) + step * torch.from_numpy(change)).eigenvectors[:, -CUT:]
    distance = torch.sum((vectors @ vectors.T - torch.from_numpy(goal)) ** 2) / 2
    (first,) = torch.autograd.grad(distance, step, create_graph=True)
    (second,) = torch.autograd.grad(first, step)
    return first.item(), second.item()


def main() -> None:
    rng = np.random.default_rng(0)
    vectors, basis = (np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0] for _ in range(2))
    goal = basis[:, :CUT] @ basis[:, :CUT].T
    change = rng.normal(size=(SIZE, SIZE))
    change = change + change.T
    print(
        f"jax {jax.__version__}, torch {torch.__version__}, risjax {risjax.__version__}, float64, N = {SIZE}, k = {CUT}"
    )
    print("| spectrum | JAX `eigh` | PyTorch `eigh` | risjax |\n|---|---|---|---|")
    for name, spectrum in SPECTRA.items():
        values = np.array(spectrum)
        matrix = (vectors * values) @ vectors.T
        matrix = (matrix + matrix.T) / 2
        found = (
            by_jax(builtin_projector, matrix, change, goal),
            by_torch(matrix, change, goal),
            by_jax(lambda m: signal_projector(m, CUT), matrix, change, goal),
        )
        expected = exact(vectors, values, change, goal)
        cells = (" / ".join(_error(got, right) for got, right in zip(pair, expected, strict=True)) for pair in found)
        print(f"| {name} | {' | '.join(cells)} |")


def _error(got: float, right: float) -> str:
    return f"{abs(got - right) / abs(right):.0e}" if np.isfinite(got) else "NaN"


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
