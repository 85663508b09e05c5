"""Codebooks: the phase codes of the surface, one for each snapshot.

A code multiplies the field element by element. The code exp(+j 2 pi f . p) turns a plane wave with direction cosines
-f * wavelength into a constant, so a codebook of DFT columns has L beams. Phases refer to the panel's centre and are
rounded to the nearest phase step.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, Int, Key

from risjax.config import ArrayConfig, CodebookConfig, PhysicsConfig
from risjax.physics.received_arrays import codes_problem


def quantise_phase(phase_rad: Float[np.ndarray, "*shape"], bits: int | None) -> Float[np.ndarray, "*shape"]:
    """Nearest of 2^bits equally spaced phases that include zero; with None the phase itself."""
    if bits is None:
        return phase_rad
    step = 2 * math.pi / 2**bits
    # A phase exactly between two steps occurs in DFT codes of few bits; 1e-9 makes the result independent of rounding.
    return step * np.floor(phase_rad / step + 0.5 + 1e-9)


def balanced_grid(array: ArrayConfig, num_snapshots: int) -> tuple[int, int]:
    """(across, upward), the grid of at least L codes with sides closest in proportion to the panel's.

    A grid of exactly L codes is preferred if its proportion is at most three times worse.

    Raises:
        ValueError: if the surface has fewer than L elements.
    """
    if num_snapshots > array.num_elements:
        raise ValueError(
            f"got num_snapshots = {num_snapshots}, expected at most one for each of the {array.num_horizontal} x "
            f"{array.num_vertical} = {array.num_elements} elements in a codebook of kind dft or hadamard"
        )
    sides = [(across, -(-num_snapshots // across)) for across in range(1, array.num_horizontal + 1)]
    fits = [(across, upward) for across, upward in sides if upward <= array.num_vertical]
    exact = [(across, upward) for across, upward in fits if across * upward == num_snapshots]

    def imbalance(side: tuple[int, int]) -> float:
        return abs(math.log(side[0] / array.num_horizontal * array.num_vertical / side[1]))

    best = min(fits, key=imbalance)
    exact_best = min(exact, key=imbalance, default=best)
    return exact_best if imbalance(exact_best) <= imbalance(best) + math.log(3) else best


def balanced_frequencies(array: ArrayConfig, num_snapshots: int) -> Int[np.ndarray, "L 2"]:
    """(horizontal, vertical) DFT bins, distributed evenly over both axes."""
    across, upward = balanced_grid(array, num_snapshots)
    index = np.arange(num_snapshots)
    horizontal = (index % across) * array.num_horizontal // across
    vertical = (index // across) * array.num_vertical // upward
    return np.stack([horizontal, vertical], axis=-1)


def strided_frequencies(array: ArrayConfig, num_snapshots: int) -> Int[np.ndarray, "L 2"]:
    """(horizontal, vertical) DFT bins of the original pipeline: two columns a third apart, and all rows."""
    if num_snapshots > 2 * array.num_vertical:
        raise ValueError(
            f"got num_snapshots = {num_snapshots}, expected at most 2 * num_vertical = {2 * array.num_vertical} for "
            "codebook.kind = original; use kind = dft"
        )
    index = np.arange(num_snapshots)
    return np.stack([(index % 2) * (array.num_horizontal // 3), index // 2], axis=-1)


def dft_phases(array: ArrayConfig, frequencies: Int[np.ndarray, "L 2"]) -> Float[np.ndarray, "L N"]:
    """2 pi (f_h i_h / N_H + f_v i_v / N_V), with element indices relative to the panel's centre."""
    horizontal = (np.arange(array.num_horizontal) - (array.num_horizontal - 1) / 2) / array.num_horizontal
    vertical = (np.arange(array.num_vertical) - (array.num_vertical - 1) / 2) / array.num_vertical
    across, upward = frequencies[:, 0, None, None], frequencies[:, 1, None, None]
    turns = across * horizontal[None, None, :] + upward * vertical[None, :, None]
    return 2 * math.pi * turns.reshape(len(frequencies), array.num_elements)


