"""Further codes for scenes that the first snapshots have shown, `risjax.adapt_codes`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex
from numpy.typing import ArrayLike

from risjax.api.scenes import Physics
from risjax.config import PhysicsConfig
from risjax.config.io import read_physics
from risjax.inference.predict.localization import Localization
from risjax.inference.predict.measurements import MeasurementError, as_observation
from risjax.physics.chunked_vmap import over_scenes
from risjax.physics.code_design.adaptive import adapt_codes_to_scene, posterior_scenes
from risjax.physics.measurement import fit_field, noise_variance, require_common_field
from risjax.types import Estimates, Observation


def adapt_codes(
    y: ArrayLike,
    H: ArrayLike,
    codes: ArrayLike,
    found: Localization | Estimates,
    physics: Physics = "default",
    *,
    num_snapshots: int = 4,
    bits: int | None = 3,
    steps: int = 60,
    seed: int = 0,
) -> Complex[np.ndarray, "*batch L N"]:
    """Further codes for one scene, or for several, chosen for the sources found so far.

    The codes raise the information about the ranges of the sources that were found, with the probabilities and
    standard deviations of ``found``, and keep part of the power for sources that were not
    (`risjax.physics.code_design.adaptive`). Measure the same scene with them, append codes and snapshots to the first
    ones, and localise again; the sources and their amplitudes must not change in between.

    Args:
        y: snapshots so far, [L1, M] or [S, L1, M] complex, with L1 M > N.
        H: channel that the receiver knows, [M, N], or [S, M, N].
        codes: codes of these snapshots, [L1, N] or [S, L1, N].
        found: sources from these snapshots, as ``localise`` returns them.
        physics: surface and distribution of the sources: a `PhysicsConfig`, the name of a profile, or a dict of
            settings.
        num_snapshots: number L of further codes.
        bits: of the phase shifters; None leaves the phases unquantised.
        steps: gradient steps.
        seed: seed of the start and of the draws of the posterior.

    Returns:
        Codes of unit modulus, complex64 [L, N], or [S, L, N].

    Raises:
        MeasurementError: wrong shapes or dtypes, or values that are not finite.
        ConfigError: invalid settings.
        ValueError: symbols that change between snapshots, or no more measurements than elements.

    Example:
        >>> import risjax
        >>> y, H, codes, _ = risjax.simulate({"scene": {"snr_db": [20, 20]}}, 1, key=0).observation
        >>> further = adapt_codes(y, H, codes, risjax.localise(y, H, codes), num_snapshots=2, steps=1)
        >>> further.shape
        (1, 2, 144)
    """
    model = read_physics(physics)
    require_common_field(model.scene, "a design for the sources of a scene")
    codebook = {"kind": "designed", "num_snapshots": num_snapshots, "phase_bits": bits, "seed": seed}
    model = read_physics(model.model_dump() | {"codebook": codebook | {"design": {"steps": steps}}})
    observation, is_batch = as_observation(y, H, codes, None, model.array)
    estimates = _estimates(found)
    if estimates.active.ndim != 1 + is_batch:
        expected = "[S, K], since y has scenes" if is_batch else "[K], since y is one scene"
        raise MeasurementError(f"found has an active of shape {list(estimates.active.shape)}, expected {expected}")
    estimates = jax.tree.map(lambda leaf: leaf if is_batch else leaf[None], estimates)
    if len(estimates.active) != len(observation.snapshots):
        raise MeasurementError(
            f"found has {len(estimates.active)} scenes and y {len(observation.snapshots)}, expected the result of "
            "localise for these snapshots"
        )
    designed = np.asarray(_adapt(observation, estimates, model))
    return designed if is_batch else designed[0]


def _estimates(found: object) -> Estimates:
    if not isinstance(found, Localization | Estimates):
        raise TypeError(f"got found of type {type(found).__name__}, expected the result of localise for y, H and codes")
    return Estimates(*(jnp.asarray(getattr(found, name)) for name in Estimates._fields))


@partial(jax.jit, static_argnums=2)
def _adapt(observation: Observation, estimates: Estimates, physics: PhysicsConfig) -> Complex[Array, "S L N"]:
    # other random numbers than those of the start and of the prior's positions, which split this key
    key = jax.random.fold_in(jax.random.key(physics.codebook.seed), 1)

    def of_scene(scene: tuple[Observation, Estimates]) -> Complex[Array, "L N"]:
        seen, estimated = scene
        noise = noise_variance(seen, fit_field(seen))
        drawn = posterior_scenes(key, estimated, seen.channel, noise, physics)
        return adapt_codes_to_scene(seen.channel, seen.codes, drawn, physics)

    return over_scenes(of_scene, (observation, estimates)).astype(jnp.complex64)
