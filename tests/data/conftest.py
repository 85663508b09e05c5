"""Arrays of scene files, for the tests of their readers."""

import numpy as np
import pytest

from risjax.data.simulate import shard_arrays
from tests.data.small import ORIGINAL, TINY


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return shard_arrays(TINY, 0, 0, 6)


@pytest.fixture(scope="module")
def original() -> dict[str, np.ndarray]:
    with np.load(ORIGINAL / "shard.npz", allow_pickle=False) as shard:
        return {name: shard[name] for name in shard.files}
