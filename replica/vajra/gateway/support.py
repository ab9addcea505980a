"""What this version can serve here."""

from __future__ import annotations

from vajra.config import VajraDeployment, require_supported
from vajra.worker.resources import accelerators


def check(deployment: VajraDeployment, *, in_cluster: bool = False) -> None:
    """Raises ConfigError naming every setting that cannot be served here, before anything is started.

    `in_cluster`: the replicas run elsewhere, on nodes that have what they ask for.
    """
    devices = ("CPU", "GPU") if in_cluster else accelerators()
    require_supported(deployment, accelerators=devices, in_cluster=in_cluster)
