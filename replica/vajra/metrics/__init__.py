"""Measurements. This version exports Prometheus metrics; it writes no files."""

from vajra.metrics.prometheus import GATEWAY_METRICS, ReplicaSample, ServingMetrics
from vajra.metrics.table import PROCESS_METRICS, Metric, Type

__all__ = ["GATEWAY_METRICS", "PROCESS_METRICS", "Metric", "ReplicaSample", "ServingMetrics", "Type"]
