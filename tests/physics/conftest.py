"""Fixtures of the tests of the physics."""

import pytest

from risjax.types import Scene
from tests.physics.small import SMALL, small_scenes


@pytest.fixture(scope="package")
def nominal() -> Scene:
    """400 scenes of the small surface without impairments."""
    return small_scenes(SMALL)
