"""Figures of the physics."""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from risjax.config import ArrayConfig, CodebookConfig, PhysicsConfig
from risjax.physics.codebook import codes
from risjax.physics.pictures import (
    BOUND_RANGES_M,
    BOUND_SNRS_DB,
    bound_figure,
    codebook_figure,
    scene_figure,
)
from risjax.types import Observation, Scene, Sources, Truth

PHYSICS = PhysicsConfig(
    array=ArrayConfig(num_horizontal=6, num_vertical=6),
    codebook=CodebookConfig(kind="dft", num_snapshots=5, phase_bits=None),
)


def _drawn(figure: Figure) -> Figure:
    figure.canvas.draw()
    return figure


def test_a_scene_shows_every_element_and_every_active_source():
    position = jnp.asarray([[0.3, 0.1, 2.0], [-0.4, 0.0, 5.0], [0, 0, 0]])
    sources = Sources(position, jnp.asarray([1e-3, 1e-2j, 0], jnp.complex64), jnp.asarray([True, True, False]))
    truth = Truth(sources, jnp.asarray(10.0), jnp.asarray(1.0), jnp.zeros((36, 3), jnp.complex64))
    nothing = jnp.zeros(())
    figure = _drawn(scene_figure(PHYSICS, Scene(Observation(nothing, nothing, nothing), truth)))
    elements, shown = figure.axes[0].collections
    assert len(np.asarray(elements.get_offsets())) == 36
    assert len(np.asarray(shown.get_offsets())) == 2
    assert "2 sources" in figure.axes[0].get_title()


def test_the_beams_of_a_codebook_point_in_the_directions_of_its_codes():
    """Code 0 of a DFT codebook is broadside: its panel is brightest in the middle, at 0 dB."""
    figure = _drawn(codebook_figure(PHYSICS, codes(PHYSICS.codebook, PHYSICS.array), points=21))
    images = [np.ma.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert len(images) == 5
    assert np.unravel_index(images[0].argmax(), images[0].shape) == (10, 10)
    np.testing.assert_allclose(images[0].max(), 0, atol=1e-9)


def test_the_bound_is_plotted_against_snr_with_a_line_for_each_range():
    table = np.random.default_rng(0).uniform(0.01, 1, (len(BOUND_RANGES_M), len(BOUND_SNRS_DB), 3))
    figure = _drawn(bound_figure(table))
    for axes, column, unit in ((figure.axes[0], 0, 180 / np.pi), (figure.axes[1], 2, 1.0)):
        for line, values in zip(axes.lines, table[:, :, column] * unit, strict=False):
            np.testing.assert_allclose(np.asarray(line.get_ydata()), values)
