"""A trained network in three lines: ``model = risjax.load("original"); model.localise(y, H, codes)``."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from numpy.typing import ArrayLike

from risjax.config import Config
from risjax.config.weights import find_weights, no_weights_text
from risjax.model import Params
from risjax.pipeline import make_pipeline
from risjax.predict.located import Located, located
from risjax.release import load_params
from risjax.release.load import trained_config
from risjax.types import Estimates, Geometry, Observation

MOST_SCENES = 64
"""Scenes that go through the pipeline together; more are cut into such batches."""

_SYMBOLS = {"snapshots": ("y", "L, M"), "channel": ("H", "M, N"), "codes": ("codes", "L, N")}


class MeasurementError(ValueError):
    """Measurements that this network cannot use; the message says what was got, what is expected, what to do."""


class Model:
    """A trained network with all that follows it, from measurements to sources.

    Attributes:
        name: what it was loaded as.
        config: the configuration that it was trained with; ``config.physics`` says what it expects.
        params: its parameters, a nested dict of arrays.
        card: its model card, Markdown; empty where it was not released.

    Example:
        >>> import numpy as np, risjax
        >>> model = risjax.load("original")                             # doctest: +SKIP
        >>> sources = model.localise(y, H, codes)                       # doctest: +SKIP
        >>> sources.azimuth_deg, sources.range_m, sources.existence     # doctest: +SKIP
    """

    def __init__(self, name: str, config: Config, params: Params, card: str = ""):
        self.name, self.config, self.params, self.card = name, config, params, card
        self._program = jax.jit(pipeline_of(config))

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
        min_existence: float = 0.0,
    ) -> Located:
        """Finds the sources of one scene, or of several with a leading axis S; blind to their number and the SNR.

        Args:
            y: snapshots, [L, M] or [S, L, M] complex, of any scale. Row l was received under the l-th code.
            H: channel from the surface to the base station, y_l = H diag(c_l) x; [M, N], or [S, M, N].
            codes: reflection coefficients of the elements, [L, N] or [S, L, N]; element n = i_v * N_H + i_h.
            geometry: where the elements were measured to be, [N, 2] or [S, N, 2] in metres, and the wavelength; None
                is the array of ``config.physics``. Candidates and fits use it; the network itself is blind to it.
            min_existence: leave out sources that exist with less than this probability.

        Returns:
            The sources, in radians and metres with properties in degrees; with a leading axis S where ``y`` has one.

        Raises:
            MeasurementError: wrong shapes or dtypes, values that are not finite, or nothing but zeros.
        """
        observation, is_batch = self._checked(y, H, codes, geometry)
        count = len(observation.snapshots)
        size = min(MOST_SCENES, 1 << (count - 1).bit_length())
        parts = [
            self.estimate(jax.tree.map(lambda array, at=start: array[at : at + size], observation), size)
            for start in range(0, count, size)
        ]
        found = located(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), min_existence)
        return found if is_batch else Located(*(array[0] for array in found))

    def estimate(self, observation: Observation, size: int) -> Estimates:
        """What the pipeline says of at most ``size`` scenes, filled up to ``size`` so that one program serves all."""
        count = len(observation.snapshots)
        rows = np.minimum(np.arange(size), count - 1)
        filled = jax.tree.map(lambda array: np.ascontiguousarray(array[rows]), observation)
        found = jax.device_get(self._program(self.params, filled))
        return jax.tree.map(lambda leaf: leaf[:count], found)

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
        if encoder == "snapshots" and (num_snapshots, num_antennas) != expected:
            raise MeasurementError(
                f"got L = {num_snapshots} snapshots of M = {num_antennas} antennas; the network {self.name!r} takes "
                f"{expected[0]} of {expected[1]} (model.encoder = {encoder})"
            )

    def _checked(
        self, y: ArrayLike, H: ArrayLike, codes: ArrayLike, geometry: Geometry | None
    ) -> tuple[Observation, bool]:
        arrays = {
            name: _as_complex(value, *_SYMBOLS[name]) for name, value in zip(_SYMBOLS, (y, H, codes), strict=True)
        }
        snapshots, channel, code = arrays.values()
        is_batch = snapshots.ndim == 3
        num_snapshots, num_antennas = snapshots.shape[-2:]
        num_elements = code.shape[-1]
        for name, shape in (("channel", (num_antennas, num_elements)), ("codes", (num_snapshots, num_elements))):
            symbol, text = _SYMBOLS[name]
            got = arrays[name].shape
            if got[-2:] != shape or (len(got) == 3 and (not is_batch or got[0] != len(snapshots))):
                batch = f" or {[len(snapshots), *shape]}" if is_batch else ""
                raise MeasurementError(
                    f"{symbol} has shape {list(got)}, expected [{text}] = {list(shape)}{batch}, given y "
                    f"{list(snapshots.shape)} and codes {list(code.shape)}"
                )
        self.check_sizes(num_snapshots, num_antennas, num_elements)
        count = len(snapshots) if is_batch else 1
        if count == 0:
            raise MeasurementError("y holds no scenes")
        full = (np.broadcast_to(array, (count, *array.shape[-2:])) for array in (snapshots, channel, code))
        return Observation._make((*full, _checked_geometry(geometry, count, num_elements))), is_batch


def pipeline_of(config: Config) -> Callable[[Params, Observation], Estimates]:
    """The whole pipeline of a configuration: parameters and a batch of observations to sources."""
    pipeline = make_pipeline(config.physics, config.precision, config.model, config.estimator)
    return lambda params, observation: pipeline.sources(params, observation, config.covariance)[1]


def load(name: str | Path = "original") -> Model:
    """Loads a trained network.

    Args:
        name: of a released one, a folder that the stage ``release`` wrote, or a run directory.

    Raises:
        FileNotFoundError: there is none; the message names those that there are.
        WeightsError, CheckpointError: it is damaged.
    """
    found = find_weights(str(name))
    if found is None:
        raise FileNotFoundError(no_weights_text(str(name)))
    config = trained_config(found).model_copy(update={"weights": str(name)})
    card = found.folder / "card.md"
    text = card.read_text(encoding="utf-8") if found.is_released and card.is_file() else ""
    return Model(str(name), config, load_params(config, None), text)


def _as_complex(value: ArrayLike, symbol: str, dimensions: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in ("c" if symbol != "codes" else "cfiu"):
        packed = "; a trailing axis of real and imaginary part is a[..., 0] + 1j * a[..., 1]"
        raise MeasurementError(f"{symbol} has dtype {array.dtype}, expected complex{packed}")
    if array.ndim not in (2, 3):
        raise MeasurementError(f"{symbol} has shape {list(array.shape)}, expected [{dimensions}] or [S, {dimensions}]")
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(np.complex64)
    finite = np.isfinite(array)
    if not finite.all():
        where = np.argwhere(~finite)[0].tolist()
        raise MeasurementError(f"{symbol} holds {(~finite).sum()} values that are not finite, the first at {where}")
    if array.size and not array.any(axis=(-2, -1)).all():
        raise MeasurementError(f"{symbol} is all zero" + (" in some scenes" if array.ndim == 3 else ""))
    return array


def _checked_geometry(geometry: Geometry | None, scenes: int, elements: int) -> Geometry | None:
    if geometry is None:
        return None
    held = {}
    for name, shape in (("elements_m", (elements, 2)), ("wavelength_m", ())):
        value = getattr(geometry, name)
        array = None if value is None else np.asarray(value)
        if array is not None and array.dtype.kind not in "fiu":
            raise MeasurementError(f"geometry.{name} has dtype {array.dtype}, expected real numbers, in metres")
        if array is not None and array.shape not in (shape, (scenes, *shape)):
            raise MeasurementError(
                f"geometry.{name} has shape {list(array.shape)}, expected {list(shape)} or {[scenes, *shape]}"
            )
        if array is not None and not (np.isfinite(array).all() and (name != "wavelength_m" or (array > 0).all())):
            raise MeasurementError(f"geometry.{name} holds values that are not finite, or a wavelength of 0 m or less")
        held[name] = None if array is None else np.broadcast_to(array.astype(np.float32), (scenes, *shape))
    return Geometry(**held) if any(array is not None for array in held.values()) else None
