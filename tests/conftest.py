"""Settings of every test. The environment comes first: risjax sets it, and jaxlib reads it when it is loaded."""

import risjax  # noqa: F401

# isort: split
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
