"""Using a trained network: from measurements, in memory or in files, to sources with their uncertainty."""

from risjax.predict.located import Located
from risjax.predict.measurements import MeasurementError
from risjax.predict.model import Model, load
from risjax.predict.stage import predict

__all__ = ["Located", "MeasurementError", "Model", "load", "predict"]
