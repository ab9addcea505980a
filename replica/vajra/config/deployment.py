"""`VajraDeployment`: the root of all configuration, the same object on a laptop and in a cluster."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from vajra.config import mapping
from vajra.config.base import manifest_class
from vajra.config.errors import MISSING, ConfigError, did_you_mean, raise_errors
from vajra.config.metadata import SERVER_FIELDS, ObjectMeta
from vajra.config.options import option
from vajra.config.overrides import apply_overrides
from vajra.config.plain import plain
from vajra.config.reference import (
    FcfsRequestPrioritizerConfig,
    LLMBaseReplicaControllerConfig,
    LLMPipelineParallelReplicaControllerConfig,
    LLMReplicaSetControllerConfig,
    MetricsConfig,
    ReplicaControllerConfig,
    RequestPrioritizerConfig,
    SchedulerConfig,
)
from vajra.config.rules import broken_rules
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.validation import validate
from vajra.config.yaml import dump, load

API_VERSION: Final = "vajra.ai/v1alpha1"
KIND: Final = "VajraDeployment"


@manifest_class
class VajraDeployment:
    """A parsed and checked manifest, and its mapping to the reference's classes.

    Every constructor raises `ConfigError`, or `ConfigErrors` for several faults; paths are the manifest's.
    """

    metadata: ObjectMeta = option(doc="Name and labels.")
    spec: VajraDeploymentSpec = option(doc="What is served and how.")

    def __post_init__(self) -> None:
        raise_errors(broken_rules(self.spec))

    # -- the reference's classes ---------------------------------------------------------------------------------

    @functools.cached_property
    def replica_set_config(self) -> LLMReplicaSetControllerConfig:
        """Number of replicas and tokenizer workers."""
        return mapping.replica_set_config(self.spec)

    @functools.cached_property
    def replica_config(self) -> LLMBaseReplicaControllerConfig | LLMPipelineParallelReplicaControllerConfig:
        """A replica: model_config, parallel_config, worker_config, cache_config, scheduler_config."""
        return mapping.replica_config(self.spec)

    @functools.cached_property
    def prioritizer_config(self) -> RequestPrioritizerConfig:
        """The prioritizer of the replica set."""
        return mapping.prioritizer_config(self.spec)

    @functools.cached_property
    def metrics_config(self) -> MetricsConfig:
        """The engine's own metrics files."""
        return mapping.metrics_config(self.spec)

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def served_name(self) -> str:
        """The model's name for clients: servedName, else the model's name."""
        return self.spec.model.served_name or self.spec.model.name

    @property
    def quantization(self) -> str:
        """How matrices are kept, an extension without a place in the reference's classes: "none" or "int8"."""
        return self.spec.model.quantization.lower()

    # -- in ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """From a manifest as plain data. null is as good as absent; `status` and the server's metadata are dropped."""
        try:
            data = _manifest(data)
        except RecursionError:
            raise ConfigError("manifest", data, "", problem="an alias contains itself") from None
        return validate(cls, data, "", manifest=True)  # type: ignore[no-any-return]

    @classmethod
    def from_yaml(cls, source: str | Path) -> Self:
        """From a manifest in YAML or JSON: the text itself, or the path of a file.

        A string is a path when it is one line that ends in .yaml, .yml or .json, or that names a file.
        """
        if isinstance(source, str) and not _is_path(source):
            return cls.from_dict(load(source, "manifest"))
        path = Path(source)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(str(path), str(path), "", problem=f"cannot be read: {why}") from None
        return cls.from_dict(load(text, str(path)))

    @classmethod
    def from_configs(
        cls,
        *,
        replica_set_config: LLMReplicaSetControllerConfig | None = None,
        replica_config: ReplicaControllerConfig | None = None,
        prioritizer_config: RequestPrioritizerConfig | None = None,
        metrics_config: MetricsConfig | None = None,
        name: str | None = None,
        served_name: str | None = None,
        quantization: str = "none",
        accelerator: Literal["GPU", "CPU"] = "CPU",
    ) -> Self:
        """From the reference's classes; what is left out has the reference's defaults.

        A value that no manifest holds (0.8051 of a GPU's memory, a relative path) is refused.
        """
        spec = mapping.spec_dict(
            replica_set_config or LLMReplicaSetControllerConfig(),
            replica_config or LLMBaseReplicaControllerConfig(),
            prioritizer_config or FcfsRequestPrioritizerConfig(),
            metrics_config or MetricsConfig(),
        )
        if served_name is not None:
            spec["model"]["servedName"] = served_name
        spec["model"]["quantization"] = str(quantization).capitalize()
        spec["resources"] = {"accelerator": {"type": accelerator}}
        name = name if name is not None else object_name(spec["model"]["name"])
        return cls.from_dict({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec})

    @classmethod
    def for_model(
        cls,
        ref: str,
        dtype: str = "auto",
        *,
        name: str | None = None,
        served_name: str | None = None,
        quantization: str = "none",
        accelerator: Literal["GPU", "CPU"] = "CPU",
        **overrides: Any,
    ) -> Self:
        """A deployment of one model: a hub id, an embedded model's name, or the path of a folder or GGUF file.

        `overrides` are fields of the reference's classes by name (max_model_len=8192, num_replicas=2, chunk_size=512;
        a scheduler's or prioritizer's field belongs to the one chosen), or whole members (scheduler_config=…).
        """
        if re.match(r"[./~]", ref) or Path(ref).expanduser().exists():
            ref = str(Path(ref).expanduser().absolute())
        configs = apply_overrides({"model": ref, "dtype": dtype, **overrides})
        return cls.from_configs(
            **configs, name=name, served_name=served_name, quantization=quantization, accelerator=accelerator
        )

    @property
    def is_fair(self) -> bool:
        """Whether tenants are served by what they were served before."""
        return self.spec.prioritizer.fairness == "PerTenant"

    @property
    def relegates(self) -> bool:
        """Whether requests that are too late come last."""
        return self.spec.prioritizer.relegation == "Late"

    @property
    def needs_prefill_times(self) -> bool:
        """Whether the order of requests depends on how long their prompts take."""
        return self.prioritizer_config.predicts or self.relegates

    @property
    def predicts(self) -> bool:
        """Whether anything depends on execution times."""
        return self.replica_config.scheduler_config.predicts or self.needs_prefill_times

    def with_configs(
        self,
        *,
        scheduler_config: SchedulerConfig | None = None,
        prioritizer_config: RequestPrioritizerConfig | None = None,
    ) -> Self:
        """The same with another scheduler, another prioritizer or both. Raises ConfigError as `from_configs` does."""
        replica = self.replica_config
        if scheduler_config is not None:
            replica = dataclasses.replace(replica, scheduler_config=scheduler_config)
        spec = mapping.spec_dict(
            self.replica_set_config, replica, prioritizer_config or self.prioritizer_config, self.metrics_config
        )
        manifest = self.to_dict()
        for section, kept in (("scheduler", ("profile",)), ("prioritizer", ("fairness", "relegation"))):
            old = manifest["spec"][section]
            manifest["spec"][section] = spec[section] | {key: old[key] for key in kept}
        return self.from_dict(manifest)

    # -- out -----------------------------------------------------------------------------------------------------

    def to_dict(self, *, defaults: bool = True) -> dict[str, Any]:
        """The manifest as plain data, which `from_dict` makes equal again; without `defaults` only what differs."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": plain(self.metadata, defaults=defaults),
            "spec": plain(self.spec, defaults=defaults),
        }

    def to_yaml(self, *, defaults: bool = True) -> str:
        """As `to_dict`, in YAML."""
        return dump(self.to_dict(defaults=defaults))


def object_name(text: str) -> str:
    """A valid metadata.name made of any text."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower().rsplit("/", 1)[-1]).strip("-")[:40].strip("-")
    return name if name[:1].isalpha() else f"m-{name}"[:40].strip("-")


