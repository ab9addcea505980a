"""Execution times predicted from a profile: batches, prompts, and how far off the running engine is."""

from vajra.prediction.correction import OnlineScale
from vajra.prediction.fitted import FittedBatch, FittedPredictor
from vajra.prediction.learned import LearnedBatch, LearnedPredictor
from vajra.prediction.prefill import PrefillTable
from vajra.prediction.profile import FitErrors, Identity, Profile, ProfileError, ProfileMismatch, Tables
from vajra.prediction.tables import Curve, Surface

__all__ = [
    "Curve",
    "FitErrors",
    "FittedBatch",
    "FittedPredictor",
    "Identity",
    "LearnedBatch",
    "LearnedPredictor",
    "OnlineScale",
    "PrefillTable",
    "Profile",
    "ProfileError",
    "ProfileMismatch",
    "Surface",
    "Tables",
]
