"""Options of the baseline beyond the configuration: the original pipeline's errors, switched on or off."""

from dataclasses import dataclass
from typing import Literal

Cast = Literal["both", "predictions", "none"]
Rule = Literal["low_rank", "dense", "builtin"]


@dataclass(frozen=True)
class BaselineOptions:
    """Defaults are the good baseline.

    Attributes:
        cast: what is brought to float32/complex64 before the loss: the whole ``both`` dictionaries; ``predictions``
            alone, labels staying in the compute dtype; or ``none``. The original's first two attempts are the last
            two.
        rule: the projector's derivative. ``low_rank``: the gauge-invariant rule through the factor's small Gram matrix;
            ``dense``: the same rule on N x N matrices; ``builtin``: what ``torch.linalg.eigh`` differentiates, which
            divides by all gaps. (For the original's loading set ``covariance.loading=1``.)
        compile: pass the network through ``torch.compile``; where that fails, a warning is issued and the network runs
            eagerly.
        device: ``cpu`` or ``cuda``.
        skip_nonfinite: leave parameters, optimizer, schedule and EMA alone where the gradient is not finite, in every
            dtype; GradScaler does so in float16 only.
    """

    cast: Cast = "both"
    rule: Rule = "low_rank"
    compile: bool = True
    device: str = "cpu"
    skip_nonfinite: bool = True
