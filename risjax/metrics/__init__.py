"""Metrics of localisation, computed with NumPy on the host.

`risjax.metrics.matching` and `risjax.metrics.detection` import no jax: the report uses them.
"""
