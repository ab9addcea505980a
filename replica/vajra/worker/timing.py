"""The execution-time profile that a worker hands to its controller."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vajra.config import ConfigError, VajraDeployment
from vajra.config.spec.serving import ProfileSection
from vajra.engine.api import Engine, EngineOptions
from vajra.models.spec import ModelSpec
from vajra.prediction import Identity, Profile, ProfileError
from vajra.profiler import QUICK, cached, cached_or_measured, identity_of
from vajra.profiler.cache import PROFILE

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

    None: nothing needs one and none is kept. Raises ConfigError for a named one that is not of this engine,
    ProfileError when measuring gives none.
    """
    native = deployment.replica_config.worker_config.use_native_execution_backend
    identity = identity_of(spec, options, native=native)
    named = deployment.spec.scheduler.profile
    if named.type != "Auto":
        return _read(named, identity)
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


def _read(named: ProfileSection, identity: Identity) -> Profile:
    path, where = _place(named)
    try:
        profile = Profile.read(path, where)
        profile.check(identity, where)
    except ProfileError as error:
        way_out = "or set spec.scheduler.profile.type to Auto: then a replica measures by itself when it starts"
        raise _fault(named, str(error), way_out) from None
    return profile


def _place(named: ProfileSection) -> tuple[Path, str]:
    """Where a named profile lies here, as a file or the profile.json of a folder, and what its user calls it."""
    mounted = os.environ.get(PROFILE_VARIABLE)
    if named.config_map is not None:
        if not mounted:
            missing = f"a cluster's operator mounts it, and {PROFILE_VARIABLE} does not say where"
            raise _fault(named, missing, "use type HostPath, or Auto")
        return Path(mounted), f"key {named.config_map.key} of ConfigMap {named.config_map.name}"
    assert named.host_path is not None
    path, called = Path(mounted or named.host_path.path), Path(named.host_path.path)
    return (path / PROFILE, str(called / PROFILE)) if path.is_dir() else (path, str(called))


def _fault(named: ProfileSection, problem: str, way_out: str) -> ConfigError:
    return ConfigError("spec.scheduler.profile", named.type, "", way_out, problem=problem)
