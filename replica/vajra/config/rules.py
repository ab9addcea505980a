"""Rules between fields of the spec; those of the manifest's schema, for local serving too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from vajra.config.errors import MISSING, ConfigError
from vajra.config.fields import ConfigField, fields_of
from vajra.config.spec.pod_template import pod_template_faults
from vajra.config.spec.root import VajraDeploymentSpec
from vajra.config.spec.unions import Union


@dataclass(frozen=True)
class Rule:
    """`holds` or the field at `path` is at fault: `value` stands there and `allowed` may.

    cel: `holds` once more for an API server, `self` being the spec with its defaults. reason: as the API server has it.
    """

    path: str
    value: Callable[[VajraDeploymentSpec], Any]
    holds: Callable[[VajraDeploymentSpec], bool]
    cel: str
    allowed: str
    hint: str = ""
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"


def _world(spec: VajraDeploymentSpec) -> int:
    return spec.parallelism.tensor * spec.parallelism.pipeline * spec.parallelism.kv


def _kv_cap_fits(spec: VajraDeploymentSpec) -> bool:
    cap, block = spec.parallelism.max_tokens_per_kv_group, spec.cache.block_size
    return spec.parallelism.kv == 1 or (cap > block and cap % block == 0)


def _tensor_groups_whole(spec: VajraDeploymentSpec) -> bool:
    tensor, per_pod = spec.parallelism.tensor, spec.resources.gpus_per_pod
    return per_pod is None or tensor % per_pod == 0 or per_pod % tensor == 0


def _chunks_in_order(member: str) -> Rule:
    def chunks(spec: VajraDeploymentSpec) -> Any:
        return getattr(spec.scheduler, member)

    key = {"dynamic_chunk": "dynamicChunk", "space_sharing": "spaceSharing"}[member]
    cel = f"self.scheduler.{key}"
    return Rule(
        f"spec.scheduler.{key}.minChunkTokens",
        lambda spec: chunks(spec).min_chunk_tokens,
        lambda spec: chunks(spec) is None or chunks(spec).min_chunk_tokens <= chunks(spec).max_chunk_tokens,
        f"!has({cel}) || {cel}.minChunkTokens <= {cel}.maxChunkTokens",
        "at most maxChunkTokens",
    )


def _only(
    path: str,
    value: Callable[[VajraDeploymentSpec], Any],
    used: Callable[[VajraDeploymentSpec], bool],
    used_cel: str,
    allowed: str,
    hint: str,
) -> Rule:
    """A field that may be set only where something reads it: nothing that a user wrote goes unused in silence."""
    cel = f"!has(self{path.removeprefix('spec')}) || {used_cel}"
    return Rule(
        path, value, lambda spec: value(spec) is None or used(spec), cel, allowed, hint, reason="FieldValueForbidden"
    )


def _only_from_hub(path: str, value: Callable[[VajraDeploymentSpec], Any], hint: str) -> Rule:
    return _only(
        path,
        value,
        lambda spec: spec.model.source.type == "HuggingFace",
        "self.model.source.type == 'HuggingFace'",
        "only with model.source.type HuggingFace",
        hint,
    )


RULES: tuple[Rule, ...] = (
    _chunks_in_order("dynamic_chunk"),
    _chunks_in_order("space_sharing"),
    Rule(
        "spec.prioritizer.type",
        lambda spec: spec.prioritizer.type,
        lambda spec: spec.scheduler.type != "SpaceSharing" or spec.prioritizer.type == "LRS",
        "self.scheduler.type != 'SpaceSharing' || self.prioritizer.type == 'LRS'",
        "LRS with scheduler SpaceSharing",
        "a long request's share is read from its slack",
    ),
    Rule(
        "spec.controller.type",
        lambda spec: spec.controller.type,
        lambda spec: spec.controller.type != "Base" or spec.parallelism.pipeline == 1,
        "self.controller.type != 'Base' || self.parallelism.pipeline == 1",
        "Auto or PipelineParallel with parallelism.pipeline above 1",
    ),
    Rule(
        "spec.parallelism.maxTokensPerKVGroup",
        lambda spec: spec.parallelism.max_tokens_per_kv_group,
        _kv_cap_fits,
        "self.parallelism.kv == 1 || self.parallelism.maxTokensPerKVGroup > self.cache.blockSize"
        " && self.parallelism.maxTokensPerKVGroup % self.cache.blockSize == 0",
        "with parallelism.kv above 1 a multiple of cache.blockSize, and larger than it",
    ),
    Rule(
        "spec.resources.gpusPerPod",
        lambda spec: spec.resources.gpus_per_pod,
        lambda spec: spec.resources.gpus_per_pod is None or _world(spec) % spec.resources.gpus_per_pod == 0,
        "!has(self.resources.gpusPerPod) || self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.kv"
        " % self.resources.gpusPerPod == 0",
        "a divisor of tensor x pipeline x kv",
    ),
    Rule(
        "spec.resources.gpusPerPod",
        lambda spec: spec.resources.gpus_per_pod,
        _tensor_groups_whole,
        "!has(self.resources.gpusPerPod) || self.parallelism.tensor % self.resources.gpusPerPod == 0"
        " || self.resources.gpusPerPod % self.parallelism.tensor == 0",
        "a divisor or a multiple of parallelism.tensor",
        "a tensor group must not straddle pods unevenly",
    ),
    Rule(
        "spec.rollout.maxUnavailable",
        lambda spec: spec.rollout.max_unavailable,
        lambda spec: spec.rollout.max_surge > 0 or spec.rollout.max_unavailable > 0,
        "self.rollout.maxSurge > 0 || self.rollout.maxUnavailable > 0",
        "above 0 when maxSurge is 0",
    ),
    Rule(
        "spec.recovery.backoffMaxSeconds",
        lambda spec: spec.recovery.backoff_max_seconds,
        lambda spec: spec.recovery.backoff_base_seconds <= spec.recovery.backoff_max_seconds,
        "self.recovery.backoffBaseSeconds <= self.recovery.backoffMaxSeconds",
        "at least backoffBaseSeconds",
    ),
    Rule(
        "spec.networking.tls.secretName",
        lambda spec: MISSING,
        lambda spec: spec.networking.tls.mode == "Disabled" or spec.networking.tls.secret_name is not None,
        "self.networking.tls.mode == 'Disabled' || has(self.networking.tls.secretName)",
        "the name of a Secret",
        "TLS needs a certificate",
        reason="FieldValueRequired",
    ),
    _only(
        "spec.networking.tls.secretName",
        lambda spec: spec.networking.tls.secret_name,
        lambda spec: spec.networking.tls.mode != "Disabled",
        "self.networking.tls.mode != 'Disabled'",
        "only with networking.tls.mode TLS or MutualTLS",
        "without it the ports are not encrypted: set the mode too, or leave the secret out",
    ),
    _only_from_hub("spec.model.revision", lambda spec: spec.model.revision, "only a hub has revisions"),
    _only_from_hub(
        "spec.model.tokenSecretRef", lambda spec: spec.model.token_secret_ref, "only a hub asks for a token"
    ),
    _only(
        "spec.placement.queueName",
        lambda spec: spec.placement.queue_name,
        lambda spec: spec.placement.gang in ("Auto", "Kueue", "Volcano"),
        "self.placement.gang in ['Auto', 'Kueue', 'Volcano']",
        "only with placement.gang Auto, Kueue or Volcano",
        "the others have no queues",
    ),
    _only(
        "spec.resources.claimTemplateName",
        lambda spec: spec.resources.claim_template_name,
        lambda spec: spec.resources.accelerator.type == "GPU",
        "self.resources.accelerator.type == 'GPU'",
        "only with resources.accelerator.type GPU",
        "a claim stands for the GPUs of a pod",
    ),
    Rule(
        "spec.networking.openAIPort",
        lambda spec: spec.networking.open_ai_port,
        lambda spec: spec.networking.open_ai_port != spec.networking.grpc_port,
        "!has(self.networking.openAIPort) || self.networking.openAIPort != self.networking.grpcPort",
        "another port than grpcPort",
    ),
    Rule(
        "spec.autoscaling.minReplicas",
        lambda spec: spec.autoscaling.min_replicas if spec.autoscaling else None,
        lambda spec: spec.autoscaling is None or spec.autoscaling.min_replicas <= spec.autoscaling.max_replicas,
        "!has(self.autoscaling) || self.autoscaling.minReplicas <= self.autoscaling.maxReplicas",
        "at most maxReplicas",
    ),
    Rule(
        "spec.model.name",
        lambda spec: spec.model.name,
        lambda spec: not spec.model.name.startswith(("/", "./", "../", "~")),
        "!self.model.name.matches('^([/~]|[.][.]?/)')",
        "a Hugging Face id or a name",
        "for a folder set source: {type: HostPath, hostPath: {path: /the/folder}}",
    ),
)


def broken_rules(spec: VajraDeploymentSpec) -> list[ConfigError]:
    """What is at fault between fields that are each well by themselves."""
    errors = [*_misplaced_members(spec, "spec"), *pod_template_faults(spec.pod_template, "spec.podTemplate")]
    errors += [
        ConfigError(rule.path, rule.value(spec), rule.allowed, rule.hint) for rule in RULES if not rule.holds(spec)
    ]
    return errors


def _misplaced_members(section: Any, path: str) -> Iterator[ConfigError]:
    for field in fields_of(type(section)):
        value = getattr(section, field.name)
        if field.nested is None:
            continue
        here = f"{path}.{field.key}"
        if isinstance(section, Union):
            yield from _member_faults(section, field, here)
        if value is not None:
            yield from _misplaced_members(value, here)


def _member_faults(section: Any, field: ConfigField, path: str) -> Iterator[ConfigError]:
    owner = next((kind for kind, member in section.members.items() if member == field.name), None)
    value = getattr(section, field.name)
    if owner is None:
        return
    if value is not None and owner != section.type:
        allowed = f"only with type {owner}"
        yield ConfigError(path, value, allowed, f"the type here is {section.type}", problem="is set")
    if value is None and owner == section.type and owner in section.needed:
        yield ConfigError(path, MISSING, field.allowed, f"type {owner} needs it")
