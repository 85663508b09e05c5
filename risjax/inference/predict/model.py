"""A trained network with its pipeline: ``risjax.load("original").localise(y, H, codes)``."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from risjax.config import Config, ExportConfig
from risjax.config.io import read_section
from risjax.config.model import ENCODERS
from risjax.config.weights import find_weights, no_weights_text
from risjax.covariance import covariance_settings
from risjax.inference.predict.batches import filled, in_batches
from risjax.inference.predict.fit_warning import warn_of_misfits
from risjax.inference.predict.localization import Localization, located, rank_problem
from risjax.inference.predict.measurements import MeasurementError, as_observation
from risjax.inference.predict.programs import checked_sources, covariance_of_fit, dense_at_trace, dense_of_batch
from risjax.inference.release import load_params, write_network
from risjax.inference.release.load import trained_config
from risjax.model import Params
from risjax.physics.measurement import require_common_field
from risjax.physics.received_arrays import geometry_problem
from risjax.pipeline import compiled_pipeline
from risjax.runs import jax_settings
from risjax.runs.compile_cache import enable_with_warning
from risjax.types import Diagnostics, Estimates, Geometry, Observation

COVARIANCES = ("fit", "network", "effective")
"""Covariances of a model: of the fit, as the network predicts it, as the spectra use it."""


class Model:
    """A trained network with its pipeline, from measurements to sources.

    Attributes:
        name: the argument of `load`.
        config: configuration of the training; ``config.physics`` is the measurement model.
        params: its parameters, a nested dict of arrays.
        card: its model card, Markdown; empty unless it was released.

    Example:
        >>> import numpy as np, risjax
        >>> model = risjax.load("original")                             # doctest: +SKIP
        >>> sources = model.localise(y, H, codes)                       # doctest: +SKIP
        >>> sources.azimuth_deg, sources.range_m, sources.existence     # doctest: +SKIP
        >>> model.covariance(y, H, codes)                               # doctest: +SKIP
    """

    def __init__(self, name: str, config: Config, params: Params, card: str = ""):
        self.name, self.config, self.params, self.card = name, config, params, card
        self._programs = compiled_pipeline(config.physics, config.precision, config.model, config.estimator)
        self._settings = covariance_settings(config.covariance)

    def __repr__(self) -> str:
        array, scene = self.config.physics.array, self.config.physics.scene
        return (
            f"<risjax model {self.name!r}: {array.num_horizontal} x {array.num_vertical} elements, wavelength "
            f"{array.wavelength_m:g} m, at most {scene.max_sources} sources>"
        )

    def localise(
        self,
        y: ArrayLike,
        H: ArrayLike,
        codes: ArrayLike,
        geometry: Geometry | None = None,
        *,
        codes_measured: bool = False,
        min_existence: float = 0.0,
    ) -> Localization:
        """Sources of one scene, or of several with a leading axis S; neither their number nor the SNR is needed.

        Args:
            y: snapshots, [L, M] or [S, L, M] complex, of any scale. Row l was received under the l-th code.
            H: channel from the surface to the base station, y_l = H diag(c_l) x; [M, N], or [S, M, N].
            codes: reflection coefficients of the elements, [L, N] or [S, L, N]; element n = i_v * N_H + i_h. They are
                +1 and -1, or complex with modulus 1.
            geometry: measured positions of the elements, [N, 2] or [S, N, 2] in metres, and the wavelength; None is
                the array of ``config.physics``. Candidates and fits use it; the network itself does not.
            codes_measured: the codes are measured coefficients, whose modulus may differ from 1.
            min_existence: leave out sources that exist with less than this probability, in [0, 1].

        Returns:
            The sources, in radians and metres with properties in degrees; with a leading axis S where ``y`` has one.

        Raises:
            MeasurementError: wrong shapes or dtypes, masked values, values that are not finite, nothing but zeros,
                codes other than reflection coefficients, a geometry in other units than metres, or a channel and codes
                that do not determine the field (Phi of less than full rank).
            ValueError: ``min_existence`` outside [0, 1].

        Warns:
            FitWarning: the sources of more scenes than expected do not explain the snapshots, or channel and codes
                observe few dimensions of the field.
        """
        if not 0.0 <= min_existence <= 1.0:
            raise ValueError(f"min_existence is {min_existence}, expected a probability from 0 to 1")
        observation, is_batch = self._checked(y, H, codes, geometry, codes_measured)
        found = located(*in_batches(self._checked_sources, observation), observation, min_existence)
        problem = rank_problem(found, observation.codes.shape[-1])
        if problem:
            raise MeasurementError(problem)
        warn_of_misfits(found)
        return found if is_batch else Localization(*(array[0] for array in found))

    def covariance(
        self,
        y: ArrayLike,
        H: ArrayLike,
        codes: ArrayLike,
        geometry: Geometry | None = None,
        *,
        codes_measured: bool = False,
        of: str = "fit",
    ) -> np.ndarray:
        """The covariance of the field on the surface, of one scene or of several; Hermitian, of trace N.

        Args:
            y: as for `localise`.
            H: as for `localise`.
            codes: as for `localise`.
            geometry: as for `localise`.
            codes_measured: as for `localise`.
            of: ``fit`` for the expected covariance of what was fitted to the snapshots, the nearest to the truth: the
                sum over all candidates, reported by `localise` or not, of p |alpha|^2 a a^H, p the probability that a
                candidate is a source (zero without a candidate, or, from a network without a posterior head, where
                `localise` reports nothing); ``network`` for R_pred; ``effective`` for R_eff, blended and loaded:
                positive definite, the input of the spectra.

        Returns:
            [N, N], or [S, N, N], complex64.

        Raises:
            MeasurementError: as `localise`.
            ValueError: another ``of``, or ``fit`` of a network for symbols that change from snapshot to snapshot,
                where nothing is fitted.
        """
        if of not in COVARIANCES:
            raise ValueError(f"of must be one of {', '.join(COVARIANCES)}, got {of!r}")
        if of == "fit":
            require_common_field(self.config.physics.scene, "the covariance of a fit to the snapshots")
        observation, is_batch = self._checked(y, H, codes, geometry, codes_measured)
        found = np.asarray(in_batches(partial(self._covariance, of), observation))
        return found if is_batch else found[0]

    def save(self, folder: str | Path) -> Path:
        """Write the network as a folder that `risjax.load` reads: weights, configuration and, if there is one, card.

        Args:
            folder: created where it is missing; files of an earlier network in it are replaced.

        Returns:
            The folder.

        Example:
            >>> model = risjax.load("original")                       # doctest: +SKIP
            >>> risjax.load(model.save("my_network"))                 # doctest: +SKIP
        """
        return write_network(Path(folder).expanduser(), self.config, self.params, self.card)

    def export(self, path: str | Path, *, platforms: Sequence[str] = ("cpu", "cuda")) -> None:
        """Write the whole pipeline as one file that runs without risjax (`risjax.inference.export`).

        Args:
            path: the file, ``.zip``.
            platforms: on which it runs, ``cpu``, ``cuda`` or both; lowering for one needs no such device.

        Raises:
            ConfigError: another platform.
            ValueError: a network whose scenes have individual geometries, for which the program has no input.
        """
        from risjax.inference.export import export_pipeline  # 0.2 s that localisation does not need

        settings = read_section(ExportConfig, {"platforms": list(platforms)}, "export")
        export_pipeline(self, path, platforms=settings.platforms)

    def estimate(self, observation: Observation, size: int) -> tuple[Estimates, Diagnostics]:
        """Estimates and diagnostics of at most ``size`` scenes, filled up to ``size`` for a single program."""
        return filled(self._checked_sources, observation, size)

    def _checked_sources(self, observation: Observation) -> tuple[Estimates, Diagnostics]:
        found = self._programs.covariance_and_field(self.params, observation, self._settings)
        return checked_sources(self._programs, self.params, observation, found, self.config.physics)

    def _covariance(self, of: str, observation: Observation) -> Array:
        """Dense covariances of trace N of a batch of scenes, one of `COVARIANCES`."""
        prediction, effective, _ = self._programs.covariance_and_field(self.params, observation, self._settings)
        if of == "fit":
            proposals = self._programs.propose(observation, effective)
            fitted = self._programs.fitted(self.params, proposals)
            return covariance_of_fit(self.config.physics)(fitted, observation.geometry)
        return dense_of_batch(effective) if of == "effective" else dense_at_trace(prediction.factor)

    def check_sizes(self, num_snapshots: int, num_antennas: int, num_elements: int) -> None:
        """Refuses measurements of another surface, or too few of them.

        Raises:
            MeasurementError: with what is expected.
        """
        physics = self.config.physics
        array, encoder = physics.array, self.config.model.encoder
        if num_elements != array.num_elements:
            raise MeasurementError(
                f"got measurements of N = {num_elements} elements; the network {self.name!r} was trained for "
                f"{array.num_horizontal} x {array.num_vertical} = {array.num_elements}"
            )
        if self.config.model.needs_common_field and num_snapshots * num_antennas <= num_elements:
            raise MeasurementError(
                f"got L * M = {num_snapshots} * {num_antennas} = {num_snapshots * num_antennas} measurements for N = "
                f"{num_elements} unknowns of the field; it takes more than N, as from more codes or antennas"
            )
        expected = (physics.codebook.num_snapshots, physics.channel.num_antennas)
        if ENCODERS[encoder].has_fixed_sizes and (num_snapshots, num_antennas) != expected:
            raise MeasurementError(
                f"got L = {num_snapshots} snapshots of M = {num_antennas} antennas; the network {self.name!r} takes "
                f"{expected[0]} of {expected[1]} (model.encoder = {encoder})"
            )

    def check_geometry(self, geometry: Geometry | None) -> None:
        """Refuses a measured geometry in other units than metres.

        Raises:
            MeasurementError: with what is expected.
        """
        problem = None if geometry is None else geometry_problem(geometry, self.config.physics.array)
        if problem:
            raise MeasurementError(f"{problem[0]} {problem[1]}")

    def _checked(
        self, y: ArrayLike, H: ArrayLike, codes: ArrayLike, geometry: Geometry | None, codes_measured: bool
    ) -> tuple[Observation, bool]:
        array = self.config.physics.array
        observation, is_batch = as_observation(y, H, codes, geometry, array, codes_measured=codes_measured)
        _, num_snapshots, num_antennas = observation.snapshots.shape
        self.check_sizes(num_snapshots, num_antennas, observation.codes.shape[-1])
        return observation, is_batch

    def __reduce__(self) -> tuple[type["Model"], tuple[str, Config, Params, str]]:
        """Copies and worker processes get the configuration and the parameters, and compile for themselves."""
        return Model, (self.name, self.config, jax.device_get(self.params), self.card)


def load(name: str | Path = "original") -> Model:
    """Load a trained network, and let JAX keep compiled programs (`risjax.runs.compile_cache`).

    Args:
        name: of a released network, a folder that `Model.save` or the stage ``release`` wrote, or a run directory.

    Returns:
        The network, ready to localise.

    Raises:
        FileNotFoundError: no network of this name; the message lists the released ones.
        JaxSettingsError: an environment variable of JAX requires an absent device or strict dtype promotion.
        WeightsError, CheckpointError: a damaged network.

    Example:
        >>> import risjax
        >>> model = risjax.load("original")             # doctest: +SKIP
        >>> sources = model.localise(y, H, codes)       # doctest: +SKIP
    """
    if jax_settings.are_set():
        jax_settings.check_jax_settings()
    enable_with_warning()
    found = find_weights(str(name))
    if found is None:
        raise FileNotFoundError(no_weights_text(str(name)))
    config = trained_config(found).model_copy(update={"weights": str(name)})
    card = found.folder / "card.md"
    text = card.read_text(encoding="utf-8") if found.is_released and card.is_file() else ""
    return Model(str(name), config, load_params(config, None), text)
