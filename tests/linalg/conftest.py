"""The linear algebra is compared in 32 and 64 bits: x64 within this folder only."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield
