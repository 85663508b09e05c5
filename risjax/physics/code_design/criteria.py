"""Criteria of a code design: functions of the Gram matrix Phi^H Phi, larger is better.

====== =============================================================================================== ========
symbol meaning                                                                                         shape
====== =============================================================================================== ========
G      Phi^H Phi = (H^H H) o (C^H C), H scaled to ||H||_F^2 = M                                        [N, N]
B      factor of R_0, see `risjax.physics.code_design.prior`                                           [N, r]
W      I + rho B^H G B, whose log-determinant is that of I + rho Phi R_0 Phi^H                         [r, r]
S_p    D_p^H (G - rho G B W^-1 B^H G) D_p, information about the field of position p if the other      [4, 4]
       sources are a Gaussian field of covariance rho R_0
J_p    information about azimuth, elevation and range of position p with an unknown amplitude          [3, 3]
====== =============================================================================================== ========

The noise variance is 1. All criteria have finite gradients for every Gram matrix that is positive semidefinite: the
matrices that are factored are loaded by the identity or by the precision of a prior.

References:
    K. Chaloner, I. Verdinelli, "Bayesian experimental design: a review", Statistical Science 10 (1995),
    doi:10.1214/ss/1177009939.
    H. L. Van Trees, K. L. Bell, "Bayesian Bounds for Parameter Estimation and Nonlinear Filtering/Tracking" (2007),
    doi:10.1109/9780470544198.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from risjax.physics.code_design.prior import DesignPrior

Criterion = Callable[[Complex[Array, "N N"], DesignPrior], Float[Array, ""]]
"""From the Gram matrix and the prior of one step to a value to maximise."""

_COHERENCE_POWER = 8
_MOST_SOURCES = 5
_GOLDEN = 0.618034
_PARAMETERS = np.asarray([[1, 1j, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]], np.complex64)
"""Columns of the parameters (relative amplitude, real and imaginary; azimuth, elevation, range) in those of D_p."""
_AMPLITUDE_PRECISION = 0.02
"""Inverse prior variance of an amplitude's real and imaginary part over the noise variance; keeps J_p finite."""
_ROUNDING = 1e-5
"""Loading of an information matrix of unit diagonal."""


def mutual_information(gram: Complex[Array, "N N"], prior: DesignPrior) -> Float[Array, ""]:
    """Return 2 / r log det(I + rho Phi R_0 Phi^H).

    The mutual information of the snapshots and a Gaussian field of covariance rho R_0, in nats, over half the
    dimensions of that field.
    """
    lower, _ = _factored(gram, prior)
    return _information(lower)


def position_information(gram: Complex[Array, "N N"], prior: DesignPrior) -> Float[Array, ""]:
    """Return `mutual_information` plus the mean logarithm of the information about a source's range.

    The range has the information 1 / (J_p + Lambda)^-1_rr: direction and amplitude are unknown, the other sources are
    a Gaussian field of covariance rho R_0, and the prior's own information keeps the logarithm finite (the Bayesian
    Cramér-Rao bound of van Trees). The first term rewards codes that detect and resolve the sources, the second codes
    that determine their distance.
    """
    lower, through = _factored(gram, prior)
    rho = prior.field_snr
    image = jnp.matmul(gram, _flat(prior.columns), precision="highest")
    crossed = jnp.matmul(through.conj().T, _flat(prior.columns), precision="highest")
    whitened = _each(jax.lax.linalg.triangular_solve(lower, crossed, left_side=True, lower=True), prior)
    own = jnp.einsum("pna,pnb->pab", prior.columns.conj(), _each(image, prior), precision="highest")
    shared = jnp.einsum("pra,prb->pab", whitened.conj(), whitened, precision="highest")
    return _information(lower) + _log_range_information(own - rho * shared, prior)


