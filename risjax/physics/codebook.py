"""The phase codes that the surface runs through, one row a snapshot.

A code multiplies the field element by element, so that the code exp(+j 2 pi f . p) turns a plane wave
of direction cosines -f * wavelength into a constant: a codebook of DFT columns looks in L directions.
Phases are referred to the panel's centre and quantised to the nearest step.
"""

import math

import numpy as np
from jaxtyping import Complex, Float, Int

from risjax.config import ArrayConfig, CodebookConfig


def quantise_phase(phase_rad: Float[np.ndarray, "*shape"], bits: int | None) -> Float[np.ndarray, "*shape"]:
    """The nearest of 2^bits equally spaced phases, the first of them zero; ``None`` changes nothing."""
    if bits is None:
        return phase_rad
    step = 2 * math.pi / 2**bits
    # Ties (a phase exactly between two steps, met in DFT codes of few bits) go one way whatever the rounding error.
    return step * np.floor(phase_rad / step + 0.5 + 1e-9)


def balanced_frequencies(array: ArrayConfig, num_snapshots: int) -> Int[np.ndarray, "L 2"]:
    """(horizontal, vertical) DFT bins, spread evenly over both axes in a grid as near to square as L allows.

    Raises:
        ValueError: if the surface has fewer than L distinct DFT columns.
    """
    _require_columns(array, num_snapshots)
    fits = [
        (h, num_snapshots // h)
        for h in range(1, array.num_horizontal + 1)
        if num_snapshots % h == 0 and num_snapshots // h <= array.num_vertical
    ]
    if not fits:  # L has no factorisation that fits the panel (a prime, say): the first L of the next grid that has
        num_horizontal = min(array.num_horizontal, math.ceil(math.sqrt(num_snapshots)))
        fits = [(num_horizontal, min(array.num_vertical, math.ceil(num_snapshots / num_horizontal)))]
        if fits[0][0] * fits[0][1] < num_snapshots:
            fits = [(array.num_horizontal, array.num_vertical)]
    num_horizontal, num_vertical = min(
        fits, key=lambda fit: abs(fit[0] / array.num_horizontal - fit[1] / array.num_vertical)
    )
    index = np.arange(num_snapshots)
    horizontal = (index % num_horizontal) * array.num_horizontal // num_horizontal
    vertical = (index // num_horizontal) * array.num_vertical // num_vertical
    return np.stack([horizontal, vertical], axis=-1)


def strided_frequencies(array: ArrayConfig, num_snapshots: int) -> Int[np.ndarray, "L 2"]:
    """(horizontal, vertical) DFT bins of the original pipeline: two columns a third apart, every row in turn."""
    if num_snapshots > 2 * array.num_vertical:
        raise ValueError(
            f"codebook.kind = original has 2 * num_vertical = {2 * array.num_vertical} codes, got num_snapshots = "
            f"{num_snapshots}; use kind = dft"
        )
    index = np.arange(num_snapshots)
    return np.stack([(index % 2) * (array.num_horizontal // 3), index // 2], axis=-1)


def codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """The codes of a deterministic codebook, complex128, unit modulus.

    Row l is exp(j q(2 pi (f_h i_h / N_H + f_v i_v / N_V))) with element indices counted from the panel's centre.
    """
    frequencies = {"dft": balanced_frequencies, "original": strided_frequencies}[codebook.kind](
        array, codebook.num_snapshots
    )
    horizontal = (np.arange(array.num_horizontal) - (array.num_horizontal - 1) / 2) / array.num_horizontal
    vertical = (np.arange(array.num_vertical) - (array.num_vertical - 1) / 2) / array.num_vertical
    across, upward = frequencies[:, 0, None, None], frequencies[:, 1, None, None]
    turns = across * horizontal[None, None, :] + upward * vertical[None, :, None]
    phase_rad = quantise_phase(2 * math.pi * turns, codebook.phase_bits)
    return np.exp(1j * phase_rad).reshape(codebook.num_snapshots, array.num_elements)


def _require_columns(array: ArrayConfig, num_snapshots: int) -> None:
    if num_snapshots > array.num_elements:
        raise ValueError(
            f"a DFT codebook of {array.num_horizontal} x {array.num_vertical} elements has {array.num_elements} codes, "
            f"got num_snapshots = {num_snapshots}"
        )