def _is_path(source: str) -> bool:
    return bool(re.fullmatch(r"[^\n{]+\.(ya?ml|json)", source)) or (
        re.fullmatch(r"[^\n\0{:]{1,1024}", source) is not None and Path(source).is_file()
    )


def _manifest(data: Any) -> dict[str, Any]:
    """Checks what stands around spec and metadata, and takes away what is not ours."""
    if not isinstance(data, Mapping):
        allowed = f"a mapping with apiVersion: {API_VERSION}, kind: {KIND}, metadata and spec"
        raise ConfigError("manifest", data, allowed, problem="is empty" if data is None else "")
    errors: list[ConfigError] = []
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if data.get(key, MISSING) != expected:
            errors.append(ConfigError(key, data.get(key, MISSING), expected, did_you_mean(data.get(key), [expected])))
    known = ("apiVersion", "kind", "metadata", "spec", "status")
    for key in data:
        if key not in known:
            hint = did_you_mean(key, known)
            errors.append(ConfigError(str(key), data[key], ", ".join(known), hint, problem="no such field"))
    raise_errors(errors)
    kept = {key: _without_nulls(data[key]) for key in ("metadata", "spec") if data.get(key) is not None}
    if isinstance(kept.get("metadata"), Mapping):
        kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in SERVER_FIELDS}
    return kept


def _without_nulls(value: Any) -> Any:
    """As the API server does: a key with null is as if it were not there."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
