"""Physics of a scene: array, channel, phase codes, measurement, impairments, and Cramér-Rao bounds.

``array.py`` computes the steering vectors for the whole package. ``scene.py`` draws scenes, ``measurement.py`` contains
the measurement model and the back-projection, ``codebook.py`` the phase codes, ``crb.py`` the bounds.
"""
