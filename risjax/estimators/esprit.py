"""Two-dimensional unitary ESPRIT: directions of far-field sources in closed form.

The phase of a far-field source changes by 2 pi d u / lambda from column to column and by 2 pi d v / lambda from row to
row, for a spacing d. The two shift matrices have the same eigenvectors, so the complex eigenvalues of Psi_u + j Psi_v
give (u, v) in pairs. The unitary transform makes all matrices real, which is a forward-backward average and valid only
for plane waves and spacings up to half a wavelength. In the near field the curvature of the wavefront breaks the shift
invariance and the estimates are biased: use this method for comparisons. Elements off the uniform grid break the
invariance too, so the method takes no geometry.

It computes in float32 with full matmul precision. The K x K eigenvalue problem is not Hermitian and needs
`jnp.linalg.eigvals`, which runs on CPUs only.

References:
    M. Haardt, J. A. Nossek, "Unitary ESPRIT: how to obtain increased estimation accuracy with a reduced computational
    burden", IEEE Transactions on Signal Processing 43 (1995), doi:10.1109/78.382406.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from risjax.config import PhysicsConfig
from risjax.estimators.interface import NotApplicableError, Search, covariance_estimator
from risjax.estimators.music import count_in_covariance, signal_basis
from risjax.linalg import LowRankCovariance
from risjax.types import Estimates


def _unitary(size: int) -> np.ndarray:
    """Sparse unitary matrix Q such that Q^H maps a centro-symmetric vector to a real one."""
    half = size // 2
    flip = np.fliplr(np.eye(half))
    matrix = np.zeros((size, size), complex)
    matrix[:half, :half] = np.eye(half)
    matrix[:half, size - half :] = 1j * np.eye(half)
    matrix[size - half :, :half] = flip
    matrix[size - half :, size - half :] = -1j * flip
    if size % 2:
        matrix[half, half] = np.sqrt(2)
    return matrix / np.sqrt(2)


def _shifts(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Real selection matrices K1, K2 [size - 1, size]: K2 x = tan(omega / 2) K1 x for a phase step of omega."""
    select = np.eye(size)[1:]
    product = _unitary(size - 1).conj().T @ select @ _unitary(size)
    return product.real, product.imag


def _least_squares(left: Float[Array, "P K"], right: Float[Array, "P K"]) -> Float[Array, "K K"]:
    gram = jnp.matmul(left.T, left, precision="highest")
    ridge = 1e-7 * jnp.trace(gram) * jnp.eye(gram.shape[0], dtype=gram.dtype)
    cross = jnp.matmul(left.T, right, precision="highest")
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(gram + ridge), True), cross)


@covariance_estimator
def localise_esprit(covariance: LowRankCovariance, search: Search) -> Estimates:
    """Directions of far-field sources, a `CovarianceEstimator`.

    With unknown K, the number of sources follows from the eigenvalues by ``estimator.order``; it is at most the rank of
    the covariance. ``amplitude`` and ``score`` are zero. Ranges are not estimated; all are the largest of the field of
    view. Directions outside the visible half-space are inactive. No grid is used.

    Raises:
        NotApplicableError: at trace time: the spacing exceeds half a wavelength; the elements are given by
            ``array.elements_m``.
        ValueError: at trace time: K exceeds the slots, the covariance's rank or the number that shift invariance can
            resolve.
    """
    count, most = search.num_sources, _check(covariance, search.physics)
    if isinstance(count, int):
        if not 1 <= count <= most:
            raise ValueError(
                f"got num_sources = {count}, expected 1 to {most} (limited by slots, rank and shift invariance)"
            )
        return _directions(covariance, search.physics, count)
    if count is None:
        count = count_in_covariance(covariance, search.estimator.order, most)
    # K is the size of the eigenvalue problem: one program for each.
    branches = [partial(_directions, physics=search.physics, num_sources=size) for size in range(1, most + 1)]
    found = jax.lax.switch(jnp.clip(count, 1, most) - 1, branches, covariance)
    return found._replace(active=found.active & (count > 0))


def _check(covariance: LowRankCovariance, physics: PhysicsConfig) -> int:
    """Return the largest K, and raise where the array is not shift invariant."""
    array, slots = physics.array, physics.scene.max_sources
    if array.elements_m is not None:
        raise NotApplicableError(
            "got array.elements_m, expected a uniform grid of elements, which ESPRIT needs; use another method"
        )
    if 2 * array.spacing_m > array.wavelength_m * (1 + 1e-6):
        raise NotApplicableError(
            f"got spacing_m = {array.spacing_m}, expected at most half a wavelength, {array.wavelength_m / 2} m; "
            "directions are ambiguous beyond it"
        )
    rows, columns = array.num_vertical, array.num_horizontal
    return min(slots, covariance.factor.shape[1], rows * (columns - 1), columns * (rows - 1))


def _directions(covariance: LowRankCovariance, physics: PhysicsConfig, num_sources: int) -> Estimates:
    """Directions of ``num_sources`` sources."""
    array, slots = physics.array, physics.scene.max_sources
    rows, columns = array.num_vertical, array.num_horizontal
    step = 2 * np.pi * array.spacing_m / array.wavelength_m
    basis, _ = signal_basis(covariance, jnp.asarray(num_sources))
    basis = basis[:, :num_sources]
    transform = jnp.asarray(np.kron(_unitary(rows), _unitary(columns)).conj().T, basis.dtype)
    turned: Complex[Array, "N K"] = jnp.matmul(transform, basis, precision="highest")
    real = jnp.concatenate([turned.real, turned.imag], axis=1)
    _, vectors = jnp.linalg.eigh(jnp.matmul(real.T, real, precision="highest"))
    span = jnp.matmul(real, vectors[:, -num_sources:], precision="highest")

    def shift(left: np.ndarray, right: np.ndarray) -> Float[Array, "K K"]:
        first, second = (jnp.matmul(jnp.asarray(m, real.dtype), span, precision="highest") for m in (left, right))
        return _least_squares(first, second)

    first, second = _shifts(columns)
    horizontal = shift(np.kron(np.eye(rows), first), np.kron(np.eye(rows), second))
    first, second = _shifts(rows)
    vertical = shift(np.kron(first, np.eye(columns)), np.kron(second, np.eye(columns)))
    eigenvalues = jnp.linalg.eigvals(horizontal + 1j * vertical)
    u, v = (2 * jnp.arctan(part) / step for part in (eigenvalues.real, eigenvalues.imag))
    visible = jnp.isfinite(u) & jnp.isfinite(v) & (u**2 + v**2 < 1)
    u, v = jnp.where(visible, u, 0.0), jnp.where(visible, v, 0.0)
    range_m = jnp.full_like(u, physics.scene.range_m[1])
    position = jnp.stack([jnp.arcsin(u / jnp.sqrt(1 - v**2)), jnp.arcsin(v), range_m], axis=-1)
    empty = slots - num_sources
    return Estimates(
        position=jnp.pad(jnp.where(visible[:, None], position, 0.0), ((0, empty), (0, 0))),
        amplitude=jnp.zeros(slots, basis.dtype),
        active=jnp.pad(visible, (0, empty)),
        std=jnp.full((slots, 3), jnp.inf, real.dtype),
        score=jnp.zeros(slots, real.dtype),
        existence=jnp.full(slots, jnp.nan, real.dtype),
    )
