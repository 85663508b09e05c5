"""``train.*``, ``checks.*``: optimizer, schedule, length, the stages after the network, and what is asserted."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from risjax.config.metric import Metric
from risjax.registry.section import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)


class PosteriorTrainConfig(Section):
    """The second stage: the posterior head, on candidates that the frozen network proposes."""

    scenes: NonNegativeInt = 8192
    """Fresh scenes whose candidates it learns from; a quarter more are held out. 0 leaves the head out. Beyond
    8192 the weight decay of the head that judges candidates falls as their number grows."""
    peak_scenes: PositiveInt = 8192
    """The most of them that the head that judges a spectrum's peaks learns from; finding the peaks of a scene takes
    longer than fitting its candidates."""
    epochs: PositiveInt = 40
    """Passes over them."""
    learning_rate: PositiveFloat = 1.0e-3
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
    """End of the cosine, as a share of the peak."""
    clip_norm: PositiveFloat = 1.0
    """Global norm that gradients are clipped to."""
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """Decay of the exponential moving average of the parameters, which is validated and released."""
    batch_size: PositiveInt = 64
    """Scenes a step, over all devices."""
    devices: PositiveInt | None = None
    """Devices that share every batch, each with a copy of the parameters and ``batch_size / devices`` scenes, which it
    draws itself. null takes all, or the largest number of them that divides the batch. Results differ
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
    posterior: PosteriorTrainConfig = PosteriorTrainConfig()
    dataset_scenes: NonNegativeInt = 0
    """0 draws fresh scenes in every step; otherwise this number of scenes, whole batches of the stream, is repeated."""

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
        share = (batch_size or 0) // devices  # 0 where the batch size was refused
        if share % accumulation:
            fewer = next(parts for parts in range(accumulation, 0, -1) if share % parts == 0)
            more = -(-share // accumulation) * accumulation * devices
            raise ValueError(
                f"accumulation must divide the {share} scenes of a device's batch (batch_size / devices), got "
                f"{accumulation}; try accumulation = {fewer} or batch_size = {more}"
            )
        return accumulation


class ChecksConfig(Section):
    """Assertions inside compiled programs."""

    finite: bool = True
    """chex assertions inside the jitted step: labels, predictions, loss, terms, new state."""
