"""Settings of every test. The environment comes first: risjax sets it before jax is imported."""

import jax

import risjax  # noqa: F401  (before jax: see risjax/__init__.py)

jax.config.update("jax_numpy_rank_promotion", "raise")
