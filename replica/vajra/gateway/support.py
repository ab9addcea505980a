"""What this version can serve on this machine."""

from __future__ import annotations

from pathlib import Path

from vajra.config import ConfigErrors, VajraDeployment, check_supported


def check(deployment: VajraDeployment) -> None:
    """Raises ConfigError naming every setting that cannot be served here, before anything is started."""
    accelerators = ("CPU", "GPU") if Path("/dev/nvidiactl").exists() else ("CPU",)
    errors = check_supported(deployment, accelerators=accelerators)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)
