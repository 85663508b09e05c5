"""Figures of the spectrum."""

import jax.numpy as jnp
import numpy as np

from risjax.config import GridConfig
from risjax.estimators.pictures import space_figure, spectrum_figure
from risjax.spectral.grid import make_grid, to_cosines
from risjax.types import Estimates, Sources
from tests.estimators.scenes import small_physics


def test_truth_and_estimates_lie_on_the_spectrum_and_its_slice() -> None:
    grid = make_grid(small_physics(), GridConfig(num_azimuth=9, num_elevation=7, num_range=4))
    position = jnp.asarray([[0.3, 0.1, 2.0], [-0.4, 0.0, 4.0]])
    sources = Sources(position, jnp.ones(2, jnp.complex64), jnp.asarray([True, True]))
    rest = jnp.zeros(2)
    estimates = Estimates(position + 0.01, rest, jnp.asarray([True, False]), position, rest, rest)
    peak = np.asarray(to_cosines(position[0]))
    heights_db = -20 * np.linalg.norm(np.asarray(grid.cosines) - peak, axis=-1)
    figure = spectrum_figure({"one": heights_db, "other": heights_db}, grid, sources, estimates)
    figure.canvas.draw()
    directions, ranges = figure.axes[:2]
    truth, found = directions.lines
    np.testing.assert_allclose(np.asarray(truth.get_xydata()), np.asarray(to_cosines(position))[:, :2])
    assert len(np.asarray(found.get_xydata())) == 1
    np.testing.assert_allclose(np.asarray(ranges.lines[0].get_ydata()), [0.5, 0.25])
    brightest = np.unravel_index(np.asarray(directions.collections[0].get_array()).argmax(), (7, 9))
    v, u = np.unique(np.asarray(grid.cosines)[..., 1]), np.unique(np.asarray(grid.cosines)[..., 0])
    assert abs(v[brightest[0]] - peak[1]) < v[1] - v[0]
    assert abs(u[brightest[1]] - peak[0]) < u[1] - u[0]
    space = space_figure(heights_db - heights_db.max(), grid, sources, estimates)
    space.canvas.draw()
    assert [len(np.asarray(shown.get_offsets())) for shown in space.axes[0].collections][1:] == [2, 1]
