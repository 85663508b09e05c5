"""What each part is worth: variants of one configuration, trained under several seeds, measured on the same scenes."""

from risjax.experiments.ablate.run import AblateError, ablate
from risjax.experiments.ablate.variants import Variant, read_variants

__all__ = ["AblateError", "Variant", "ablate", "read_variants"]
