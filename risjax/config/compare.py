"""``compare.*``: the comparison with the PyTorch baseline. Model, loss, training and scenes are those of the run."""

from typing import Annotated, Literal

from pydantic import Field

from risjax.registry.section import FromList, NonNegativeInt, PositiveInt, Section


class CompareConfig(Section):
    """Trainings of both frameworks, ``train.epochs * train.steps_per_epoch`` steps each, and further comparisons."""

    compute: Annotated[tuple[Literal["float32", "bfloat16", "float16"], ...], FromList, Field(min_length=1)] = (
        "float32",
        "bfloat16",
        "float16",
    )
    """Compute dtypes, a pair of trainings each; unsupported dtypes are left out with the reason."""
    warmup_steps: PositiveInt = 5
    """First steps, which include compilation, whose times do not count."""
    compile: bool = True
    """Pass the baseline's network through ``torch.compile``."""
    scenes: PositiveInt = 256
    """Held-out scenes that both trained networks localise, by risjax's pipeline."""
    failure_steps: NonNegativeInt = 3
    """Steps of PyTorch in each of the original's settings (casts, built-in gradient, loading 1) and repaired."""
    nan_map: Literal["none", "small", "full"] = "small"
    """The NaN map of both frameworks: none, its two extreme loadings, or all loadings."""
    memory: bool = True
    """Measure peak memory; on a CPU each framework then runs a few steps in a separate process."""
