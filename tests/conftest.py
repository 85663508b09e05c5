"""Settings of every test. The environment comes first: risjax sets it before jax is imported."""

import risjax  # noqa: F401  (before jax: see risjax/__init__.py)

import jax  # noqa: E402  isort: skip

jax.config.update("jax_numpy_rank_promotion", "raise")
