"""Manifests for tests that start replicas or servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def deployment(model: Path, *, chunk_size: int = 64, model_fields: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A VajraDeployment for a checkpoint folder, in float32 on this machine's processors, in batches of 8.

    `model_fields` go into spec.model; `spec` adds to the spec or replaces parts of it.
    """
    source = {"type": "HostPath", "hostPath": {"path": str(model)}}
    return {
        "apiVersion": "vajra.ai/v1alpha1",
        "kind": "VajraDeployment",
        "metadata": {"name": "test"},
        "spec": {
            "model": {"source": source, "dtype": "Float32", **model_fields},
            "scheduler": {"type": "FixedChunk", "fixedChunk": {"maxBatchSize": 8, "chunkSize": chunk_size}},
            "resources": {"accelerator": {"type": "CPU"}},
            **spec,
        },
    }
