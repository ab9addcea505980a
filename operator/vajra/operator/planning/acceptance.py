"""Whether a VajraDeployment can be served in this cluster by this version; else why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vajra.config import API_VERSION, KIND, ConfigError, VajraDeployment, VajraDeploymentSpec, check_supported
from vajra.operator.planning import names
from vajra.operator.planning.pod_template import template_faults
from vajra.operator.reasons import Reason


@dataclass(frozen=True)
class Acceptance:
    """deployment: what was asked for, when it can be had."""

    deployment: VajraDeployment | None
    reason: Reason
    message: str


@dataclass(frozen=True)
class _NotYet:
    """A field that the operator of this version does nothing with beyond `implemented`."""

    path: str
    value: Callable[[VajraDeploymentSpec], Any]
    implemented: Sequence[Any]
    allowed: str
    hint: str


def _prefetch(spec: VajraDeploymentSpec) -> Any:
    claim = spec.model.cache.persistent_volume_claim
    return claim.prefetch if claim is not None else False


_NOT_YET: Final = (
    _NotYet("spec.placement.gang", lambda spec: spec.placement.gang, ("Auto", "None"), "Auto, None", "use Auto"),
    _NotYet(
        "spec.placement.queueName", lambda spec: spec.placement.queue_name, (None,), "leave it out", "no queue is asked"
    ),
    _NotYet(
        "spec.autoscaling",
        lambda spec: spec.autoscaling,
        (None,),
        "leave it out",
        "let a HorizontalPodAutoscaler or KEDA scale the VajraDeployment: it has a scale subresource",
    ),
    _NotYet(
        "spec.networking.inferencePool",
        lambda spec: spec.networking.inference_pool,
        ("Disabled",),
        "Disabled",
        "route to the Service of the deployment's name",
    ),
    _NotYet(
        "spec.model.cache.persistentVolumeClaim.prefetch",
        _prefetch,
        (False,),
        "false",
        "the first pod that starts downloads, the others wait for it",
    ),
)
# Laid out here all the same: which of it can be served is for the pods to say.
_LAID_OUT: Final = ("spec.parallelism.", "spec.controller.type")
_TAKEN: Final = {names.CONTROL_PORT: "steered through", names.METRICS_PORT: "scraped at"}


def accept(name: str, spec: Mapping[str, Any]) -> Acceptance:
    """Reads and judges a spec as the API server has it."""
    manifest = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    try:
        deployment = VajraDeployment.from_dict(manifest)
    except ConfigError as error:
        return _refused(Reason.INVALID_CONFIG, error.errors)
    if faults := list(template_faults(deployment.spec.pod_template)):
        return _refused(Reason.INVALID_POD_TEMPLATE, faults)
    if faults := list(_port_faults(deployment.spec)):
        return _refused(Reason.INVALID_CONFIG, faults)
    if faults := [*_unsupported(deployment)]:
        return _refused(Reason.UNSUPPORTED_OPTION, faults)
    return Acceptance(deployment, Reason.ACCEPTED, "the spec can be served here")


def _unsupported(deployment: VajraDeployment) -> Iterator[ConfigError]:
    for error in check_supported(deployment, accelerators=("CPU", "GPU"), in_cluster=True):
        if not error.path.startswith(_LAID_OUT):
            yield error
    for field in _NOT_YET:
        value = field.value(deployment.spec)
        if value not in field.implemented:
            problem = f"{value} is not implemented" if isinstance(value, str) else "is not implemented"
            yield ConfigError(field.path, value, field.allowed, field.hint, problem=problem)


def _port_faults(spec: VajraDeploymentSpec) -> Iterator[ConfigError]:
    networking = spec.networking
    for key, port in (("grpcPort", networking.grpc_port), ("openAIPort", networking.open_ai_port)):
        if port in _TAKEN:
            yield ConfigError(f"spec.networking.{key}", port, "another port", f"gateways are {_TAKEN[port]} this one")


def _refused(reason: Reason, errors: Sequence[ConfigError]) -> Acceptance:
    return Acceptance(None, reason, "; ".join(map(str, errors)))
