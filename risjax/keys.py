"""Random keys by seed, purpose and index.

Keys from ``fold_in`` by (seed, purpose, index) make splits disjoint by construction. They also make a resumed run equal
to an uninterrupted one, because batch 1234 of the training stream is always the same batch.
"""

import enum

import jax
from jaxtyping import Array, Integer, Key


@enum.unique
class Purpose(enum.IntEnum):
    """Purposes of keys, each with its own number. Changing a number would change the random draws of existing runs."""

    MODEL_INIT = 1
    TRAIN_SCENES = 2
    VALIDATION_SCENES = 3
    TEST_SCENES = 4
    SIMULATE = 6
    CALIBRATION_SCENES = 8
    POSTERIOR_SCENES = 9
    POSTERIOR_INIT = 10
    POSTERIOR_ORDER = 11
    LIMIT = 12
    DESIGN = 13
    DESIGN_SCENES = 14
    SELECTION_SCENES = 15


def purpose_key(
    seed: int | Integer[Array, ""], purpose: Purpose | Integer[Array, ""], index: int | Integer[Array, ""] = 0
) -> Key[Array, ""]:
    """Key of (seed, purpose, index).

    Args:
        seed: the run's seed, ``run.seed``.
        purpose: use of the key; different purposes have different keys. Its number may be traced.
        index: position within the purpose (batch number, scene number, epoch); may be traced.
    """
    number = int(purpose) if isinstance(purpose, Purpose) else purpose
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), index)
