"""``compare.*``: the comparison with the PyTorch baseline. Model, loss, training and scenes are the run's own."""

from typing import Annotated, Literal

from pydantic import Field

from risjax.config.section import FromList, NonNegativeInt, PositiveInt, Section


class CompareConfig(Section):
    """What is compared beyond one training after the other; ``train.epochs * train.steps_per_epoch`` steps each."""

    compute: Annotated[tuple[Literal["float32", "bfloat16", "float16"], ...], FromList, Field(min_length=1)] = (
        "float32",
        "bfloat16",
        "float16",
    )
    """Compute dtypes, a pair of trainings each; what the hardware does not support is left out with its reason."""
    warmup_steps: PositiveInt = 5
    """Steps whose times do not count, the first one (which compiles) among them."""
    compile: bool = True
    """Pass the baseline's network through ``torch.compile``."""
    scenes: PositiveInt = 256
    """Held-out scenes that both trained networks localise, by risjax's pipeline."""
    failure_steps: NonNegativeInt = 3
    """Steps of PyTorch in each of the original's settings (casts, built-in gradient, loading 1) and repaired."""
    nan_map: Literal["none", "small", "full"] = "small"
    """The NaN map of both frameworks: nothing, its two extreme loadings, or all of it."""
    memory: bool = True
    """Measure peak memory; on a CPU each framework then runs a few steps in a process of its own."""