def hadamard_phases(array: ArrayConfig, num_snapshots: int) -> Float[np.ndarray, "L N"]:
    """Phases 0 and pi of products of Walsh functions along both axes, the first rows of Sylvester's matrices.

    All leading minors of Sylvester's matrix are non-zero, so the codes are linearly independent for any panel.
    """
    across, _ = balanced_grid(array, num_snapshots)
    row = np.arange(num_snapshots)[:, None, None]
    horizontal, vertical = np.arange(array.num_horizontal), np.arange(array.num_vertical)
    odd = np.bitwise_count(row % across & horizontal[None, None, :]) + np.bitwise_count(
        row // across & vertical[None, :, None]
    )
    return math.pi * (odd % 2).reshape(num_snapshots, array.num_elements)


def codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Codes common to all scenes, exp(j q(phase)) in complex128; codes from a file are not quantised.

    Raises:
        ValueError: the codebook draws new codes in every scene, has fewer codes than snapshots, or its file does not
            contain [L, N] finite numbers.
    """
    count = codebook.num_snapshots
    match codebook.kind:
        case "dft":
            phase_rad = dft_phases(array, balanced_frequencies(array, count))
        case "original":
            phase_rad = dft_phases(array, strided_frequencies(array, count))
        case "hadamard":
            phase_rad = hadamard_phases(array, count)
        case "file":
            return read_codes(str(codebook.path), count, array.num_elements, codebook.measured)
        case "designed":
            raise ValueError(
                "codebook.kind = designed makes codes for the channel of each scene, expected common codes; write "
                "those of the stage design to a file and set kind = file"
            )
        case "random":
            if codebook.seed is None:
                raise ValueError(
                    "codebook.seed = null draws new codes in every scene, expected a seed for common codes"
                )
            phase_rad = np.random.default_rng(codebook.seed).uniform(0, 2 * math.pi, (count, array.num_elements))
    return np.exp(1j * quantise_phase(phase_rad, codebook.phase_bits))


def codes_for_channel(
    key: Key[Array, ""], physics: PhysicsConfig, channel: Complex[Array, "M N"]
) -> Complex[Array, "L N"]:
    """Nominal codes of a scene: those designed for its channel (``designed``), or those of `draw_codes`.

    Args:
        key: key of the codes of this scene.
        physics: surface, sources and codebook.
        channel: H as the receiver knows it.
    """
    if physics.codebook.kind != "designed":
        return draw_codes(key, physics.codebook, physics.array, channel.dtype)
    from risjax.physics.code_design.optimise import design_for_channel  # imports optax, 0.8 s

    return design_for_channel(channel, physics).astype(channel.dtype)


def draw_codes(
    key: Key[Array, ""], codebook: CodebookConfig, array: ArrayConfig, dtype: DTypeLike = jnp.complex64
) -> Complex[Array, "L N"]:
    """Nominal codes of a scene: the common ones, or new random ones for ``random`` with ``seed = null``."""
    if codebook.kind != "random" or codebook.seed is not None:
        return jnp.asarray(codes(codebook, array), dtype)
    shape = (codebook.num_snapshots, array.num_elements)
    if codebook.phase_bits is None:
        phase_rad = jax.random.uniform(key, shape, maxval=2 * math.pi)
    else:
        steps = 2**codebook.phase_bits
        phase_rad = jax.random.randint(key, shape, 0, steps) * (2 * math.pi / steps)
    return jnp.exp(1j * phase_rad).astype(dtype)


@functools.lru_cache(maxsize=8)
def read_codes(path: str, num_snapshots: int, num_elements: int, measured: bool = False) -> Complex[np.ndarray, "L N"]:
    """Codes from an .npy file that `risjax.physics.received_arrays.codes_problem` accepts; without pickle.

    Raises:
        ValueError: an unreadable or invalid file; the message contains its name, its content and what was expected.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"codebook.path: {path}: cannot be read ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fciu":
        raise ValueError(f"codebook.path: {path}: expected one array of complex codes in an .npy file")
    if array.shape != (num_snapshots, num_elements):
        raise ValueError(
            f"codebook.path: {path}: has shape {list(array.shape)}, expected [num_snapshots, N] = "
            f"[{num_snapshots}, {num_elements}]"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"codebook.path: {path}: holds values that are not finite")
    problem = codes_problem(array, measured=measured)
    if problem:
        raise ValueError(f"codebook.path: {path}: {problem}")
    return array.astype(np.complex128)
