"""Phase codes found by gradient for a channel that the receiver knows, or for a distribution of channels.

``prior.py`` samples the distribution of the sources, ``criteria.py`` contains the criteria, ``optimise.py`` the
gradient steps on the phases, and ``quantise.py`` the search over phase steps that follows them.
"""
