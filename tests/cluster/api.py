"""What a test may do with an API server, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cluster.kubectl import Kubectl


@dataclass(frozen=True)
class Api:
    """An API server that perhaps nothing stands behind.

    has_controllers: Deployments make pods, owned objects are collected, and so on. envtest's binaries have none.
    """

    kubectl: Kubectl
    has_controllers: bool

    @property
    def kubeconfig(self) -> Path:
        return self.kubectl.kubeconfig
