"""The network: encoders, covariance heads and the functional boundary around them."""

from risjax.model.build import Network, Params, build
from risjax.model.features import Features, Inputs, make_inputs

__all__ = ["Features", "Inputs", "Network", "Params", "build", "make_inputs"]
