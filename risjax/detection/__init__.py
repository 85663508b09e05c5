"""From a spectrum to the reported sources: candidates, their features, and the posterior decision.

``decision.py`` decides how many sources are reported, and their ranges, from the probabilities of the posterior head.
Without a head, `risjax.estimators.forward_selection.count_by_residual` decides the number.
"""
