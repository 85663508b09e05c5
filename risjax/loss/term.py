"""Interface of a term of the loss, and its inputs."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Complex, Float, Int

from risjax.config import CovarianceConfig
from risjax.covariance import CovarianceSettings, effective_covariance
from risjax.linalg import LowRankCovariance

Number = Float[Array, ""] | float


class Labels(NamedTuple):
    """Labels of a batch of scenes.

    Attributes:
        factor: B of the label covariance R = B B^H of trace N, [N, K].
        num_sources: K of the scene.
        sample_factor: factor of R_sample, [N, 1]. It is an input of R_eff, not a truth, and needs full precision too.
    """

    factor: Complex[Array, "*batch N K"]
    num_sources: Int[Array, "*batch"]
    sample_factor: Complex[Array, "*batch N one"]


class TermInputs(NamedTuple):
    """Inputs of a term for one scene, in full precision.

    Attributes:
        predicted: F of R_pred = F F^H, of any scale, [N, rank].
        label: label of the scene.
        covariance: settings that combine R_pred and R_sample into R_eff.
    """

    predicted: Complex[Array, "N rank"]
    label: Labels
    covariance: CovarianceConfig | CovarianceSettings

    def effective(self) -> LowRankCovariance:
        """Return R_eff, which the spectra use."""
        return effective_covariance(self.predicted, self.label.sample_factor, self.covariance)


@runtime_checkable
class Term(Protocol):
    """A term of the loss."""

    def __call__(self, scene: TermInputs, numbers: Mapping[str, Number], /) -> Float[Array, ""]:
        """Return the term of one scene, 0 for a perfect prediction.

        Args:
            scene: prediction and label.
            numbers: the settings that the term's section adds to those of `risjax.registry.TermConfig`, by name;
                scalars that may be traced.
        """
        ...
