"""``precision.*``, ``model.*``, ``loss.*``, ``covariance.*``, ``train.*``, ``checks.*``: what is learned, and how."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from risjax.config.metric import Metric
from risjax.config.section import (
    Fraction,
    FromList,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)


class PrecisionConfig(Section):
    """The three dtypes of the policy, and the loss's matmul precision."""

    params: Literal["float32", "float64"] = "float32"
    """Dtype of the parameters, the optimizer's state and the EMA."""
    compute: Literal["bfloat16", "float16", "float32", "float64"] = "bfloat16"
    """Dtype of the network. float64 is for tests and needs JAX_ENABLE_X64."""
    output: Literal["float32", "float64"] = "float32"
    """Dtype at the network's exit."""
    loss_matmul: Literal["highest", "high", "default"] = "highest"
    """Matmul precision of the loss; ``default`` is TF32 on recent NVIDIA GPUs and is not full precision."""
    initial_loss_scale: PositiveFloat = 2.0**15
    """float16 only: where the dynamic loss scale starts."""
    loss_scale_period: PositiveInt = 2000
    """float16 only: finite steps in a row before the scale doubles."""
    min_loss_scale: PositiveFloat = 1.0
    """float16 only: the scale's floor."""


class ModelConfig(Section):
    """The network: an encoder and a head that emits the covariance's low-rank factor."""

    encoder: Literal["backprojection", "minimum_norm", "snapshots"] = "backprojection"
    """``backprojection``: a transformer over patches of the regularised image of the field on the surface.
    ``minimum_norm``: the same transformer over patches of the ``rank`` strongest principal components of the snapshots'
    own images, which ask for no field common to all snapshots. ``snapshots``: the original pipeline's shape, raw
    snapshots with codes and H c pooled apart, for comparison; it reads neither ``patch`` nor
    ``extra_regularisation``."""
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
    """Ridge weights of further images shown beside the first one, as multiples of its own (the data's
    noise-to-signal estimate)."""
    posterior_width: PositiveInt = 64
    """Hidden channels of the posterior head, which judges candidates."""
    refiner_width: NonNegativeInt = 0
    """Channels of the refiner, a U-Net that turns the learned spectrum into a map of sources; peaks and candidates are
    looked for in the map then. 0 leaves it out."""
    posterior_knots: Annotated[int, Field(ge=2)] = 8
    """Ranges at which the posterior head gives its log-prior."""
    geometry_slots: NonNegativeInt = 0
    """Slots of the geometry head, which names sources itself, each with a probability and a position; what
    ``loss.geometry`` trains and the method ``learned_geometry`` reports. At least ``physics.scene.max_sources``; 0
    leaves the head out."""

    @property
    def needs_common_field(self) -> bool:
        """Whether the encoder sees images of one coherent field in all snapshots, as ``constant`` symbols make it."""
        return self.encoder != "minimum_norm"

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        if self.width % self.heads:
            raise ValueError(
                f"heads must divide width, got width = {self.width} and heads = {self.heads}; "
                f"try heads = {next(h for h in range(self.heads, 0, -1) if self.width % h == 0)}"
            )
        return self

    @model_validator(mode="after")
    def _tokens_to_look_at(self) -> "ModelConfig":
        if self.geometry_slots and self.encoder == "snapshots":
            raise ValueError(
                f"geometry_slots must be 0 with encoder = snapshots, got {self.geometry_slots}: its one vector a scene "
                "leaves slots nothing to attend to; take backprojection or minimum_norm"
            )
        return self


class TermConfig(Section):
    """One term of the loss: its weight, and the multiples of it that a training begins and ends with."""

    weight: NonNegativeFloat = 1.0
    """Weight in the sum; 0 leaves the term out of the program."""
    warmup: NonNegativeFloat = 1.0
    """Multiple of ``weight`` at the first step, see ``loss.schedule``; 0 keeps the term for later."""
    final: NonNegativeFloat = 1.0
    """Multiple of ``weight`` at the last step, see ``loss.schedule``."""


class CovarianceTermConfig(TermConfig):
    """NMSE of the predicted covariance against the label, both of trace N."""

    diagonal: NonNegativeFloat = 1.0
    """Weight of the squared errors on the diagonal over those beside it, in the numerator and in the denominator. With
    elements of one amplitude every label's diagonal is all ones, whatever the scene."""


