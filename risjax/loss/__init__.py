"""Loss of a batch: one file for each term; `total_loss` upcasts its inputs and adds the terms."""

from risjax.loss.covariance_nmse import covariance_nmse
from risjax.loss.projector_distance import projector_distance
from risjax.loss.settings import LossSettings, loss_settings
from risjax.loss.subspace_alignment import subspace_alignment
from risjax.loss.term import Labels, Number, Term, TermInputs
from risjax.loss.total import Loss, make_labels, total_loss

__all__ = [
    "Labels",
    "Loss",
    "LossSettings",
    "Number",
    "Term",
    "TermInputs",
    "covariance_nmse",
    "loss_settings",
    "make_labels",
    "projector_distance",
    "subspace_alignment",
    "total_loss",
]
