"""Random keys by purpose and index, so that every draw has one address.

``fold_in`` by (seed, purpose, index) makes splits disjoint by construction and a resumed run equal
to an unbroken one: batch 1234 of the training stream is the same batch whenever it is asked for.
"""

import enum

import jax
from jaxtyping import Array, Integer, Key


class Purpose(enum.IntEnum):
    """What a key is drawn for. The numbers are part of every run's reproducibility: never renumber."""

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
    REFINER_SCENES = 13
    REFINER_INIT = 14


def purpose_key(
    seed: int | Integer[Array, ""], purpose: Purpose, index: int | Integer[Array, ""] = 0
) -> Key[Array, ""]:
    """The key at (seed, purpose, index).

    Args:
        seed: the run's seed, ``run.seed``.
        purpose: what the key is for; different purposes never share a key.
        index: position within the purpose (batch number, scene number, epoch); may be traced.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), int(purpose)), index)