class ProjectorTermConfig(TermConfig):
    """Distance of the signal projectors of R_eff and of the label, through ``jnp.linalg.eigh`` with the gauge-invariant
    rule."""


class AlignmentTermConfig(TermConfig):
    """Share of R_pred's power outside the true sources' span, plus the mean share of a true steering vector that R_pred
    does not explain: the second keeps a covariance of rank 1 inside the span from scoring well."""

    loading: PositiveFloat = 0.1
    """delta at trace N: a true source that R_pred gives the power p has the share delta / (p + delta) left to explain.
    The smaller, the more weak sources count."""


class ContrastTermConfig(TermConfig):
    """MVDR spectrum of R_eff at every true source against directions half a beam and a beam away, at the source's own
    range: softplus of what is missing of a margin, 1 where the spectrum is flat."""

    margin_db: NonNegativeFloat = 10.0
    """How far the source is to stand above its neighbourhood."""


class GeometryTermConfig(TermConfig):
    """Set loss of the geometry head: its slots optimally matched with the true sources, binary cross-entropy of
    existence plus the position errors of matched slots. Needs ``model.geometry_slots``."""

    position: PositiveFloat = 5.0
    """Weight of a matched slot's error in position over existence, in the loss and in the matching."""
    smoothing: PositiveFloat = 0.05
    """Share of the field of view up to which an error in sin(azimuth), sin(elevation) or inverse range counts squared,
    and beyond which it counts as it is."""


class LossScheduleConfig(Section):
    """Three phases of the terms' weights, as shares of all updates. Every weight goes linearly from its ``warmup``
    multiple to ``weight`` itself, stays there, and goes linearly to its ``final`` multiple. All multiples are 1 by
    default, and so all weights constant."""

    warmup_fraction: Fraction = 0.1
    """Length of the first phase; 0 begins with the second."""
    final_fraction: Fraction = 0.2
    """Length of the last phase; 0 ends with the second."""

    @model_validator(mode="after")
    def _within_the_training(self) -> "LossScheduleConfig":
        if self.warmup_fraction + self.final_fraction > 1 + 1e-9:
            raise ValueError(
                f"warmup_fraction and final_fraction must not overlap, got {self.warmup_fraction} and "
                f"{self.final_fraction}, together more than the whole training; lower one of them"
            )
        return self


class LossConfig(Section):
    """The loss: a weighted sum of terms, each in full precision."""

    covariance: CovarianceTermConfig = CovarianceTermConfig(weight=1.0)
    projector: ProjectorTermConfig = ProjectorTermConfig(weight=0.5)
    alignment: AlignmentTermConfig = AlignmentTermConfig(weight=0.0)
    contrast: ContrastTermConfig = ContrastTermConfig(weight=0.0)
    geometry: GeometryTermConfig = GeometryTermConfig(weight=0.0)
    schedule: LossScheduleConfig = LossScheduleConfig()

    @property
    def terms(self) -> dict[str, TermConfig]:
        """Every term by its name, whatever its weight."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in named.items() if isinstance(term, TermConfig)}


class CovarianceConfig(Section):
    """R_eff = (1 - blend) R_pred + blend R_sample, shrunk towards the identity, loaded; the same everywhere."""

    blend: Fraction = 0.1
    """beta, the share of the sample covariance."""
    shrinkage: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the trace moved to the identity."""
    loading: PositiveFloat = 1.0e-3
    """delta, added to the diagonal at trace N."""


class PosteriorTrainConfig(Section):
    """The second stage: the posterior head, on candidates that the frozen network proposes."""

    scenes: NonNegativeInt = 8192
    """Fresh scenes whose candidates it learns from; a quarter more are held out. 0 leaves the head out."""
    epochs: PositiveInt = 40
    """Passes over them."""
    learning_rate: PositiveFloat = 1.0e-3
    """Peak of AdamW's cosine."""


class RefinerTrainConfig(Section):
    """Between the network and the posterior heads: the refiner, on spectra of the frozen network."""

    steps: PositiveInt = 1000
    """Steps of ``batch_size`` fresh scenes."""
    learning_rate: PositiveFloat = 3.0e-3
    """Peak of AdamW's cosine."""