def crb(gram: Complex[Array, "N N"], prior: DesignPrior) -> Float[Array, ""]:
    """Return minus the mean logarithm of the Bayesian Cramér-Rao bound of the range, over a prior of scenes.

    The sampled positions form scenes of 1 to 5 sources whose powers follow the path loss. Positions and amplitudes of
    all sources of a scene are unknown.
    """
    columns, count = prior.columns, prior.columns.shape[0]
    image = jnp.matmul(gram, _flat(columns), precision="highest")
    products = jnp.matmul(_flat(columns).conj().T, image, precision="highest").reshape(4, count, 4, count)
    index, active = _scenes(count)

    def of_scene(index: Int[Array, " K"], active: Bool[Array, " K"]) -> Float[Array, "Q K"]:
        chosen = products[:, index][:, :, :, index]
        amplitude = _path_loss_amplitudes(prior.range_m[index], active, columns.shape[1])
        return range_variances(chosen, amplitude, active, prior)

    variances = jax.vmap(of_scene)(jnp.asarray(index), jnp.asarray(active))
    return -jnp.sum(jnp.log(variances)) / (count * prior.snr.shape[0])


def coherence(gram: Complex[Array, "N N"], prior: DesignPrior) -> Float[Array, ""]:
    """Return minus the 8-norm of the correlations of the images Phi a_p of the sampled positions.

    mu_pq = |a_p^H G a_q| / (||Phi a_p|| ||Phi a_q||). The norm approximates the largest correlation.
    """
    vectors = prior.columns[..., 0]
    products = jnp.matmul(vectors.conj(), jnp.matmul(gram, vectors.T, precision="highest"), precision="highest")
    energy = jnp.diagonal(products).real + float(jnp.finfo(vectors.real.dtype).eps)
    squared = (products.real**2 + products.imag**2) / (energy[:, None] * energy[None, :])
    others = jnp.where(jnp.eye(energy.shape[0], dtype=bool), 0.0, squared)
    power = jnp.sum(others ** (_COHERENCE_POWER // 2)) + jnp.finfo(energy.dtype).eps ** 2
    return -(power ** (1 / _COHERENCE_POWER))


def _factored(gram: Complex[Array, "N N"], prior: DesignPrior) -> tuple[Complex[Array, "r r"], Complex[Array, "N r"]]:
    """Lower Cholesky factor of W, and G B."""
    through = jnp.matmul(gram, prior.factor, precision="highest")
    within = jnp.matmul(prior.factor.conj().T, through, precision="highest")
    loaded = jnp.eye(within.shape[0], dtype=within.dtype) + prior.field_snr * within
    return jnp.linalg.cholesky(loaded), through


def _information(lower: Complex[Array, "r r"]) -> Float[Array, ""]:
    return 4 * jnp.mean(jnp.log(jnp.diagonal(lower).real))


def _flat(columns: Complex[Array, "P N 4"]) -> Complex[Array, "N P4"]:
    """Columns of all positions side by side: [N, 4 P], the first column of every position, then the second ones, ..."""
    return jnp.transpose(columns, (1, 2, 0)).reshape(columns.shape[1], -1)


def _each(flat: Complex[Array, "rows P4"], prior: DesignPrior) -> Complex[Array, "P rows 4"]:
    """Inverse of `_flat` for any number of rows."""
    count = prior.columns.shape[0]
    return jnp.transpose(flat.reshape(flat.shape[0], 4, count), (2, 0, 1))


def _log_range_information(products: Complex[Array, "P 4 4"], prior: DesignPrior) -> Float[Array, ""]:
    """Mean over positions and signal-to-noise ratios of the logarithm of 1 / (J_p + Lambda)^-1_rr."""
    energy, cross = products[:, 0, 0].real, products[:, 0, 1:]
    explained = cross.conj()[:, :, None] * cross[:, None, :] / (energy + _AMPLITUDE_PRECISION)[:, None, None]
    unit = (products[:, 1:, 1:] - explained).real
    num_elements = prior.columns.shape[1]
    matrices = 2 * num_elements * prior.snr[:, None, None, None] * unit[None] + jnp.diag(prior.precision)[None, None]
    angles, towards, own = matrices[..., :2, :2], matrices[..., :2, 2], matrices[..., 2, 2]
    determinant = angles[..., 0, 0] * angles[..., 1, 1] - angles[..., 0, 1] ** 2
    first, second = towards[..., 0], towards[..., 1]
    known = angles[..., 1, 1] * first**2 - 2 * angles[..., 0, 1] * first * second + angles[..., 0, 0] * second**2
    # Rounding of the differences above must not leave less than the prior's own information.
    return jnp.mean(jnp.log(jnp.maximum(own - known / determinant, prior.precision[2])))


def _scenes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of consecutive scenes of 1, 2, ... 5, 1, ... sources, and the slots in use, each [S, 5]."""
    sizes: list[int] = []
    while sum(sizes) < count:
        sizes.append(min(len(sizes) % _MOST_SOURCES + 1, count - sum(sizes)))
    slot = np.arange(_MOST_SOURCES)
    first = np.cumsum([0, *sizes[:-1]])
    return np.minimum(first[:, None] + slot, count - 1), slot < np.asarray(sizes)[:, None]


def _path_loss_amplitudes(
    range_m: Float[Array, " K"], active: Bool[Array, " K"], num_elements: int
) -> Complex[Array, " K"]:
    """Amplitudes inverse to the range, of different phases and total energy N."""
    modulus = jnp.where(active, 1 / range_m, 0.0)
    phase = jnp.exp(2j * jnp.pi * _GOLDEN * jnp.arange(range_m.shape[0]) ** 2)
    return phase * modulus * jnp.sqrt(num_elements / jnp.sum(modulus**2))


def range_variances(
    products: Complex[Array, "4 K 4 K"], amplitude: Complex[Array, " K"], active: Bool[Array, " K"], prior: DesignPrior
) -> Float[Array, "Q K"]:
    """Bound on the variance of each range of one scene, for each signal-to-noise ratio; 1 in unused slots.

    The parameters of a source are the relative change of its amplitude, real and imaginary, and its position, so that
    all their columns have the amplitude as a factor.

    Args:
        products: D_p^H G D_q of the scene's positions.
        amplitude: of the steering vectors, over the root of the noise variance at a ratio ``prior.snr`` of 1.
        active: slots in use.
        prior: its signal-to-noise ratios and its information about the positions.
    """
    count = active.shape[0]
    scaled = products * amplitude.conj()[None, :, None, None] * amplitude[None, None, None, :]
    spread = jnp.asarray(_PARAMETERS)
    real = 2 * jnp.einsum("ap,aibj,bq->ipjq", spread.conj(), scaled, spread, precision="highest").real
    information = real.reshape(5 * count, 5 * count)
    own = jnp.concatenate([jnp.full(2, 2.0), prior.precision])
    loading = jnp.diag(jnp.where(active[:, None], own[None, :], 1.0).ravel())
    matrices = prior.snr[:, None, None] * information[None] + loading[None]
    scale = jax.lax.rsqrt(jnp.diagonal(matrices, axis1=1, axis2=2))
    unit = matrices * scale[:, :, None] * scale[:, None, :]
    # Sources at one position leave pivots below the rounding of float32 where the signal is strong.
    lower = jnp.linalg.cholesky(unit + _ROUNDING * jnp.eye(5 * count, dtype=unit.dtype)[None])
    right = jnp.broadcast_to(jnp.eye(5 * count, dtype=lower.dtype)[None], lower.shape)
    inverse = jax.lax.linalg.triangular_solve(lower, right, left_side=True, lower=True)
    variance = jnp.sum(inverse**2, axis=1) * scale**2
    return jnp.where(active[None], variance.reshape(-1, count, 5)[..., 4], 1.0)
