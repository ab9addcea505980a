"""On the way to the first answer: the model is fetched, then the replicas load it; both are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from vajra.config import VajraDeployment

if TYPE_CHECKING:
    from vajra.gateway import Gateway

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total); total 0 is unknown."""

_STAGES = {
    "WeightDownload": "downloading weights",
    "WeightLoad": "loading weights",
    "CollectiveInit": "connecting workers",
    "Warmup": "warming up",
}
_POLL_SECONDS = 0.25  # no event tells how far a replica has come


def fetch(deployment: VajraDeployment, progress: Progress) -> None:
    """Fetches what is missing of the model, here and with a bar rather than silently in every replica.

    Raises ModelError. Quick, and without a look at any file's content, when there is nothing to fetch.
    """
    from vajra.models import load
    from vajra.models.embedded import EMBEDDED

    config = deployment.replica_config.model_config
    embedded = EMBEDDED.get(config.model)
    if embedded is not None and embedded.is_present(config.download_dir):
        return
    load(config, progress=progress)


async def watch(gateway: Gateway, progress: Progress) -> None:
    """Reports the startup stages of the first replica, until cancelled."""
    while True:
        for link in list(gateway.replicas)[:1]:
            status = await link.status()
            if status is not None and status.stages:
                stage = status.stages[-1]
                progress(_STAGES.get(stage.name, stage.name), round(100 * stage.progress), 100)
        await asyncio.sleep(_POLL_SECONDS)
