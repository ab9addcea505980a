"""Hypothesis strategies for manifests and configs, built from the declared types and limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from vajra.config import API_VERSION, KIND
from vajra.config.fields import ConfigField, fields_of
from vajra.config.reference import REFERENCE_CLASSES
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.spec.unions import Union

WORDS = st.from_regex(r"[a-zA-Z0-9][-a-zA-Z0-9_.]{0,30}", fullmatch=True)
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
QUANTITIES = st.integers(0, 1000) | st.sampled_from(["4", "500m", "16Gi", "1.5", "1e3", "2T"])


def _value(field: ConfigField) -> st.SearchStrategy[Any]:
    limits = field.limits
    if field.nested:
        return section(field.nested)
    if field.choices:
        return st.sampled_from(field.choices)
    if field.type is bool:
        return st.booleans()
    if field.type is int:
        return st.integers(limits.get("ge"), limits.get("le"))
    if field.type is float:
        low, high = limits.get("ge", limits.get("gt")), limits.get("le")
        return st.floats(low, high, exclude_min="gt" in limits, allow_nan=False, allow_infinity=False)
    if field.type is str:
        prefix = {"^/": "/", "^https?://": "https://"}.get(limits.get("pattern", ""), "")
        return WORDS.map(lambda word: prefix + word)
    if field.is_quantity:
        return QUANTITIES
    if field.key == "podTemplate":
        containers = st.lists(NAMES, unique=True, max_size=3)
        return containers.map(lambda names: {"spec": {"containers": [{"name": name} for name in names]}})
    if field.is_text_map:
        return st.dictionaries(WORDS, WORDS, max_size=3)
    return st.sampled_from(list(field.type.registry().values())).flatmap(config)


def section(cls: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A section of a manifest, as plain data."""
    fields = fields_of(cls)
    if issubclass(cls, Union):
        return st.sampled_from(next(f for f in fields if f.name == "type").choices).flatmap(
            lambda kind: _union(cls, kind)
        )
    required = {field.key: _value(field) for field in fields if field.required}
    optional = {field.key: _value(field) for field in fields if not field.required}
    return st.fixed_dictionaries(required, optional=optional)


def _union(cls: type[Union], kind: str) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {"type": st.just(kind)}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields_of(cls):
        if field.name == cls.members.get(kind):
            (required if kind in cls.needed else optional)[field.key] = _value(field)
        elif field.name not in cls.members.values() and field.name != "type":
            optional[field.key] = _value(field)
    return st.fixed_dictionaries(required, optional=optional)


def config(cls: type[Any]) -> st.SearchStrategy[Any]:
    """An instance of a reference class."""
    values = {
        field.name: config(field.type) if _is_reference(field.type) else _optional(field) for field in fields_of(cls)
    }
    return st.fixed_dictionaries(values).map(lambda drawn: cls(**_repaired_config(cls, drawn)))


def _is_reference(cls: Any) -> bool:
    return cls in REFERENCE_CLASSES


def _optional(field: ConfigField) -> st.SearchStrategy[Any]:
    return st.none() | _value(field) if field.optional else _value(field)


def _repaired_config(cls: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    if "min_chunk_size_param" in values:
        low, high = sorted((values["min_chunk_size_param"], values["max_chunk_size_param"]))
        values |= {"min_chunk_size_param": low, "max_chunk_size_param": high}
    if cls.__name__ == "LLMBaseReplicaControllerConfig":
        parallel = values["parallel_config"]
        fields = {field.name: getattr(parallel, field.name) for field in fields_of(type(parallel))}
        values["parallel_config"] = type(parallel)(**fields | {"pipeline_parallel_size": 1})
    return values


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """Whole manifests that keep every rule."""
    spec = draw(section(VajraDeploymentSpec))
    metadata = {"name": draw(NAMES), "labels": draw(st.dictionaries(WORDS, WORDS, max_size=2))}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": _repaired(spec)}


ODD_VALUES: tuple[Any, ...] = (None, True, 0, 1, -1, 1.5, 10**9, "", "nonsense", [], {}, {"nonsense": 1})


@st.composite
def wild_specs(draw: st.DrawFn) -> dict[str, Any]:
    """Specs that may break any rule: fields that do not go together, odd values, unknown and missing fields."""
    spec: dict[str, Any] = draw(section(VajraDeploymentSpec))
    if draw(st.booleans()):
        spec = _repaired(spec)
    for _ in range(draw(st.integers(0, 2))):
        section_at, key = draw(st.sampled_from(list(_places(spec))))
        deed = draw(st.sampled_from(["change", "take away", "add"]))
        if deed == "change":
            section_at[key] = draw(st.sampled_from(ODD_VALUES))
        elif deed == "take away":
            del section_at[key]
        else:
            section_at[f"{key}x"] = 1
        if not spec:
            break
    return spec


def _places(section_at: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every mapping in the data with each of its keys."""
    for key, value in section_at.items():
        yield section_at, key
        if isinstance(value, dict):
            yield from _places(value)


def _repaired(spec: dict[str, Any]) -> dict[str, Any]:
    """Puts right what breaks a rule between fields."""
    scheduler = spec.get("scheduler", {})
    for member in ("dynamicChunk", "spaceSharing"):
        if chunks := scheduler.get(member):
            low, high = sorted((chunks.get("minChunkTokens", 32), chunks.get("maxChunkTokens", 8192)))
            chunks |= {"minChunkTokens": low, "maxChunkTokens": high}
    if scheduler.get("type") == "SpaceSharing":
        spec["prioritizer"] = {"type": "LRS"}
    parallelism = spec.get("parallelism", {})
    if parallelism.get("pipeline", 1) > 1 and spec.get("controller", {}).get("type") == "Base":
        spec["controller"]["type"] = "Auto"
    if parallelism.get("kv", 1) > 1:
        parallelism["maxTokensPerKVGroup"] = 2 * spec.get("cache", {}).get("blockSize", 16)
    spec.get("resources", {}).pop("gpusPerPod", None)
    if "rollout" in spec:
        spec["rollout"]["maxSurge"] = 1
    if "recovery" in spec:
        low, high = spec["recovery"].get("backoffBaseSeconds", 10), spec["recovery"].get("backoffMaxSeconds", 600)
        spec["recovery"] |= {"backoffBaseSeconds": min(low, high), "backoffMaxSeconds": max(low, high)}
    networking = spec.get("networking", {})
    if networking.get("openAIPort") == networking.get("grpcPort", 8471):
        networking.pop("openAIPort", None)
    if "tls" in networking:
        networking["tls"].pop("secretName", None)
        if networking["tls"].get("mode", "Disabled") != "Disabled":
            networking["tls"]["secretName"] = "tls"
    if spec["model"].get("source", {}).get("type", "HuggingFace") != "HuggingFace":
        for key in ("revision", "tokenSecretRef"):
            spec["model"].pop(key, None)
    if spec.get("placement", {}).get("gang") in ("None", "Native", "Coscheduling"):
        spec["placement"].pop("queueName", None)
    if spec.get("resources", {}).get("accelerator", {}).get("type") == "CPU":
        spec["resources"].pop("claimTemplateName", None)
    if "autoscaling" in spec:
        low, high = spec["autoscaling"].get("minReplicas", 1), spec["autoscaling"]["maxReplicas"]
        spec["autoscaling"] |= {"minReplicas": min(low, high), "maxReplicas": max(low, high)}
    return spec
