"""Notation of the package, and the pytrees that its modules exchange.

====== ========================================================= ============ =========
symbol meaning                                                   shape        unit
====== ========================================================= ============ =========
N      elements of the surface, element n = i_v * N_H + i_h                   1
M      antennas of the base station                                           1
L      snapshots, one phase code each                                         1
K      slots for sources (K_max); ``active`` marks those in use               1
y      snapshots                                                 [L, M]       sqrt(W)
H      channel from surface to base station                      [M, N]       1
c      phase codes                                               [L, N]       1
Phi    measurement matrix, row block l = H diag(c_l)             [L*M, N]     1
x      coherent field on the surface                             [N]          sqrt(W)
A      steering vectors as columns, unit norm                    [N, K]       1
R      covariance of the field on the surface, trace N           [N, N]       1
F      factor of a low-rank covariance, R = F F^H + delta I      [N, rank]    1
phi    azimuth, from boresight towards the horizontal axis       []           rad
theta  elevation, from boresight towards the vertical axis       []           rad
r      range, from the surface's centre                          []           m
====== ========================================================= ============ =========

All pytrees are NamedTuples. Their documentation gives shapes without a batch axis; a leading batch axis from
``jax.vmap`` is written ``*batch``. Information of the receiver (`Observation`) and of the simulator alone (`Truth`) are
separate types, so the signature of a function shows whether it uses the truth.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int


class Geometry(NamedTuple):
    """Measured geometry of a surface; a field that is None has the nominal value of `risjax.config.ArrayConfig`.

    Users pass it to `risjax.inference.predict.model.Model` with arrays of NumPy or of JAX.

    Attributes:
        elements_m: (horizontal, vertical) of every element in metres, [N, 2].
        wavelength_m: in metres, [].
    """

    elements_m: Float[Array | np.ndarray, "*batch N 2"] | None = None
    wavelength_m: Float[Array | np.ndarray, "*batch"] | None = None


class Observation(NamedTuple):
    """Information of the receiver about one scene.

    Attributes:
        snapshots: y, one snapshot per phase code, [L, M] complex.
        channel: H, the receiver's estimate of the channel from surface to base station, [M, N] complex.
        codes: c, the phase codes that the receiver assumes, [L, N] complex.
        geometry: measured geometry of the scene's surface; None is the nominal one. None is part of the tree structure,
            so programs for nominal scenes have no such input.
    """

    snapshots: Complex[Array, "*batch L M"]
    channel: Complex[Array, "*batch M N"]
    codes: Complex[Array, "*batch L N"]
    geometry: Geometry | None = None


class Sources(NamedTuple):
    """Up to K sources; slots with ``active`` False hold zeros.

    Attributes:
        position: (azimuth [rad], elevation [rad], range [m]), [K, 3].
        amplitude: complex weight of the source's unit-norm steering vector in the field, [K].
        active: slots that hold a source, [K].
    """

    position: Float[Array, "*batch K 3"]
    amplitude: Complex[Array, "*batch K"]
    active: Bool[Array, "*batch K"]


class Estimates(NamedTuple):
    """Estimated sources of one scene; slots with ``active`` False hold zeros (inf in ``std``).

    Attributes:
        position: (azimuth [rad], elevation [rad], range [m]), [K, 3].
        amplitude: complex weight of the source's unit-norm steering vector in the field, [K].
        active: slots that hold a detected source, [K].
        std: standard deviations of ``position`` (rad, rad, m), [K, 3]; inf if the method estimates none.
        score: confidence of the method, larger for more certain sources, [K]; defined in the method's docstring.
        existence: probability that the source of the slot exists, [K]; NaN if the method estimates none.
    """

    position: Float[Array, "*batch K 3"]
    amplitude: Complex[Array, "*batch K"]
    active: Bool[Array, "*batch K"]
    std: Float[Array, "*batch K 3"]
    score: Float[Array, "*batch K"]
    existence: Float[Array, "*batch K"]


class Diagnostics(NamedTuple):
    """Goodness of fit of the reported sources of one scene, and the part of the field that the measurement observes.

    NaN and no flags where symbols change from snapshot to snapshot. See `risjax.detection.goodness_of_fit`.

    Attributes:
        explained: share of the snapshots' energy that the reported sources explain, [].
        field_f: F statistic of an unconstrained field against noise alone, [].
        fit_f: F statistic of the unconstrained field against the reported sources, [].
        unexplained: share of the field's energy, above the noise, that the reported sources do not explain, [].
        rank: numerical rank of the measurement matrix Phi, [] int; N if all of the field is observed.
        degrees_of_freedom: dimensions of the field that are observed above the noise, [], at most N.
        no_signal: no field is distinguishable from noise, [].
        misfit: the reported sources do not explain the observed field: ``fit_f`` is significant, and ``unexplained``
            is more than a missed weak source, [].
        rank_deficient: Phi does not determine the field, [].
        ill_conditioned: Phi observes few dimensions of the field above the noise, compared with a Phi of equal singular
            values and the same energy, [].
    """

    explained: Float[Array, "*batch"]
    field_f: Float[Array, "*batch"]
    fit_f: Float[Array, "*batch"]
    unexplained: Float[Array, "*batch"]
    rank: Int[Array, "*batch"]
    degrees_of_freedom: Float[Array, "*batch"]
    no_signal: Bool[Array, "*batch"]
    misfit: Bool[Array, "*batch"]
    rank_deficient: Bool[Array, "*batch"]
    ill_conditioned: Bool[Array, "*batch"]


class Truth(NamedTuple):
    """True quantities of a simulated scene. No estimator, feature or prediction may use them.

    Attributes:
        sources: positions, amplitudes (root of the expected power for per-snapshot symbols), active.
        snr_db: signal power over the noise variance, in dB; ``physics.scene.snr_reference`` defines the power.
        noise_variance: variance of the complex noise on each entry of y.
        label_factor: B with R = B B^H of trace N, the label covariance's factor, [N, K];
            columns of inactive slots are zero.
    """

    sources: Sources
    snr_db: Float[Array, "*batch"]
    noise_variance: Float[Array, "*batch"]
    label_factor: Complex[Array, "*batch N K"]

    @property
    def num_sources(self) -> Int[Array, "*batch"]:
        """K of each scene."""
        return self.sources.active.sum(-1)


class Scene(NamedTuple):
    """Observation and truth of one scene.

    Attributes:
        observation: information of the receiver, the input of every estimator.
        truth: sources, SNR and noise variance, for scores and bounds.
    """

    observation: Observation
    truth: Truth


class PackedComplex(NamedTuple):
    """A complex array as two real ones, for dtypes that have no complex partner (bfloat16, float16).

    A half-precision network returns complex values in this form, and `risjax.precision.upcast` converts them to
    complex64. Because it is a separate type, no function has to guess it from a trailing axis of length 2.
    """

    real: Float[Array, "*shape"]
    imag: Float[Array, "*shape"]


class Prediction(NamedTuple):
    """Output of the network for one scene.

    Attributes:
        factor: F of R_pred = F F^H before normalisation, [N, rank], in the output dtype of the policy (inside the
            network in its compute dtype).
    """

    factor: PackedComplex
