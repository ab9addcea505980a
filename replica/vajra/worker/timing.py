"""The execution-time profile that a worker hands to its controller."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vajra.config import VajraDeployment
from vajra.engine.api import Engine, EngineOptions
from vajra.models.spec import ModelSpec
from vajra.prediction import Profile, ProfileError
from vajra.profiler import QUICK, cached, cached_or_measured, identity_of

PROFILE_VARIABLE = "VAJRA_PROFILE"  # in a cluster: where the operator has mounted it


def execution_times(
    deployment: VajraDeployment,
    engine: Engine,
    spec: ModelSpec,
    options: EngineOptions,
    progress: Callable[[str, float], None],
) -> Profile | None:
    """The profile that the deployment names; with Auto the one that is kept here, or, where the scheduler or the
    prioritizer needs one, one that is measured now on the engine, which does nothing else yet.

    None: nothing needs one and none is kept. Raises ProfileError for a named one that is not of this engine.
    """
    native = deployment.replica_config.worker_config.use_native_execution_backend
    identity = identity_of(spec, options, native=native)
    path = _named(deployment)
    if path is not None:
        try:
            profile = Profile.read(path)
            profile.check(identity)
        except ProfileError as error:
            raise ProfileError(f"spec.scheduler.profile: {error}") from None
        return profile
    if not deployment.predicts:
        return cached(identity)
    from vajra.profiler.measuring import measure

    return cached_or_measured(
        identity,
        lambda folder: measure(
            engine,
            spec,
            options,
            preset=QUICK,
            model=deployment.served_name,
            folder=folder,
            progress=lambda _, part: progress("Profile", part),
        ),
        waiting=lambda: progress("Profile", 0.0),
    )


def _named(deployment: VajraDeployment) -> Path | None:
    """A file, or the profile.json of a folder."""
    source = deployment.spec.scheduler.profile
    if source.type == "Auto":
        return None
    name = os.environ.get(PROFILE_VARIABLE) or (source.host_path.path if source.host_path is not None else None)
    if name is None:
        raise ProfileError(
            f"spec.scheduler.profile.type is {source.type}, which a cluster's operator mounts, and {PROFILE_VARIABLE} "
            "does not say where; use type HostPath, or Auto"
        )
    path = Path(name)
    return path / "profile.json" if path.is_dir() else path
