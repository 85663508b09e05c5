"""Goodness of fit of reported sources: two F tests, the explained energy and the rank of the measurement.

====== ============================================================== ======
symbol meaning                                                        shape
====== ============================================================== ======
E      energy of the snapshots, ||y||^2                                []
E_x    residual of the best unconstrained field, ||y - Phi x_LS||^2    []
E_K    residual of the K reported sources, amplitudes fitted again     []
====== ============================================================== ======

The tests compare nested linear models of white complex noise, which has two real degrees of freedom a measurement:

    F_field = [(E - E_x) / N] / [E_x / (L M - N)]                        on (2 N, 2 (L M - N)) degrees of freedom
    F_fit   = [(E_K - E_x) / (N - 5 K / 2)] / [E_x / (L M - N)]          on (2 N - 5 K, 2 (L M - N))

``no_signal``: F_field is not significant, so the data are indistinguishable from noise through this channel and these
codes. ``misfit``: F_fit is significant, so the reported sources leave something that a field on the surface explains,
and they leave more than a missed weak source. What they leave is measured by

    lambda = [E_K - E_x - (N - 5 K / 2) s] / s,    u = lambda / ([E - E_x - N s] / s),    s = E_x / (L M - N),

its energy over the noise variance, and its share of the field's energy. A search misses a source that is weak against
the noise (small lambda, at low SNR) or weak against the other sources (small u, at high SNR); a wrong convention leaves
both. ``misfit`` therefore also requires u lambda > 10. Significance alone would flag every weak source that is missed
at high SNR, and a bound of u alone would flag those of low SNR (`benchmarks/goodness_of_fit.py`).

``ill_conditioned``: at the noise level of the data, the channel and the codes observe less than a fifth of the
dimensions that a measurement of the same energy with equal singular values would. Codes that hardly differ observe
about M dimensions of N. In 1,024 scenes of -5 to 20 dB of the default physics, whose channel has a strong line of
sight, the least share was 0.33, with DFT codes and with random ones (`benchmarks/goodness_of_fit.py`).

A source has five real parameters, three of which enter nonlinearly; F_fit is then an approximation, whose p-values are
uniform for the true number of sources (`tests/detection/test_goodness_of_fit.py`).

Reference: G. A. F. Seber and A. J. Lee, Linear Regression Analysis, 2nd ed., Wiley 2003, section 4.3,
doi:10.1002/9780471722199.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from risjax.config import PhysicsConfig
from risjax.estimators.likelihood import solve_hermitian
from risjax.physics.array import steering
from risjax.physics.images import MeasuredField
from risjax.physics.measurement import measure, noise_variance
from risjax.physics.scaling import normalise_scene
from risjax.types import Diagnostics, Estimates, Observation

NO_SIGNAL_LEVEL = 1e-3
"""A field is taken to be present where F_field has a smaller p-value."""
MISFIT_LEVEL = 1e-2
"""Sources are rejected where F_fit has a smaller p-value, and ..."""
MISFIT_WEIGHT = 10.0
"""... where u lambda is larger."""
LEAST_EVENNESS = 0.2
"""Bound of `MeasuredField.evenness` below which a measurement is ill-conditioned."""
LEAST_CERTAIN = 0.5
"""Bound of a source's probability of existence in a scene with ``no_signal``."""
REAL_PARAMETERS = 5
"""Of a source: azimuth, elevation, range and a complex amplitude."""


def degrees(num_elements: int, num_measurements: int, num_sources: np.ndarray) -> tuple[np.ndarray, int]:
    """Real degrees of freedom of F_fit's numerator, for each number of sources, and of both denominators."""
    return 2 * num_elements - REAL_PARAMETERS * num_sources, 2 * (num_measurements - num_elements)


def p_values(diagnostics: Diagnostics, num_sources: np.ndarray, num_elements: int, num_measurements: int) -> tuple:
    """P-values of F_field and of F_fit, on the host in float64.

    Args:
        diagnostics: of any number of scenes, as NumPy arrays.
        num_sources: K reported in each.
        num_elements: N.
        num_measurements: L M.

    Returns:
        Arrays of the shape of ``num_sources``; NaN where the statistic is NaN.
    """
    from scipy import special  # 0.1 s, which loading a network does not need

    fitted, remaining = degrees(num_elements, num_measurements, np.asarray(num_sources))
    return (
        special.fdtrc(2 * num_elements, remaining, np.asarray(diagnostics.field_f, np.float64)),
        special.fdtrc(fitted, remaining, np.maximum(np.asarray(diagnostics.fit_f, np.float64), 0)),
    )


