"""Codebooks: the phase codes of the surface, one for each snapshot.

A code multiplies the field element by element. The code exp(+j 2 pi f . p) turns a plane wave with direction cosines
-f * wavelength into a constant, so a codebook of DFT columns has L beams. Phases refer to the panel's centre and are
rounded to the nearest phase step.
"""

import functools
import math
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Key

from risjax.config import ArrayConfig, CodebookConfig, PhysicsConfig
from risjax.config.codebook import CODEBOOKS
from risjax.physics.received_arrays import codes_problem
from risjax.registry import implementation_of

AnyArray = TypeVar("AnyArray", np.ndarray, Array)


@runtime_checkable
class CommonCodes(Protocol):
    """A codebook that is the same in every scene."""

    def __call__(self, codebook: CodebookConfig, array: ArrayConfig, /) -> Complex[np.ndarray, "L N"]:
        """Return the codes, complex128; phases are rounded to ``codebook.phase_bits`` by `codes_of_phases`.

        Args:
            codebook: its settings; those of the kind itself are ``codebook.<its name>``.
            array: the surface.
        """
        ...


@runtime_checkable
class CodesOfScene(Protocol):
    """A codebook that makes different codes for every scene."""

    def __call__(
        self, key: Key[Array, ""], physics: PhysicsConfig, channel: Complex[Array, "M N"], /
    ) -> Complex[Array, "L N"]:
        """Return the codes of a scene; batched by vmap over keys and channels, with ``physics`` static under jit.

        Args:
            key: key of the codes of this scene.
            physics: surface, sources and codebook.
            channel: H as the receiver knows it.
        """
        ...


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


def codes_of_phases(phase_rad: Float[np.ndarray, "L N"], codebook: CodebookConfig) -> Complex[np.ndarray, "L N"]:
    """exp(j q(phase)) in complex128, with q the rounding to ``phase_bits`` of the codebook."""
    return np.exp(1j * quantise_phase(phase_rad, codebook.phase_bits))


def dft_codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Columns of the two-dimensional DFT, `balanced_frequencies`, as `CommonCodes`."""
    return codes_of_phases(dft_phases(array, balanced_frequencies(array, codebook.num_snapshots)), codebook)


def original_codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Codes of the original pipeline, `strided_frequencies`, as `CommonCodes`."""
    return codes_of_phases(dft_phases(array, strided_frequencies(array, codebook.num_snapshots)), codebook)


def hadamard_codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Walsh functions, `hadamard_phases`, as `CommonCodes`."""
    return codes_of_phases(hadamard_phases(array, codebook.num_snapshots), codebook)


def random_codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Uniform phases of the codebook's seed, as `CommonCodes`."""
    shape = (codebook.num_snapshots, array.num_elements)
    return codes_of_phases(np.random.default_rng(codebook.seed).uniform(0, 2 * math.pi, shape), codebook)


def random_codes_of_scene(
    key: Key[Array, ""], physics: PhysicsConfig, channel: Complex[Array, "M N"]
) -> Complex[Array, "L N"]:
    """New uniform phases in every scene, as `CodesOfScene`."""
    shape, bits = (physics.codebook.num_snapshots, physics.array.num_elements), physics.codebook.phase_bits
    if bits is None:
        phase_rad = jax.random.uniform(key, shape, maxval=2 * math.pi)
    else:
        phase_rad = jax.random.randint(key, shape, 0, 2**bits) * (2 * math.pi / 2**bits)
    return jnp.exp(1j * phase_rad).astype(channel.dtype)


def codes_of_file(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Codes of the file ``path``, not quantised, as `CommonCodes`."""
    return read_codes(str(codebook.path), codebook.num_snapshots, array.num_elements, codebook.measured)


def codes(codebook: CodebookConfig, array: ArrayConfig) -> Complex[np.ndarray, "L N"]:
    """Codes common to all scenes.

    Raises:
        ValueError: the codebook makes different codes for every scene, has fewer codes than snapshots, or
            its file does not contain [L, N] finite numbers.
    """
    part = CODEBOOKS[codebook.kind]
    if part.each_scene:
        raise ValueError(
            f"codebook.kind = {codebook.kind} makes codes for each scene, expected common codes; write those of the "
            "stage design to a file and set kind = file, or set kind = random"
        )
    make: CommonCodes = implementation_of(part)
    return _checked(make(codebook, array), codebook, array)


def draw_codes(key: Key[Array, ""], physics: PhysicsConfig, channel: Complex[Array, "M N"]) -> Complex[Array, "L N"]:
    """Nominal codes of a scene: the common ones, or those that the codebook makes for this scene.

    Args:
        key: key of the codes of this scene.
        physics: surface, sources and codebook.
        channel: H as the receiver knows it.

    Raises:
        ValueError: as `codes`, or codes of another shape than [L, N].
    """
    codebook, array = physics.codebook, physics.array
    part = CODEBOOKS[codebook.kind]
    if not part.each_scene:
        return jnp.asarray(codes(codebook, array), channel.dtype)
    make: CodesOfScene = implementation_of(part)
    return _checked(make(key, physics, channel), codebook, array).astype(channel.dtype)


def _checked(made: AnyArray, codebook: CodebookConfig, array: ArrayConfig) -> AnyArray:
    expected = (codebook.num_snapshots, array.num_elements)
    if made.shape != expected:
        raise ValueError(
            f"the codebook {codebook.kind!r} made codes of shape {list(made.shape)}, expected [num_snapshots, N] = "
            f"{list(expected)}; mend its implementation {CODEBOOKS[codebook.kind].implementation}"
        )
    return made


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
