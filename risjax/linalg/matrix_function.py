"""Function of a Hermitian matrix through its eigenvalues, with derivatives that are exact for repeated eigenvalues.

======== =============================================================== =========
symbol   meaning                                                         shape
======== =============================================================== =========
A        Hermitian matrix                                                [N, N]
lambda_i eigenvalues of A                                                [N]
V        eigenvectors of A as columns                                    [N, N]
F        f(A) = V diag(f(lambda)) V^H                                    [N, N]
D, D2    first and second divided differences of f at the eigenvalues    [N, N(, N)]
======== =============================================================== =========

With X = V^H dA V and Y = V^H dB V the derivatives are (Daleckii and Krein, 1965)

    dF  = V (D o X) V^H
    d2F = V (sum_k D2_ikj (X_ik Y_kj + Y_ik X_kj)) V^H.

Divided differences are smooth where eigenvalues meet, unlike the derivatives of single eigenvectors. The second line is
attached to the first through `jax.lax.custom_linear_solve`, which differentiates an equation instead of its solution:
the eigenpairs are constants, and d2F is computed only when a second derivative is taken.

Reference:
    N. J. Higham, "Functions of Matrices: Theory and Computation", SIAM (2008), doi:10.1137/1.9780898717778, chapter 3.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from risjax.linalg.divided_differences import Scalar, elementwise, first_differences, second_differences
from risjax.linalg.hermitian import adjoint, hermitian_part, matmul, over_batch, require_square


def spectral_function(matrix: Inexact[Array, "*batch N N"], f: Scalar) -> Inexact[Array, "*batch N N"]:
    """f(A) = sum_i f(lambda_i) u_i u_i^H for a smooth real function f.

    First and second derivatives are accurate for repeated and nearly repeated eigenvalues. Parameters on which f
    depends are differentiated too. f must be smooth at the eigenvalues: for a step between signal and noise use
    `risjax.linalg.signal_projector`.

    Args:
        matrix: A, Hermitian (its Hermitian part is used), [..., N, N], full precision.
        f: smooth function of a real scalar that returns the scalar's dtype, for example ``jnp.log`` or
            ``lambda x: x / (x + 0.1)``. A second derivative evaluates f'' at 25 N^3 points.

    Returns:
        [..., N, N], Hermitian, of the matrix's dtype.

    Raises:
        ValueError: half precision, a matrix that is not square, an f that changes shape or dtype.
        NotImplementedError: a third derivative by the matrix.

    Example:
        The square root of a matrix with equal eigenvalues has a finite derivative, 1 / (2 sqrt(4)) here:

        >>> root = lambda scale: spectral_function(scale * jnp.eye(2), jnp.sqrt)
        >>> jax.jacfwd(root)(4.0).tolist()
        [[0.25, 0.0], [0.0, 0.25]]
    """
    require_square(matrix, where="spectral_function")
    real = jnp.finfo(matrix.dtype).dtype
    result = jax.eval_shape(f, jax.ShapeDtypeStruct((), real))
    if getattr(result, "shape", None) != () or result.dtype != real:
        raise ValueError(
            f"spectral_function got an f that maps {real} to {result}, expected a scalar of the same dtype; "
            "pass a function of one real number, without constants of another dtype"
        )
    return over_batch(lambda single: _of_matrix(single, f), "(n,n)->(n,n)")(matrix)


def _of_matrix(matrix: Array, f: Scalar) -> Array:
    hermitian = hermitian_part(matrix)
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(hermitian), symmetrize_input=False)
    converted, parameters = jax.closure_convert(f, values[0])
    return _value(converted, hermitian, values, vectors, tuple(parameters))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _value(f: Callable, matrix: Array, values: Array, vectors: Array, parameters: tuple) -> Array:
    return matmul(vectors * elementwise(partial(_bound, f, parameters))(values)[None, :], adjoint(vectors))


@_value.defjvp
def _value_jvp(f: Callable, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """dF for the changes dA of the matrix and dp of the parameters of f.

    The second derivative is attached by the linear system (dF - remainder(changes), changes) = (dF, changes), where the
    remainder is zero and has the derivative d2F.
    """
    matrix, values, vectors, parameters = primals

    def in_basis(array: Array) -> Array:
        return matmul(adjoint(vectors), matmul(array, vectors))

    def of_parameters(*parameters: Array) -> tuple[Array, Array]:
        function = partial(_bound, f, parameters)
        return first_differences(function, values)[0], elementwise(function)(values)

    (table, _), (table_dot, image_dot) = jax.jvp(of_parameters, parameters, tangents[3])
    change = in_basis(tangents[0])

    def operator(stack: Array) -> Array:
        inner, x, slope_dot = stack
        y = in_basis(_displacement(matrix))
        second = second_differences(partial(_bound, f, parameters), values)
        both = x[:, :, None] * y[None, :, :] + y[:, :, None] * x[None, :, :]
        return jnp.stack([inner - jnp.sum(second * both, axis=1) - slope_dot * y, x, slope_dot])

    # One array, because reverse mode transposes `custom_linear_solve` only if all of its right-hand side is linear.
    right = jnp.stack([table * change + jnp.diag(image_dot), change, table_dot.astype(matrix.dtype)])
    inner = jax.lax.custom_linear_solve(operator, right, _identity, _identity)[0]
    return _value(f, *primals), matmul(vectors, matmul(inner, adjoint(vectors)))


def _bound(f: Callable, parameters: tuple, x: Array) -> Array:
    return f(x, *parameters)


def _identity(_: Callable, right: Array) -> Array:
    return right


@jax.custom_jvp
def _displacement(matrix: Array) -> Array:
    """A - A, with the derivative of A; it cannot be differentiated twice."""
    return jnp.zeros_like(matrix)


@_displacement.defjvp
def _displacement_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return _displacement(*primals), _twice_only(primals[0]) * tangents[0]


@jax.custom_jvp
def _twice_only(matrix: Array) -> Array:
    """1, and an error where a third derivative is taken."""
    return jnp.ones((), matrix.dtype)


@_twice_only.defjvp
def _twice_only_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    raise NotImplementedError(
        "spectral_function got a third derivative by the matrix, expected at most two; signal_projector has all orders"
    )
