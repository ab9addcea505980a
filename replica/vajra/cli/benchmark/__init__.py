"""Load generation and measurement: pure workloads and statistics, targets that answer them, reports."""