def diagnose(
    observation: Observation, estimates: Estimates, measured: MeasuredField | None, physics: PhysicsConfig
) -> Diagnostics:
    """Goodness of fit of the reported sources and conditioning of the measurement, for one scene; batch by vmap.

    Args:
        observation: snapshots, channel and codes.
        estimates: reported sources; ``position`` and ``active`` are read, amplitudes are fitted again.
        measured: of the scene in normalised units (`risjax.model.make_inputs_and_fit`); None for symbols that change.
        physics: array and law of the symbols.

    Returns:
        NaN statistics and no flags where symbols change from snapshot to snapshot: the snapshots share no field.

    Raises:
        ValueError: at trace time, unless L M > N.
    """
    from scipy import special  # 0.1 s, which loading a network does not need

    num_elements, num_measurements = observation.codes.shape[-1], observation.snapshots.size
    if measured is None:
        return _unknown(observation.snapshots.real.dtype, num_elements)
    observation, _ = normalise_scene(observation)
    energy = _energy(observation.snapshots)
    field, left = measured.fit, _residual_of(observation, estimates, physics)
    slots, count = estimates.active.shape[-1], jnp.sum(estimates.active)
    fitted, remaining = degrees(num_elements, num_measurements, np.arange(slots + 1))
    noise = _positive(noise_variance(observation, field))
    field_f = (energy - field.residual) / num_elements / noise
    fit_f = (left - field.residual) / (jnp.asarray(fitted, energy.dtype)[count] / 2) / noise
    present = special.fdtri(2 * num_elements, remaining, 1 - NO_SIGNAL_LEVEL)
    rejected = jnp.asarray(special.fdtri(fitted, remaining, 1 - MISFIT_LEVEL), energy.dtype)[count]
    missing = jnp.maximum(fit_f - 1, 0) * jnp.asarray(fitted, energy.dtype)[count] / 2
    unexplained = _share(missing, (field_f - 1) * num_elements)
    return Diagnostics(
        explained=1 - left / _positive(energy),
        field_f=field_f,
        fit_f=fit_f,
        unexplained=unexplained,
        rank=field.rank,
        degrees_of_freedom=measured.degrees_of_freedom,
        no_signal=~(field_f > present),
        misfit=(fit_f > rejected) & (unexplained * missing > MISFIT_WEIGHT),
        rank_deficient=field.rank < num_elements,
        ill_conditioned=~(measured.evenness >= LEAST_EVENNESS),
    )


def temper(estimates: Estimates, diagnostics: Diagnostics) -> Estimates:
    """Bound the probabilities of existence of one scene by `LEAST_CERTAIN` where it has ``no_signal``."""
    bound = jnp.where(diagnostics.no_signal, LEAST_CERTAIN, 1.0).astype(estimates.existence.dtype)
    return estimates._replace(existence=jnp.minimum(estimates.existence, bound))


def _energy(values: Complex[Array, "..."]) -> Float[Array, ""]:
    return jnp.sum(values.real**2 + values.imag**2)


def _positive(value: Float[Array, ""]) -> Float[Array, ""]:
    """The value where it is positive, else one: the quotient of an empty scene stays finite."""
    return jnp.where(value > 0, value, 1.0)


def _share(left: Float[Array, ""], field: Float[Array, ""]) -> Float[Array, ""]:
    """Share of the field's energy that is left; 0 where no field is measured above the noise."""
    return jnp.where(field > 0, left / _positive(field), 0.0)


def _residual_of(observation: Observation, estimates: Estimates, physics: PhysicsConfig) -> Float[Array, ""]:
    """E_K, with the amplitudes of least squares at the reported positions."""
    active = estimates.active
    position = jnp.where(active[:, None], estimates.position, 1.0)
    vectors = jnp.where(active[:, None], steering(physics.array, position, observation.geometry), 0)
    responses = jax.vmap(lambda vector: measure(observation.channel, observation.codes, vector).reshape(-1))(vectors)
    products = jnp.matmul(responses.conj(), responses.T, precision="highest")
    scale = _positive(jnp.max(jnp.diagonal(products).real))
    products = products + jnp.diag(jnp.where(active, 0, scale)).astype(products.dtype)
    snapshots = observation.snapshots.reshape(-1)
    projections = jnp.matmul(responses.conj(), snapshots, precision="highest")
    amplitude = solve_hermitian(products, projections[:, None])[:, 0]
    return _energy(snapshots - jnp.matmul(amplitude, responses, precision="highest"))


def _unknown(dtype: jnp.dtype, num_elements: int) -> Diagnostics:
    """Diagnostics of a scene whose snapshots share no field."""
    nan, no = jnp.asarray(jnp.nan, dtype), jnp.asarray(False)
    return Diagnostics(nan, nan, nan, nan, jnp.asarray(num_elements), nan, no, no, no, no)
