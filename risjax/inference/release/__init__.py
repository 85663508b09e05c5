"""Released weights: a folder with a trained network and its documentation, and the loading of one."""

from risjax.inference.release.load import load_params
from risjax.inference.release.write import release, write_network
from risjax.runs.safetensors_io import WeightsError, read_weights, write_weights

__all__ = ["WeightsError", "load_params", "read_weights", "release", "write_network", "write_weights"]
