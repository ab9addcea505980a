"""The volumes of a pod: configuration, the model, a profile, the cache of downloads, scratch space, shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vajra.config import VajraDeploymentSpec
from vajra.config.spec.cluster import ApiKeysSection
from vajra.config.spec.model import MODEL_MOUNT, ModelCacheSection, ModelSection
from vajra.config.spec.serving import ProfileSection
from vajra.operator.planning import names

_SCRATCH_MOUNT: Final = "/tmp"
_SHARED_MEMORY_MOUNT: Final = "/dev/shm"


@dataclass(frozen=True)
class Mounted:
    """A volume and where it is mounted."""

    volume: dict[str, Any]
    mounts: tuple[dict[str, Any], ...]


def worker_volumes(name: str, spec: VajraDeploymentSpec) -> list[Mounted]:
    """Of a replica's pod."""
    size = {"medium": "Memory", "sizeLimit": spec.resources.shared_memory}
    return [
        _config(name),
        *_model(spec.model),
        *_profile(spec.scheduler.profile),
        _cache(spec.model, _cache_volume(spec.model.cache)),
        _scratch(),
        _one({"name": "shared-memory", "emptyDir": size}, {"mountPath": _SHARED_MEMORY_MOUNT}),
    ]


def profile_path(profile: ProfileSection) -> str | None:
    """Where a profile that the spec names lies in a replica's pod."""
    if profile.config_map is not None:
        return f"{names.PROFILE_MOUNT}/{profile.config_map.key}"
    return names.PROFILE_MOUNT if profile.host_path is not None else None


def gateway_volumes(name: str, spec: VajraDeploymentSpec) -> list[Mounted]:
    """Of a gateway's pod: it needs the tokenizer alone, so its cache is small and its own."""
    keys = spec.networking.api_keys_secret_ref
    volumes = [_config(name), *_model(spec.model), _cache(spec.model, {"emptyDir": {}}), _scratch()]
    return volumes if keys is None else [*volumes, _api_keys(keys)]


def _config(name: str) -> Mounted:
    # As a directory: a file mounted by subPath would never change.
    volume = {"name": "config", "configMap": {"name": names.config_map(name)}}
    return _one(volume, {"mountPath": names.CONFIG_MOUNT, "readOnly": True})


def _api_keys(keys: ApiKeysSection) -> Mounted:
    # As a directory, too: the kubelet brings it up to date.
    secret = {"secretName": keys.name, "items": [{"key": keys.key, "path": names.API_KEYS_FILE}]}
    return _one({"name": names.API_KEYS, "secret": secret}, {"mountPath": names.API_KEYS_MOUNT, "readOnly": True})


def _scratch() -> Mounted:
    return _one({"name": "scratch", "emptyDir": {}}, {"mountPath": _SCRATCH_MOUNT})


def _model(model: ModelSection) -> list[Mounted]:
    """The volume that the model comes in; a hub's and an embedded model need none."""
    source = model.source
    if source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name}
        return [_read_only("model", {"persistentVolumeClaim": claim}, MODEL_MOUNT)]
    if source.image is not None:
        image = {"reference": source.image.reference, "pullPolicy": source.image.pull_policy}
        return [_read_only("model", {"image": image}, MODEL_MOUNT)]
    if source.host_path is not None:
        path = source.host_path.path  # under its own name: it is what the model is called
        return [_read_only("model", {"hostPath": {"path": path}}, path)]
    return []


def _profile(profile: ProfileSection) -> list[Mounted]:
    """A measured one needs no volume: it is kept in the cache."""
    if profile.host_path is not None:
        return [_read_only(names.PROFILE, {"hostPath": {"path": profile.host_path.path}}, names.PROFILE_MOUNT)]
    if profile.config_map is not None:
        key = profile.config_map.key
        source = {"name": profile.config_map.name, "items": [{"key": key, "path": key}]}
        return [_read_only(names.PROFILE, {"configMap": source}, names.PROFILE_MOUNT)]
    return []


def _read_only(name: str, volume: dict[str, Any], path: str) -> Mounted:
    return _one({"name": name, **volume}, {"mountPath": path, "readOnly": True})


def _cache(model: ModelSection, volume: dict[str, Any]) -> Mounted:
    mounts = [{"name": "cache", "mountPath": names.CACHE_MOUNT}]
    if model.download_dir is not None:
        mounts.append({"name": "cache", "mountPath": model.download_dir, "subPath": "downloads"})
    return Mounted({"name": "cache", **volume}, tuple(mounts))


def _cache_volume(cache: ModelCacheSection) -> dict[str, Any]:
    if cache.persistent_volume_claim is not None:
        return {"persistentVolumeClaim": {"claimName": cache.persistent_volume_claim.claim_name}}
    if cache.host_path is not None:
        return {"hostPath": {"path": cache.host_path.path, "type": "DirectoryOrCreate"}}
    limit = cache.empty_dir.size_limit if cache.empty_dir is not None else None
    return {"emptyDir": {} if limit is None else {"sizeLimit": limit}}


def _one(volume: dict[str, Any], mount: dict[str, Any]) -> Mounted:
    return Mounted(volume, ({"name": volume["name"], **mount},))
