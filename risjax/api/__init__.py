"""Functions behind the public names of `risjax`: scenes, estimators, training, metrics and bounds in memory."""
