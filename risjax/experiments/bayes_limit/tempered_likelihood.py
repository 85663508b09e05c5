"""Likelihood of the snapshots to the power of an inverse temperature; amplitudes are integrated out or drawn.

=========== ========================================================== ========
symbol      meaning                                                    shape
=========== ========================================================== ========
t           inverse temperature, 0 the prior and 1 the posterior       []
v           noise variance                                             []
S           A^H Phi^H Phi A                                            [K, K]
b           A^H Phi^H y                                                [K]
d           prior variances of the amplitudes                          [K]
P           (t / v) S + diag(1 / d), the amplitudes' posterior precision [K, K]
m           P^-1 (t / v) b, their posterior mean                       [K]
=========== ========================================================== ========

    log Z = -t (L M log v + ||y||^2 / v) + (t / v) b^H m - log det P - sum log d

is the logarithm of the integral of likelihood^t times CN(s; 0, diag(d)) over the amplitudes s, up to what does not
depend on the state. Inactive slots have zero rows in S and b, and those of the identity in P.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Complex, Float

from risjax.estimators.likelihood import SufficientStatistics


class Products(NamedTuple):
    """Inner products of the sources' responses with one another and with the snapshots.

    Attributes:
        vectors: steering vectors, zero rows for inactive slots, [K, N].
        gram: S, [K, K].
        filtered: b, [K].
    """

    vectors: Complex[Array, "K N"]
    gram: Complex[Array, "K K"]
    filtered: Complex[Array, " K"]


class Amplitudes(NamedTuple):
    """The amplitudes' law given everything else.

    Attributes:
        log_evidence: log Z, [].
        mean: m, [K].
        root: lower Cholesky factor of P, [K, K].
    """

    log_evidence: Float[Array, ""]
    mean: Complex[Array, " K"]
    root: Complex[Array, "K K"]


def replace_vector(
    products: Products, slot: Array, vector: Complex[Array, " N"], data: SufficientStatistics
) -> Products:
    """The products with another steering vector in one slot, one product with Phi^H Phi instead of K."""
    vectors = products.vectors.at[slot].set(vector)
    image = jnp.matmul(data.gram, vector, precision="highest")
    column = jnp.matmul(vectors.conj(), image, precision="highest")
    gram = products.gram.at[:, slot].set(column).at[slot, :].set(column.conj())
    gram = gram.at[slot, slot].set(column[slot].real.astype(column.dtype))
    filtered = products.filtered.at[slot].set(jnp.matmul(vector.conj(), data.filtered, precision="highest"))
    return Products(vectors, gram, filtered)


def all_products(vectors: Complex[Array, "K N"], data: SufficientStatistics) -> Products:
    """The products of given steering vectors."""
    images = jnp.matmul(vectors, data.gram.T, precision="highest")
    gram = jnp.matmul(vectors.conj(), images.T, precision="highest")
    filtered = jnp.matmul(vectors.conj(), data.filtered, precision="highest")
    return Products(vectors, gram, filtered)


def amplitudes(
    products: Products,
    variance: Float[Array, " K"],
    active: Bool[Array, " K"],
    log_noise: Float[Array, ""],
    inverse_temperature: Float[Array, ""],
    data: SufficientStatistics,
) -> Amplitudes:
    """log Z, m and the root of P."""
    share = inverse_temperature * jnp.exp(-log_noise)
    precision = share * products.gram + jnp.diag(jnp.where(active, 1 / variance, 1.0)).astype(products.gram.dtype)
    root = jnp.linalg.cholesky(precision)
    half = solve_triangular(root, share * products.filtered, lower=True)
    mean = solve_triangular(root, half, lower=True, trans="C")
    log_determinant = 2 * jnp.sum(jnp.log(jnp.diagonal(root).real))
    spread = jnp.sum(jnp.where(active, jnp.log(variance), 0.0))
    constant = inverse_temperature * data.num_measurements * log_noise + share * data.energy
    gained = jnp.sum(half.real**2 + half.imag**2)
    return Amplitudes(gained - constant - log_determinant - spread, mean, root)


def draw_amplitudes(law: Amplitudes, normal: Complex[Array, " K"], active: Bool[Array, " K"]) -> Complex[Array, " K"]:
    """Amplitudes of that law from unit circular Gaussian numbers; zero in inactive slots."""
    drawn = law.mean + solve_triangular(law.root, normal, lower=True, trans="C")
    return jnp.where(active, drawn, 0)


def clean_power(products: Products, amplitude: Complex[Array, " K"], data: SufficientStatistics) -> Float[Array, ""]:
    """Mean |clean snapshot|^2."""
    image = jnp.matmul(products.gram, amplitude, precision="highest")
    return jnp.sum((amplitude.conj() * image).real) / data.num_measurements


def transmitted_power(
    products: Products, amplitude: Complex[Array, " K"], data: SufficientStatistics
) -> Float[Array, ""]:
    """Mean |clean snapshot|^2 of codes with independent uniform phases, `risjax.physics.scene.transmitted_power`.

    Codes of unit modulus have (Phi^H Phi)_nn = L sum_m |H_mn|^2.
    """
    field = jnp.matmul(amplitude, products.vectors, precision="highest")
    return jnp.sum(jnp.diagonal(data.gram).real * (field.real**2 + field.imag**2)) / data.num_measurements


def log_likelihood(
    products: Products, amplitude: Complex[Array, " K"], log_noise: Float[Array, ""], data: SufficientStatistics
) -> Float[Array, ""]:
    """Return the log-likelihood of one state, at t = 1, up to a constant."""
    explained = 2 * jnp.sum((amplitude.conj() * products.filtered).real)
    residual = data.energy - explained + clean_power(products, amplitude, data) * data.num_measurements
    return -data.num_measurements * log_noise - jnp.maximum(residual, 0.0) * jnp.exp(-log_noise)


def unit_power(data: SufficientStatistics) -> tuple[SufficientStatistics, Float[Array, ""]]:
    """The statistics of snapshots scaled to unit mean power, and the logarithm of the amplitude taken out."""
    mean = data.energy / data.num_measurements
    scaled = data._replace(filtered=data.filtered * jax.lax.rsqrt(mean), energy=data.energy / mean)
    return scaled, 0.5 * jnp.log(mean)