class TrainConfig(Section):
    """The optimizer, the schedule and the length of a training."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon orthogonalises the updates of matrices; both take the same learning rates."""
    learning_rate: PositiveFloat = 1.0e-3
    """Peak of the warm-up-cosine schedule."""
    weight_decay: NonNegativeFloat = 1.0e-4
    """Decoupled, times the learning rate, of matrices alone."""
    warmup_fraction: Fraction = 0.1
    """Share of all steps spent warming up linearly."""
    final_learning_rate_fraction: Fraction = 0.02
    """Where the cosine ends, as a share of the peak."""
    clip_norm: PositiveFloat = 1.0
    """Global norm that gradients are clipped to."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Decay of the exponential moving average of the parameters, which is what is validated and released."""
    batch_size: PositiveInt = 64
    """Scenes a step, over all devices."""
    devices: PositiveInt | None = None
    """Devices that share every batch, each with a copy of the parameters and ``batch_size / devices`` scenes, which it
    draws itself. null takes all that there are, or the largest number of them that divides the batch. Results differ
    by rounding only. Several processes (``distributed``) always train on all of their devices."""
    accumulation: PositiveInt = 1
    """Equal parts that a device works on its ``batch_size / devices`` scenes in, one after the other, adding up their
    gradients, before it takes the one step of the batch: activations and scenes of one part are in memory at a time.
    Results differ by rounding only."""
    steps_per_epoch: PositiveInt = 250
    """Steps between two validations."""
    epochs: PositiveInt = 12
    """Length of the training, and of its schedule."""
    validation_scenes: PositiveInt = 256
    """Fixed scenes, disjoint from training by construction, measured after every epoch."""
    best_metric: Metric = "gospa_m"
    """Validation metric that decides which epoch's checkpoint is the best; ``nmse`` is a surrogate."""
    max_consecutive_skips: PositiveInt = 20
    """Steps with a non-finite gradient in a row that stop the run."""
    tensorboard: bool = False
    """TensorBoard event files beside the log, in the run's folder ``tensorboard``; needs the extra of that name."""
    refiner: RefinerTrainConfig = RefinerTrainConfig()
    posterior: PosteriorTrainConfig = PosteriorTrainConfig()
    dataset_scenes: NonNegativeInt = 0
    """0 streams fresh scenes for ever; otherwise so many scenes, whole batches of the stream, are repeated."""

    @field_validator("dataset_scenes")
    @classmethod
    def _whole_batches(cls, scenes: int, info: Any) -> int:  # a ValidationInfo, which beartype cannot check
        batch_size = info.data.get("batch_size", 1)  # absent where it was refused itself
        if scenes % batch_size:
            raise ValueError(
                f"dataset_scenes must be whole batches, got {scenes} scenes in batches of {batch_size}; "
                f"try {-(-scenes // batch_size) * batch_size}"
            )
        return scenes

    @field_validator("devices")
    @classmethod
    def _equal_shares(cls, devices: int | None, info: Any) -> int | None:
        batch_size = info.data.get("batch_size")  # absent where it was refused itself
        if devices is not None and batch_size is not None and batch_size % devices:
            fewer = next(count for count in range(devices, 0, -1) if batch_size % count == 0)
            raise ValueError(
                f"devices must divide batch_size, got a batch of {batch_size} for {devices} devices; "
                f"try devices = {fewer} or batch_size = {-(-batch_size // devices) * devices}"
            )
        return devices

    @field_validator("accumulation")
    @classmethod
    def _equal_parts(cls, accumulation: int, info: Any) -> int:
        batch_size, devices = info.data.get("batch_size"), info.data.get("devices") or 1
        share = (batch_size or 0) // devices  # of a batch that was refused itself there are no parts to speak of
        if share % accumulation:
            fewer = next(parts for parts in range(accumulation, 0, -1) if share % parts == 0)
            more = -(-share // accumulation) * accumulation * devices
            raise ValueError(
                f"accumulation must divide the {share} scenes of a device's batch (batch_size / devices), got "
                f"{accumulation}; try accumulation = {fewer} or batch_size = {more}"
            )
        return accumulation


class ChecksConfig(Section):
    """Assertions that run with the work."""

    finite: bool = True
    """chex assertions inside the jitted step: labels, predictions, loss, terms, new state."""
