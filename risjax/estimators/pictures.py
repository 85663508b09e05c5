"""Figures of the spectra of a scene: ``python -m risjax.estimators.pictures [--physics original] [--out figures]``.

* ``spectrum.png``: the matched filter of the likelihood and MVDR of the sample covariance, as a map of directions and
  as a slice through the strongest estimate in azimuth and range, with the true sources and the estimates of greedy
  maximum likelihood;
* ``spectrum_3d.png``: points in space where the matched filter is within a few dB of its peak.

No other module imports this one, so that the estimators do not load matplotlib.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from risjax.config import EstimatorConfig, GridConfig, PhysicsConfig
from risjax.estimators.forward_selection import empty_fit, gain_on_grid, search_energy
from risjax.estimators.greedy import localise_greedy
from risjax.estimators.likelihood import statistics
from risjax.keys import Purpose, purpose_key
from risjax.linalg import LowRankCovariance, normalise_trace
from risjax.physics.array import cartesian
from risjax.physics.images import regularised_images
from risjax.physics.pictures import read_arguments, save_figures
from risjax.physics.scene import draw_scene
from risjax.spectral.grid import Grid, grid_for, make_grid, to_cosines, to_position
from risjax.spectral.spectrum import mvdr_spectrum
from risjax.types import Estimates, Observation, Sources

GRID = GridConfig(num_azimuth=73, num_elevation=37, num_range=16)
DEPTH_DB = 20.0
NEAR_PEAK_DB = 4.0


def spectra(observation: Observation, physics: PhysicsConfig, grid: Grid) -> dict[str, Float[np.ndarray, "Gu Gv Gs"]]:
    """Each spectrum over the grid in dB relative to its peak; -inf outside the field of view."""

    @jax.jit
    def heights(observation: Observation, grid: Grid) -> tuple[jax.Array, jax.Array]:
        data = statistics(observation, physics)
        grid = grid_for(grid, physics, data.geometry)
        fit = empty_fit(data, physics, grid.cosines.dtype)
        gain = gain_on_grid(data, physics, fit, grid, search_energy(data, grid.steering))
        factor = normalise_trace(regularised_images(observation, (1.0,)).field.T)
        return gain, mvdr_spectrum(LowRankCovariance(factor, jnp.asarray(1e-3)), grid.steering)

    inside = np.asarray(grid.inside)
    result = {}
    for name, values in zip(
        ("matched filter", "MVDR of the sample covariance"), heights(observation, grid), strict=True
    ):
        values = np.where(inside, np.asarray(values).reshape(inside.shape), 0)
        with np.errstate(divide="ignore"):
            result[name] = 10 * np.log10(np.maximum(values, 0) / values.max())
    return result


def _marks(axes: Axes, truth: np.ndarray, found: np.ndarray) -> None:
    """Plot true and estimated sources, [K, 2], in the coordinates of the axes."""
    axes.plot(truth[:, 0], truth[:, 1], "o", markersize=9, markerfacecolor="none", color="w", label="truth")
    axes.plot(found[:, 0], found[:, 1], "x", markersize=7, color="c", label="greedy maximum likelihood")


def spectrum_figure(heights_db: dict[str, np.ndarray], grid: Grid, sources: Sources, estimates: Estimates) -> Figure:
    """Figure with a row for each spectrum: maximum over ranges, and slice at the elevation of the strongest source."""
    truth = np.asarray(to_cosines(jnp.asarray(sources.position)[np.asarray(sources.active)]))
    found = np.asarray(to_cosines(jnp.asarray(estimates.position)[np.asarray(estimates.active)]))
    u, v, s = (np.unique(np.asarray(grid.cosines)[..., axis]) for axis in range(3))
    row = int(np.argmin(np.abs(v - (found if len(found) else truth)[0, 1])))
    figure = Figure(figsize=(10, 3.6 * len(heights_db)), layout="constrained")
    panels = figure.subplots(len(heights_db), 2, squeeze=False)
    for (name, values), (directions, ranges) in zip(heights_db.items(), panels, strict=True):
        # MVDR of a rank-one covariance spans few dB, so each row has its own scale
        low = max(-DEPTH_DB, float(np.min(values, where=np.isfinite(values), initial=0)))
        directions.pcolormesh(u, v, values.max(2).T, vmin=low, vmax=0, cmap="magma")
        directions.set(title=f"{name}, largest over ranges", xlabel="sin φ cos θ", ylabel="sin θ")
        _marks(directions, truth[:, :2], found[:, :2])
        shown = ranges.pcolormesh(u, s, values[:, row, :].T, vmin=low, vmax=0, cmap="magma")
        figure.colorbar(shown, ax=ranges, label="dB below the peak")
        ranges.set(
            title=f"at sin θ = {v[row]:.2f}, all sources projected", xlabel="sin φ cos θ", ylabel="1 / range, 1/m"
        )
        _marks(ranges, truth[:, [0, 2]], found[:, [0, 2]])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, labelcolor="w", facecolor="0.3")
    return figure


def space_figure(heights_db: np.ndarray, grid: Grid, sources: Sources, estimates: Estimates) -> Figure:
    """Figure of the grid points within `NEAR_PEAK_DB` of the peak in space, with true sources and estimates."""
    near = heights_db > -NEAR_PEAK_DB
    points = np.asarray(cartesian(to_position(jnp.asarray(np.asarray(grid.cosines)[near]))))
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot(projection="3d")

    def place(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return coordinates[:, 2], coordinates[:, 0], coordinates[:, 1]

    shown = axes.scatter(*place(points), c=heights_db[near], cmap="magma", s=6, alpha=0.4)  # pyright: ignore[reportArgumentType]
    for name, held, style in (
        ("truth", sources, {"marker": "o", "facecolors": "none", "edgecolors": "k", "s": 70}),
        ("greedy maximum likelihood", estimates, {"marker": "x", "color": "c", "s": 50}),
    ):
        chosen = np.asarray(cartesian(jnp.asarray(held.position)[np.asarray(held.active)]))
        axes.scatter(*place(chosen), label=name, **style)  # pyright: ignore[reportArgumentType]
    figure.colorbar(shown, label="matched filter, dB below the peak", shrink=0.7)
    axes.set(xlabel="boresight, m", ylabel="horizontal, m", zlabel="vertical, m")
    axes.legend(loc="upper left", fontsize=8)
    return figure


def main() -> None:
    """Write both figures for a scene of three sources."""
    shown = ["physics.scene.num_sources=[3, 3]", "physics.scene.snr_db=[15, 15]"]
    physics, seed, folder = read_arguments(__doc__, shown)
    estimator = EstimatorConfig()
    observation, truth = jax.jit(lambda: draw_scene(purpose_key(seed, Purpose.SIMULATE), physics))()
    estimates = jax.jit(lambda o: localise_greedy(o, physics, estimator))(observation)
    grid = make_grid(physics, GRID)
    heights_db = spectra(observation, physics, grid)
    figures = {
        "spectrum": spectrum_figure(heights_db, grid, truth.sources, estimates),
        "spectrum_3d": space_figure(heights_db["matched filter"], grid, truth.sources, estimates),
    }
    save_figures(figures, folder)


if __name__ == "__main__":
    main()
