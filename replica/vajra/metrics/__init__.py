"""Measurements. This version exports Prometheus metrics; it writes no files."""

from vajra.metrics.prometheus import ReplicaSample, ServingMetrics

__all__ = ["ReplicaSample", "ServingMetrics"]
