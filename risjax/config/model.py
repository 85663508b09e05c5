"""``precision.*``, ``model.*``, ``covariance.*``: the network, its dtypes, and the covariance derived from it.

`ENCODERS` registers the networks, those of other packages included (`risjax.registry`).
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from risjax.registry import Encoder, Fraction, FromList, PositiveFloat, PositiveInt, Section, collect, with_sections

_LossScale = Annotated[float, Field(gt=0.0, le=2.0**127)]
"""A loss scale is a float32 number; 2^127 is its largest power of two."""


class PrecisionConfig(Section):
    """The three dtypes of the policy, and the loss's matmul precision."""

    params: Literal["float32", "float64"] = "float32"
    """Dtype of the parameters, the optimizer's state and the EMA."""
    compute: Literal["bfloat16", "float16", "float32", "float64"] = "bfloat16"
    """Dtype of the network. float64 is for tests and needs JAX_ENABLE_X64."""
    output: Literal["float32", "float64"] = "float32"
    """Dtype of the network's output."""
    loss_matmul: Literal["highest", "high", "default"] = "highest"
    """Matmul precision of the loss; ``default`` is TF32 on recent NVIDIA GPUs and is not full precision."""
    initial_loss_scale: _LossScale = 2.0**15
    """float16 only: first value of the dynamic loss scale."""
    loss_scale_period: PositiveInt = 2000
    """float16 only: finite steps in a row before the scale doubles."""
    min_loss_scale: _LossScale = 1.0
    """float16 only: smallest value of the loss scale."""


_TORCH = "risjax.experiments.torch_baseline.network"

ENCODERS: dict[str, Encoder] = collect(
    "risjax.encoders",
    Encoder,
    (
        Encoder(
            name="backprojection",
            implementation="risjax.model.transformer:BACKPROJECTION",
            torch=f"{_TORCH}:BACKPROJECTION",
        ),
        Encoder(
            name="minimum_norm",
            implementation="risjax.model.transformer:MINIMUM_NORM",
            needs_common_field=False,
            torch=f"{_TORCH}:MINIMUM_NORM",
        ),
        Encoder(
            name="snapshots",
            implementation="risjax.model.snapshots:SNAPSHOTS",
            needs_patches=False,
            has_fixed_sizes=True,
            torch=f"{_TORCH}:SNAPSHOTS",
        ),
    ),
)
"""Every encoder by its name."""

if TYPE_CHECKING:
    EncoderName = str
else:
    EncoderName = Literal[tuple(ENCODERS)]


class _ModelConfig(Section):
    """The network: an encoder and a head that emits the covariance's low-rank factor."""

    encoder: EncoderName = "backprojection"
    """``backprojection``: a transformer over patches of the regularised image of the field on the surface.
    ``minimum_norm``: the same transformer over patches of the ``rank`` strongest principal components of the snapshots'
    images, which need no field common to all snapshots. ``snapshots``: the original pipeline's shape, raw
    snapshots with codes and H c pooled apart, for comparison; it reads neither ``patch`` nor
    ``extra_regularisation``. Or an encoder of another package."""
    width: PositiveInt = 128
    """Channels of a token."""
    layers: PositiveInt = 4
    """Transformer blocks."""
    heads: PositiveInt = 4
    """Attention heads of a block; they divide ``width``."""
    mlp_ratio: PositiveInt = 4
    """Hidden channels of a block's MLP over its width."""
    patch: PositiveInt = 2
    """Side of the square patch of elements that becomes one token."""
    rank: PositiveInt = 8
    """Columns of the predicted factor."""
    extra_regularisation: Annotated[tuple[PositiveFloat, ...], FromList] = (0.1,)
    """Ridge weights of further images shown beside the first one, as multiples of its weight (the data's
    noise-to-signal estimate)."""
    posterior_width: PositiveInt = 64
    """Hidden channels of the posterior head, which judges candidates."""
    posterior_knots: Annotated[int, Field(ge=2)] = 8
    """Ranges at which the posterior head gives its log-prior."""

    @property
    def needs_common_field(self) -> bool:
        """True if the encoder needs one coherent field in all snapshots, which requires ``constant`` symbols."""
        return ENCODERS[self.encoder].needs_common_field

    @model_validator(mode="after")
    def _heads_divide(self) -> "_ModelConfig":
        if self.width % self.heads:
            raise ValueError(
                f"heads must divide width, got width = {self.width} and heads = {self.heads}; "
                f"try heads = {next(h for h in range(self.heads, 0, -1) if self.width % h == 0)}"
            )
        return self


if TYPE_CHECKING:
    ModelConfig = _ModelConfig
else:
    ModelConfig = with_sections(_ModelConfig, ENCODERS)


class CovarianceConfig(Section):
    """R_eff = (1 - blend) R_pred + blend R_sample, loaded; the same everywhere."""

    blend: Fraction = 0.1
    """beta, the share of the sample covariance."""
    loading: PositiveFloat = 1.0e-3
    """delta, added to the diagonal at trace N. Shrinkage, a share s of the trace moved to the identity, with a loading
    d is the same as the loading (s + d) / (1 - s)."""
