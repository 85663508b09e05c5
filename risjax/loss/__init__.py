"""The loss: one file a term, one door where everything is upcast."""

from risjax.loss.covariance_nmse import covariance_nmse
from risjax.loss.projector_distance import projector_distance
from risjax.loss.total import Labels, Loss, active_weights, make_labels, total_loss

__all__ = ["Labels", "Loss", "active_weights", "covariance_nmse", "make_labels", "projector_distance", "total_loss"]
