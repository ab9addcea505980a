"""On the way to the first answer: the model is fetched, then the replicas load it; both are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vajra.config import VajraDeployment

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total); total 0 is unknown."""

_STAGES = {
    "WeightDownload": "downloading weights",
    "WeightLoad": "loading weights",
    "CollectiveInit": "connecting workers",
    "Warmup": "warming up",
}


def fetch(deployment: VajraDeployment, progress: Progress) -> None:
    """Fetches what is missing of the model, here and with a bar rather than silently in every replica.

    Raises ModelError. Quick, and without a look at any file's content, when there is nothing to fetch.
    """
    config = deployment.replica_config.model_config
    if Path(config.model).exists():
        return
    from vajra.models.embedded import EMBEDDED

    embedded = EMBEDDED.get(config.model)
    if embedded is not None and embedded.is_present(config.download_dir):
        return
    from vajra.models import load

    load(config, progress=progress)


def readable(progress: Progress) -> Progress:
    """Puts the replicas' names of startup stages into words, without the moment that a process takes to start."""

    def show(stage: str, done: int, total: int) -> None:
        if stage != "ProcessStart":
            progress(_STAGES.get(stage, stage), done, total)

    return show
