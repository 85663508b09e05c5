"""Counterparts of registered parts in PyTorch."""

from risjax.registry import Encoder, LossTerm


def torch_place(part: LossTerm | Encoder) -> str:
    """Return the place of a term of the loss or of an encoder in PyTorch.

    Raises:
        ValueError: the part is registered without one.
    """
    if part.torch is not None:
        return part.torch
    if isinstance(part, LossTerm):
        what, fix = f"the term {part.name!r} of the loss", f"set loss.{part.name}.weight to 0"
    else:
        what, fix = f"the encoder {part.name!r}", "choose another model.encoder"
    raise ValueError(
        f"{what} has no counterpart in PyTorch; {fix}, or give `torch` in its risjax.registry.{type(part).__name__}"
    )
