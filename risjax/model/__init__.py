"""Networks: encoders, covariance heads, posterior heads and the pure functions that wrap them."""

from risjax.model.build import Network, Params, build
from risjax.model.encoder import Inputs
from risjax.model.features import Features, make_inputs, make_inputs_and_fit

__all__ = ["Features", "Inputs", "Network", "Params", "build", "make_inputs", "make_inputs_and_fit"]
