"""Warnings for a batch whose sources do not explain its scenes, or whose measurement observes little of the field."""

import warnings

import numpy as np

from risjax.inference.predict.localization import Localization

EXPECTED_RATE = 0.02
"""Share of scenes with ``misfit`` that is expected of valid data (measured: docs/predict.md)."""
LEVEL = 0.02
"""A batch with so many misfits or more has at most this probability on valid data."""
LARGEST_NO_SIGNAL = 0.5
"""Share of scenes with ``no_signal`` below which they may be scenes of low SNR."""
CHECKS = (
    "conjugation (y, H and codes must all have the same sign of time)",
    "the order of the elements (n = i_v * N_H + i_h, in H and codes alike)",
    "transposition (y is [L, M], H is [M, N], codes are [L, N])",
    "that each snapshot has its code, and each scene its channel",
    "the geometry and the wavelength of the surface",
    "that the estimator refines its positions between the points of its grid",
)


class FitWarning(UserWarning):
    """The reported sources do not explain the snapshots, or the measurement observes little of the field."""


def misfit_text(num_misfit: int, num_no_signal: int, num_scenes: int) -> str | None:
    """Return the warning for a batch, or None if so many flags are expected of valid data."""
    from scipy import special  # 0.1 s, which loading a network does not need

    too_many = num_misfit and special.bdtrc(num_misfit - 1, num_scenes, EXPECTED_RATE) <= LEVEL + 1e-9
    if not too_many and num_no_signal < max(LARGEST_NO_SIGNAL * num_scenes, 1):
        return None
    return (
        f"in {num_misfit} of {num_scenes} scenes the sources do not explain the snapshots (misfit), in {num_no_signal} "
        "the snapshots cannot be distinguished from noise with this channel and these codes (no_signal); check "
        + "; ".join(CHECKS)
    )


def conditioning_text(num_ill_conditioned: int, num_scenes: int) -> str | None:
    """Return the warning for scenes whose measurement observes little of the field, or None without such scenes."""
    if not num_ill_conditioned:
        return None
    return (
        f"in {num_ill_conditioned} of {num_scenes} scenes channel and codes observe few dimensions of the field above "
        "the noise (ill_conditioned; see degrees_of_freedom); use codes that differ more from one another (random "
        "phases, or those of risjax.design_codes), or a channel with more independent paths"
    )


def warn_of_misfits(found: Localization) -> None:
    """Issue a `FitWarning` if more scenes are flagged than expected, and one if any is ill-conditioned."""
    misfit, no_signal = np.atleast_1d(found.misfit), np.atleast_1d(found.no_signal)
    text = misfit_text(int(np.sum(misfit & ~no_signal)), int(np.sum(no_signal)), misfit.size)
    for warning in (text, conditioning_text(int(np.sum(found.ill_conditioned)), misfit.size)):
        if warning:
            warnings.warn(warning, FitWarning, stacklevel=3)
