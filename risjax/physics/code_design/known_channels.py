"""Codes for given channels, `risjax.design_codes`."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex

from risjax.config import PhysicsConfig
from risjax.config.code_design import CRITERIA
from risjax.config.io import read_physics
from risjax.physics.chunked_vmap import over_scenes
from risjax.physics.code_design.optimise import design_for_channel
from risjax.physics.received_arrays import complex_problem, masked_problem


def design_codes(
    channel: ArrayLike,
    physics: PhysicsConfig | str | Mapping[str, Any] = "default",
    *,
    criterion: str = "mutual_information",
    bits: int | None = 3,
    num_snapshots: int | None = None,
    steps: int = 60,
    seed: int = 0,
) -> Complex[np.ndarray, "*batch L N"]:
    """Phase codes for channels that the receiver knows, by gradient steps on a criterion.

    Args:
        channel: H, complex [M, N], or [S, M, N] for S channels; its scale does not matter.
        physics: surface and distribution of the sources: a `PhysicsConfig`, the name of a profile, or a dict of
            settings.
        criterion: ``mutual_information``, ``position_information``, ``crb``, ``coherence``, or one that another package
            registers; docs/code-design.md defines and compares them.
        bits: of the phase shifters; None leaves the phases unquantised.
        num_snapshots: L; None takes that of ``physics``.
        steps: gradient steps.
        seed: seed of the start and of the sampled positions.

    Returns:
        Codes of unit modulus, complex64 [L, N], or [S, L, N]. Measure the snapshots with them, and pass them to
        ``localise`` with the channel and these snapshots.

    Raises:
        ConfigError: invalid settings.
        ValueError: a channel of another shape, without an imaginary part, all zero, with values that are masked or not
            finite, or an unknown criterion.

    Example:
        >>> channel = np.exp(1j * np.arange(16 * 144).reshape(16, 144))
        >>> codes = design_codes(channel, steps=1)
        >>> codes.shape, codes.dtype
        ((16, 144), dtype('complex64'))
    """
    model = _with_design(read_physics(physics), criterion, bits, num_snapshots, steps, seed)
    channels = _checked(channel, model.array.num_elements)
    codes = np.asarray(_design(jnp.asarray(channels.reshape(-1, *channels.shape[-2:])), model))
    return codes.reshape(*channels.shape[:-2], *codes.shape[1:])


@partial(jax.jit, static_argnums=1)
def _design(channels: Complex[Array, "S M N"], physics: PhysicsConfig) -> Complex[Array, "S L N"]:
    return over_scenes(lambda channel: design_for_channel(channel, physics), channels).astype(jnp.complex64)


def _with_design(
    physics: PhysicsConfig, criterion: str, bits: int | None, num_snapshots: int | None, steps: int, seed: int
) -> PhysicsConfig:
    if criterion not in CRITERIA:
        raise ValueError(f"got criterion = {criterion!r}, expected one of {', '.join(CRITERIA)}")
    codebook = {
        "kind": "designed",
        "num_snapshots": physics.codebook.num_snapshots if num_snapshots is None else num_snapshots,
        "phase_bits": bits,
        "seed": seed,
        "design": {"criterion": criterion, "steps": steps},
    }
    return read_physics(physics.model_dump() | {"codebook": codebook})


def _checked(channel: ArrayLike, num_elements: int) -> Complex[np.ndarray, "*batch M N"]:
    channels = np.asarray(channel)
    if channels.ndim not in (2, 3) or channels.shape[-1] != num_elements or 0 in channels.shape:
        raise ValueError(
            f"channel has shape {list(channels.shape)}, expected [M, N] or [S, M, N] with N = {num_elements} elements "
            "of the surface; transpose it, or pass the physics of your surface"
        )
    if not np.isfinite(channels).all():
        raise ValueError("channel contains values that are not finite, expected the complex channel of each element")
    problem = masked_problem(channel) or complex_problem(channels)
    if problem:
        raise ValueError(f"channel {problem}")
    if not channels.any(axis=(-2, -1)).all():
        raise ValueError("channel is all zero, expected the complex channel of each element")
    return channels.astype(np.complex64)
