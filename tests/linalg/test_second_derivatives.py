"""Second derivatives of subspaces and of matrix functions against difference quotients, and at closed gaps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from risjax.linalg import signal_projector, soft_signal_projector, subspace_distance
from tests.linalg.reference import FINITE_DIFFERENCE_TOLERANCE, random_array, with_eigenvalues

CUT, STEP = 3, 1e-5
"""The step of the central differences, as in `tests.linalg.reference.directional_difference`."""

OPEN = {
    "distinct": [3.0, 2.5, 2.0, 1.0, 0.5, 0.2],
    "equal on both sides": [3.0, 3.0, 3.0, 1.0, 1.0, 1.0],
    "gap of 0.3": [1.1, 1.1, 1.1, 0.8, 0.8, 0.8],
    "indefinite": [3.0, 1.0, 1.0, -1.0, -2.0, -2.0],
}
CLOSED = {"identity": [1.0] * 6, "equal at the cut": [3.0, 2.0, 1.0, 1.0, 1.0, 0.0], "zero": [0.0] * 6}

FUNCTIONS = {
    "distance": lambda matrix, goal: subspace_distance(signal_projector(matrix, CUT), goal),
    "smallest": lambda matrix, goal: subspace_distance(signal_projector(matrix, CUT, which="smallest"), goal),
    "traced": lambda matrix, goal: subspace_distance(signal_projector(matrix, jnp.asarray(CUT)), goal),
    "soft": lambda matrix, goal: subspace_distance(
        soft_signal_projector(matrix, jnp.array([0.0, 0.0, 0.0, 0.75, 0.0, 0.0, 0.25])), goal
    ),
}


def directions(dtype):
    """Three Hermitian directions, [3, 6, 6]."""
    arrays = np.stack([random_array(seed, (6, 6), dtype) for seed in (1, 2, 3)])
    return jnp.asarray((arrays + arrays.conj().swapaxes(1, 2)) / 2)


def goal(dtype):
    basis = np.linalg.qr(random_array(5, (6, CUT), dtype))[0]
    return jnp.asarray(basis @ basis.conj().T)


@functools.cache
def programs(name, dtype):
    """Gradient and Hessians of a function along three directions, each compiled once for all matrices."""

    def of_weights(weights, matrix):
        moved = matrix + jnp.sum(weights[:, None, None] * directions(dtype), axis=0)
        return FUNCTIONS[name](moved, goal(dtype))

    gradient = jax.grad(of_weights)
    forward, reverse = jax.jacfwd(gradient), jax.jacrev(gradient)
    return jax.jit(gradient), jax.jit(lambda w, m: (forward(w, m), reverse(w, m)))


def assert_hessian_is_the_difference(gradient, hessians, *arguments):
    zeros = jnp.zeros(3)
    expected = np.stack(
        [
            (gradient(zeros.at[i].set(STEP), *arguments) - gradient(zeros.at[i].set(-STEP), *arguments)) / (2 * STEP)
            for i in range(3)
        ]
    )
    for hessian in hessians(zeros, *arguments):
        np.testing.assert_allclose(hessian, expected, atol=FINITE_DIFFERENCE_TOLERANCE * np.abs(expected).max())
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("distance", "float64"), *((name, "complex128") for name in FUNCTIONS)],
)
def test_hessians_are_difference_quotients_for_open_gaps_and_finite_for_closed_ones(name, dtype):
    gradient, hessians = programs(name, dtype)
    for values in OPEN.values():
        if name != "soft" or len(set(values)) == 6:
            assert_hessian_is_the_difference(gradient, hessians, jnp.asarray(with_eigenvalues(values, 0, dtype)))
    for values in CLOSED.values():
        for matrix in (with_eigenvalues(values, 0, dtype), np.diag(values).astype(dtype)):
            assert all(jnp.isfinite(hessian).all() for hessian in hessians(jnp.zeros(3), jnp.asarray(matrix)))


def test_hessians_in_complex64_agree_with_complex128():
    matrix = with_eigenvalues(OPEN["equal on both sides"])
    exact = programs("distance", "complex128")[1](jnp.zeros(3), jnp.asarray(matrix))[0]
    single = programs("distance", "complex64")[1](jnp.zeros(3, jnp.float32), jnp.asarray(matrix.astype("complex64")))
    assert single[0].dtype == jnp.float32
    np.testing.assert_allclose(single[0], exact, atol=1e-5 * np.abs(exact).max())


def test_the_third_derivative_of_the_projector_is_a_difference_quotient():
    matrix, moved = jnp.asarray(with_eigenvalues(OPEN["equal on both sides"])), directions("complex128")[0]

    def along(step):
        return FUNCTIONS["distance"](matrix + step * moved, goal("complex128"))

    second = jax.jit(jax.grad(jax.grad(along)))
    third = jax.jit(jax.grad(jax.grad(jax.grad(along))))(0.0)
    expected = float(second(STEP) - second(-STEP)) / (2 * STEP)
    assert float(third) == pytest.approx(expected, rel=FINITE_DIFFERENCE_TOLERANCE)


def test_the_builtin_eigh_has_no_finite_hessian_here():
    """The comparison that the pages make: equal eigenvalues on one side of an open cut."""

    def builtin(matrix):
        vectors = jnp.linalg.eigh(matrix)[1][:, -CUT:]
        return subspace_distance(vectors @ vectors.T, goal("float64"))

    diagonal = jnp.diag(jnp.asarray(OPEN["equal on both sides"]))
    assert not jnp.isfinite(jax.jit(jax.grad(builtin))(diagonal)).all()
    hessian = jax.jit(jax.hessian(lambda matrix: FUNCTIONS["distance"](matrix, goal("float64"))))(diagonal)
    assert jnp.isfinite(hessian).all()
