"""`VajraDeploymentSpec`: the whole spec. The one place where each section's change class and scope are said."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import StrictBool, StrictInt, StrictStr

from vajra.config.base import manifest_class
from vajra.config.options import Change, Scope, option
from vajra.config.reference import LLMReplicaSetControllerConfig
from vajra.config.spec.cluster import (
    AutoscalingSection,
    DrainSection,
    NetworkingSection,
    PlacementSection,
    RecoverySection,
    ResourcesSection,
    RolloutSection,
)
from vajra.config.spec.model import ModelSection
from vajra.config.spec.serving import (
    CacheSection,
    ControllerSection,
    MetricsSection,
    ParallelismSection,
    PrioritizerSection,
    SchedulerSection,
    WorkerSection,
)


@manifest_class
class VajraDeploymentSpec:
    """What is served, how it is scheduled and how it lives in a cluster."""

    reference: ClassVar[type] = LLMReplicaSetControllerConfig

    replicas: StrictInt = option(
        default=1, ge=0, le=10000, change=Change.LIVE, updatable=True, reference="num_replicas"
    )
    tokenizer_workers: StrictInt = option(
        default=10, ge=1, le=1024, change=Change.LIVE, updatable=True, reference="num_tokenizer_workers"
    )
    controller: ControllerSection = option(
        default_factory=lambda: ControllerSection(type="Auto"), change=Change.RECREATE
    )
    model: ModelSection = option(change=Change.RECREATE)
    parallelism: ParallelismSection = option(default_factory=ParallelismSection, change=Change.RECREATE)
    worker: WorkerSection = option(default_factory=WorkerSection, change=Change.RECREATE)
    cache: CacheSection = option(default_factory=CacheSection, change=Change.RECREATE)
    scheduler: SchedulerSection = option(
        default_factory=lambda: SchedulerSection(type="FixedChunk"), change=Change.LIVE, updatable=True
    )
    prioritizer: PrioritizerSection = option(
        default_factory=lambda: PrioritizerSection(type="FCFS"), change=Change.LIVE, updatable=True
    )
    metrics: MetricsSection = option(default_factory=MetricsSection, change=Change.LIVE)
    resources: ResourcesSection = option(default_factory=ResourcesSection, change=Change.RECREATE, scope=Scope.CLUSTER)
    placement: PlacementSection = option(default_factory=PlacementSection, change=Change.RECREATE, scope=Scope.CLUSTER)
    rollout: RolloutSection = option(
        default_factory=RolloutSection, change=Change.LIVE, updatable=True, scope=Scope.CLUSTER
    )
    drain: DrainSection = option(default_factory=DrainSection, change=Change.LIVE, updatable=True)
    recovery: RecoverySection = option(default_factory=RecoverySection, change=Change.LIVE, updatable=True)
    networking: NetworkingSection = option(default_factory=NetworkingSection, change=Change.RECREATE)
    autoscaling: AutoscalingSection | None = option(
        default=None,
        change=Change.LIVE,
        updatable=True,
        scope=Scope.CLUSTER,
        advice="`replicas` is the number that runs locally",
        doc="Replicas by load; unset: off.",
    )
    suspend: StrictBool = option(
        default=False,
        change=Change.LIVE,
        updatable=True,
        scope=Scope.CLUSTER,
        doc="Takes all pods away and keeps the rest.",
    )
    image: StrictStr | None = option(
        default=None,
        min_length=1,
        max_length=2048,
        change=Change.RECREATE,
        scope=Scope.CLUSTER,
        doc="Image of the pods; unset: the operator's default.",
    )
    pod_template: dict[str, Any] | None = option(
        default=None,
        change=Change.RECREATE,
        scope=Scope.CLUSTER,
        doc="Merged into every pod: `metadata` (labels, annotations) and `spec`, containers by name (gateway, "
        "worker). terminationGracePeriodSeconds belongs to drain.",
    )
