"""Localisation by a classical estimator, chosen by its name."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int
from numpy.typing import ArrayLike

from risjax.api.scenes import Physics
from risjax.config import CovarianceConfig, EstimatorConfig, ModelConfig, PhysicsConfig
from risjax.config.deprecated import current_method
from risjax.config.errors import did_you_mean
from risjax.config.io import read_physics, read_section
from risjax.config.methods import METHODS
from risjax.detection.goodness_of_fit import diagnose
from risjax.inference.classical import grid_of, on_sample, on_snapshots
from risjax.inference.predict.batches import in_batches
from risjax.inference.predict.fit_warning import warn_of_misfits
from risjax.inference.predict.localization import Localization, located, rank_problem
from risjax.inference.predict.measurements import MeasurementError, as_observation
from risjax.model import make_inputs_and_fit
from risjax.physics.chunked_vmap import over_surfaces
from risjax.physics.measurement import require_common_field
from risjax.registry import Estimator
from risjax.runs.compile_cache import enable_with_warning
from risjax.runs.compiler_options import fast_compilation
from risjax.spectral.grid import Grid
from risjax.types import Diagnostics, Estimates, Geometry, Observation


def localise(
    y: ArrayLike,
    H: ArrayLike,
    codes: ArrayLike,
    geometry: Geometry | None = None,
    *,
    method: str = "greedy_ml",
    physics: Physics = "default",
    num_sources: ArrayLike | int | None = None,
    estimator: EstimatorConfig | Mapping[str, Any] | None = None,
    codes_measured: bool = False,
) -> Localization:
    """Localise the sources of one scene, or of several with a leading axis S, by a classical estimator.

    No method requires the SNR or the noise level. docs/estimators.md compares them. A trained network localises by
    ``risjax.load(...).localise``, with the same arguments and result.

    Args:
        y: snapshots, [L, M] or [S, L, M] complex, of any scale. Row l was received under the l-th code.
        H: channel from the surface to the base station, y_l = H diag(c_l) x; [M, N], or [S, M, N].
        codes: reflection coefficients of the elements, [L, N] or [S, L, N]; element n = i_v * N_H + i_h.
        geometry: measured positions of the elements, [N, 2] or [S, N, 2] in metres, and the wavelength; None is the
            array of ``physics``.
        method: ``greedy_ml``, ``omp`` (likelihood of the snapshots), ``mvdr``, ``bartlett``, ``music``, ``music_2_5d``,
            ``esprit`` (sample covariance), ``sparse`` (per-snapshot symbols), or one that another package registers.
        physics: surface, field of view, symbols and the largest number of sources: a `PhysicsConfig`, the name of a
            profile, or a dict of settings.
        num_sources: K if it is known, an integer or one for each scene, [S]; None estimates it. The method
            ``greedy_ml_known_k`` requires it.
        estimator: settings of the section ``estimator`` of a configuration, as ``{"threshold_db": 6.0}``.
        codes_measured: the codes are measured coefficients, whose modulus may differ from 1.

    Returns:
        The sources, in radians and metres with properties in degrees; with a leading axis S where ``y`` has one.
        ``existence`` is NaN, because these methods compute no probabilities. The fields that describe the fit are NaN
        where L M <= N, because the snapshots then determine no residual.

    Raises:
        MeasurementError: wrong shapes or dtypes, values that are not finite, a surface of another size than that of
            ``physics``, or, with a method that reads an image of the field, a channel and codes that do not determine
            it.
        ConfigError: invalid settings.
        ValueError: an unknown method, or one that cannot be used: it needs a trained network, constant symbols, or more
            measurements than elements.

    Warns:
        FitWarning: the sources of more scenes than chance allows do not explain the snapshots, or channel and codes
            observe few dimensions of the field.

    Example:
        >>> import risjax
        >>> scenes = risjax.simulate({"scene": {"snr_db": [20, 20], "num_sources": [1, 1]}}, 2, key=1)
        >>> sources = risjax.localise(*scenes.observation, method="greedy_ml")
        >>> sources.count
        array([1, 1])
        >>> risjax.localise(*scenes.observation, method="mvdr", num_sources=1).azimuth_deg.shape
        (2, 5)
    """
    registered, model = _method(method), read_physics(physics)
    settings = read_section(EstimatorConfig, estimator, "estimator")
    observation, is_batch = as_observation(y, H, codes, geometry, model.array, codes_measured=codes_measured)
    _check(registered, model, observation)
    counts = _counts(num_sources, registered, model, len(observation.snapshots))
    run, grid = _program(registered, model, settings), grid_of(registered, model, settings)
    enable_with_warning()

    def program(batch: tuple[Observation, Any]) -> tuple[Estimates, Diagnostics]:
        return run(*batch, grid)

    estimates, diagnostics = in_batches(program, (observation, counts))
    found = located(estimates, diagnostics, observation)
    problem = rank_problem(found, observation.codes.shape[-1]) if registered.reads == "covariance" else None
    if problem:
        raise MeasurementError(problem)
    warn_of_misfits(found)
    return found if is_batch else Localization(*(array[0] for array in found))


def _method(name: str) -> Estimator:
    method = METHODS.get(current_method(name))
    usable = [known for known, entry in METHODS.items() if entry.reads in ("snapshots", "covariance")]
    if method is None:
        raise ValueError(f"got method = {name!r}, expected one of {', '.join(usable)}{did_you_mean(name, usable)}")
    if method.name not in usable:
        needed = "a trained network: use risjax.load(...).localise" if method.reads == "network" else "the truth"
        raise ValueError(f"got method = {name!r}, which needs {needed}; expected one of {', '.join(usable)}")
    return method


def _check(method: Estimator, physics: PhysicsConfig, observation: Observation) -> None:
    array, num_elements = physics.array, observation.codes.shape[-1]
    if num_elements != array.num_elements:
        raise MeasurementError(
            f"got measurements of N = {num_elements} elements, expected {array.num_horizontal} x {array.num_vertical} "
            f"= {array.num_elements} of physics.array; give the physics of your surface"
        )
    if method.needs_common_field:
        require_common_field(physics.scene, f"the method {method.name}")
    if method.reads == "covariance" and physics.scene.symbols == "constant" and not _has_surplus(observation):
        raise ValueError(
            f"got {observation.snapshots[0].size} measurements for {num_elements} elements, expected more: the method "
            f"{method.name} reads an image of the field; use greedy_ml, or more codes or antennas"
        )


def _counts(
    num_sources: ArrayLike | int | None, method: Estimator, physics: PhysicsConfig, scenes: int
) -> Int[np.ndarray, " S"] | None:
    if num_sources is None:
        if method.knows_count:
            raise ValueError(f"got no num_sources, which the method {method.name} needs; give it")
        return None
    counts, most = np.asarray(num_sources), physics.scene.max_sources
    is_integer = counts.dtype.kind in "iu"
    if counts.shape not in ((), (scenes,)) or not is_integer or counts.min() < 0 or counts.max() > most:
        raise ValueError(
            f"got num_sources = {num_sources!r}, expected an integer from 0 to physics.scene.max_sources = {most}, or "
            f"one for each of the {scenes} scenes"
        )
    return np.broadcast_to(counts, (scenes,)).astype(np.int32)


def _has_surplus(observation: Observation) -> bool:
    """Return whether there are more measurements than elements."""
    return observation.snapshots[0].size > observation.codes.shape[-1]


@lru_cache(maxsize=32)
def _program(
    method: Estimator, physics: PhysicsConfig, estimator: EstimatorConfig
) -> Callable[[Observation, Array | None, Grid], tuple[Estimates, Diagnostics]]:
    model = ModelConfig(encoder="backprojection" if physics.scene.symbols == "constant" else "minimum_norm")

    def check(observation: Observation, estimates: Estimates) -> Diagnostics:
        measured = None
        if physics.scene.symbols == "constant" and observation.snapshots.size > observation.codes.shape[-1]:
            _, measured = make_inputs_and_fit(observation, model, physics)
        return diagnose(observation, estimates, measured, physics)

    def run(observation: Observation, counts: Array | None, grid: Grid) -> tuple[Estimates, Diagnostics]:
        if method.reads == "snapshots":
            estimates = on_snapshots(method, physics, estimator)(observation, counts, grid)
        else:
            on_covariance = on_sample(method, physics, estimator, model, CovarianceConfig())
            estimates, _ = on_covariance(observation, counts, grid)
        return estimates, over_surfaces(check, observation.geometry, observation, estimates)

    return jax.jit(run, compiler_options=fast_compilation())
