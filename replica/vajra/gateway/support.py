"""What this version can serve here."""

from __future__ import annotations

from pathlib import Path

from vajra.config import ConfigErrors, VajraDeployment, check_supported


def check(deployment: VajraDeployment, *, in_cluster: bool = False) -> None:
    """Raises ConfigError naming every setting that cannot be served here, before anything is started.

    `in_cluster`: the replicas run elsewhere, on nodes that have what they ask for.
    """
    accelerators = ("CPU", "GPU") if in_cluster or Path("/dev/nvidiactl").exists() else ("CPU",)
    errors = check_supported(deployment, accelerators=accelerators, in_cluster=in_cluster)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)
