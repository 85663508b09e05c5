"""Localisation with a trained network: from measurements, in memory or in files, to sources with uncertainty."""

from risjax.inference.predict.localization import Localization
from risjax.inference.predict.measurements import MeasurementError
from risjax.inference.predict.model import Model, load
from risjax.inference.predict.stage import predict

__all__ = ["Localization", "MeasurementError", "Model", "load", "predict"]
