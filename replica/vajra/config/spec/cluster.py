"""The sections on resources and life in a cluster: ours, without a counterpart among the reference's classes."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool, StrictInt, StrictStr

from vajra.config.base import manifest_class
from vajra.config.options import Scope, option
from vajra.config.spec.types import Quantity


@manifest_class
class AcceleratorSection:
    """The kind of device."""

    type: Literal["GPU", "CPU"] = option(default="GPU", doc="What the engine runs on.")


@manifest_class
class ResourcesSection:
    """What a pod asks for."""

    accelerator: AcceleratorSection = option(default_factory=AcceleratorSection, scope=Scope.SERVING)
    gpu_resource_name: StrictStr = option(
        default="nvidia.com/gpu", min_length=1, max_length=253, doc="Name of the GPU resource."
    )
    gpus_per_pod: StrictInt | None = option(
        default=None,
        ge=1,
        le=64,
        doc="Ranks per pod; unset: all of a replica's, at most 8. Divides pipeline x tensor x kv, and no tensor group "
        "straddles pods unevenly.",
    )
    claim_template_name: StrictStr | None = option(
        default=None,
        min_length=1,
        max_length=253,
        doc="ResourceClaimTemplate to use instead of a GPU resource; only with accelerator GPU.",
    )
    cpu: Quantity | None = option(default=None, doc="CPU request and limit of a pod.")
    memory: Quantity | None = option(default=None, doc="Memory request and limit of a pod.")
    shared_memory: Quantity = option(default="16Gi", doc="Size of /dev/shm, which collectives use.")


@manifest_class
class TopologySection:
    """Closeness of a replica's pods."""

    required_key: StrictStr | None = option(
        default=None, min_length=1, max_length=317, doc="Node label that all pods of a replica must agree in."
    )
    preferred_key: StrictStr | None = option(
        default=None, min_length=1, max_length=317, doc="Node label that they should agree in."
    )


@manifest_class
class PlacementSection:
    """How pods find their nodes."""

    gang: Literal["Auto", "None", "Native", "Kueue", "Volcano", "Coscheduling"] = option(
        default="Auto", doc="Who places a replica's pods all at once; Auto takes what the cluster has."
    )
    queue_name: StrictStr | None = option(
        default=None, min_length=1, max_length=253, doc="Kueue or Volcano queue; only with gang Auto, Kueue or Volcano."
    )
    topology: TopologySection | None = option(default=None)


@manifest_class
class RolloutSection:
    """How a change of class Recreate spreads over the replicas."""

    max_surge: StrictInt = option(default=0, ge=0, le=10000, doc="Replicas above the number asked for.")
    max_unavailable: StrictInt = option(
        default=1, ge=0, le=10000, doc="Replicas that may be missing; not 0 together with maxSurge."
    )
    partition: StrictInt = option(default=0, ge=0, le=10000, doc="Replicas with a lower index keep the old revision.")
    paused: StrictBool = option(default=False, doc="Holds the rollout.")
    progress_deadline_seconds: StrictInt = option(
        default=3600, ge=1, le=2147483647, doc="Without progress for so long it has failed."
    )
    revision_history_limit: StrictInt = option(default=10, ge=0, le=100, doc="Old revisions kept.")


@manifest_class
class DrainSection:
    """How a replica leaves."""

    timeout_seconds: StrictInt = option(
        default=300, ge=0, le=86400, doc="Time that requests under way have to finish in after SIGTERM."
    )
    endpoint_grace_seconds: StrictInt = option(
        default=5,
        ge=0,
        le=600,
        scope=Scope.CLUSTER,
        doc="Time between leaving the Service and refusing new requests.",
    )


@manifest_class
class RecoverySection:
    """What happens when something dies or hangs."""

    stall_timeout_seconds: StrictInt = option(
        default=60, ge=5, le=86400, doc="A worker with work pending and no step finished for so long is stuck."
    )
    worker_restart_limit: StrictInt = option(
        default=2, ge=0, le=1000, doc="Restarts of workers in place before the whole replica is started again."
    )
    group_restart_limit: StrictInt = option(
        default=5, ge=0, le=1000, doc="Restarts of a replica before it is given up."
    )
    backoff_base_seconds: StrictInt = option(
        default=10, ge=1, le=86400, doc="Wait before the second restart of a replica; then doubled."
    )
    backoff_max_seconds: StrictInt = option(
        default=600, ge=1, le=86400, doc="Longest wait; not below backoffBaseSeconds."
    )


@manifest_class
class TlsSection:
    """Encryption of the client ports."""

    mode: Literal["Disabled", "TLS", "MutualTLS"] = option(
        default="Disabled",
        implemented=("Disabled",),
        advice="put a proxy that speaks TLS before the gateway",
        doc="MutualTLS asks clients for certificates too.",
    )
    secret_name: StrictStr | None = option(
        default=None,
        min_length=1,
        max_length=253,
        scope=Scope.CLUSTER,
        doc="Secret with tls.crt, tls.key and ca.crt; needed with the modes TLS and MutualTLS, refused without.",
    )


@manifest_class
class ApiKeysSection:
    """A file of API keys in a Secret of the deployment's namespace."""

    name: StrictStr = option(min_length=1, max_length=253, doc="Name of the Secret.")
    key: StrictStr = option(
        default="api-keys.yaml", min_length=1, max_length=253, doc="Key in the Secret: a list of {name, key, weight}."
    )


@manifest_class
class NetworkingSection:
    """Ports and what stands before them."""

    grpc_port: StrictInt = option(default=8471, ge=1, le=65535, doc="Port of the gRPC API.")
    open_ai_port: StrictInt | None = option(
        default=None, ge=1, le=65535, doc="Port of the OpenAI API; unset: none in a cluster, 8000 with `vajra serve`."
    )
    inference_pool: Literal["Disabled", "Enabled"] = option(
        default="Disabled", scope=Scope.CLUSTER, doc="Makes an InferencePool of the Gateway API."
    )
    network_policy: Literal["Disabled", "Enabled"] = option(
        default="Enabled", scope=Scope.CLUSTER, doc="Closes the ranks' ports to everyone else."
    )
    tls: TlsSection = option(default_factory=TlsSection)
    api_keys_secret_ref: ApiKeysSection | None = option(
        default=None,
        scope=Scope.CLUSTER,
        advice="give the file to `vajra serve --api-keys`",
        doc="Secret with the API keys that gateways ask of clients, by name; unset: nobody is asked. Gateways read it "
        "again when it changes.",
    )


@manifest_class
class AutoscalingSection:
    """Replicas by load."""

    min_replicas: StrictInt = option(default=1, ge=0, le=10000, doc="Fewest replicas; not above maxReplicas.")
    max_replicas: StrictInt = option(ge=1, le=10000, doc="Most replicas.")
    target_queue_depth: StrictInt | None = option(
        default=None, ge=1, le=1000000, doc="Waiting requests per replica to aim at."
    )
    target_kv_utilization_percent: StrictInt | None = option(
        default=None, ge=1, le=100, doc="Share of KV blocks in use to aim at."
    )
    scale_down_stabilization_seconds: StrictInt = option(
        default=300, ge=0, le=86400, doc="Scales down to the largest number wanted within this time."
    )
