"""Interface of an encoder: the inputs of a network, and the modules that map them to a prediction."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Complex

from risjax.config import ArrayConfig, ModelConfig, PhysicsConfig
from risjax.config.model import ENCODERS
from risjax.physics.images import MeasuredField
from risjax.registry import implementation_of
from risjax.types import Observation, Prediction


class Inputs(NamedTuple):
    """Inputs of a network for one scene, and the factor of the sample covariance, computed from the same images.

    Attributes:
        features: a pytree of real arrays in float32, as `risjax.model.features.Features`.
        sample_factor: the factor of R_sample: x_hat, [N, 1], or the images of the snapshots over sqrt(L), [N, L].
    """

    features: Any
    sample_factor: Complex[Array, "*batch N snapshots"]


@runtime_checkable
class MakeInputs(Protocol):
    """Computation of the inputs of one scene."""

    def __call__(
        self, observation: Observation, config: ModelConfig, physics: PhysicsConfig, /
    ) -> tuple[Inputs, MeasuredField | None]:
        """Return the inputs, and the measured field where the computation yields it; batched by vmap.

        Args:
            observation: of one scene, scaled to unit power (`risjax.physics.scaling.normalise_scene`).
            config: configuration of the network; the settings of the encoder are ``config.<its name>``.
            physics: array and field of view.

        Returns:
            The inputs, and the measured field of a scene with ``constant`` symbols (`regularised_images` of
            `risjax.physics.images`), else None.
        """
        ...


@runtime_checkable
class MakeModule(Protocol):
    """A class of `flax.nnx.Module`."""

    def __call__(self, array: ArrayConfig, config: ModelConfig, /, *, rngs: nnx.Rngs) -> nnx.Module:
        """Return the module for a surface; its ``__call__`` maps a batch to a batch in the dtype of its input."""
        ...


class NetworkParts(NamedTuple):
    """Implementation of a registered encoder.

    Attributes:
        make_inputs: the inputs of one scene.
        encoder: module from a batch of ``Inputs.features`` to what ``head`` reads; the parameters ``encoder``.
        head: module from the encoder's output to a batch of `risjax.types.Prediction`; the parameters ``head``.
            `risjax.model.transformer.CovarianceHead` reads a token for each patch.
    """

    make_inputs: MakeInputs
    encoder: MakeModule
    head: MakeModule


class CovarianceNetwork(nnx.Module):
    """Encoder and head; the log reports their gradient norms separately."""

    def __init__(self, array: ArrayConfig, config: ModelConfig, *, rngs: nnx.Rngs):
        parts = parts_of(config)
        self.encoder = parts.encoder(array, config, rngs=rngs)
        self.head = parts.head(array, config, rngs=rngs)

    def __call__(self, features: Any) -> Prediction:
        return self.head(self.encoder(features))


def parts_of(config: ModelConfig) -> NetworkParts:
    """Inputs, encoder and head of ``model.encoder``."""
    return implementation_of(ENCODERS[config.encoder])
