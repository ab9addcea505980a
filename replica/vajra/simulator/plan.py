"""A replica set to simulate: what a VajraDeployment says, on a device whose speed is predicted."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass

from vajra.config import (
    RequestPrioritizerConfig,
    SchedulerConfig,
    VajraDeployment,
)
from vajra.prediction.devices import Device
from vajra.prediction.prefill import PrefillTable
from vajra.prediction.roofline import RooflinePredictor
from vajra.prediction.shapes import Shape
from vajra.scheduling import (
    BlockManager,
    Predictor,
    Prioritizer,
    ReplicaScheduler,
    chunk_alone,
    ordering,
    policies,
)
from vajra.simulator.errors import SimulationError
from vajra.simulator.memory import kv_blocks
from vajra.simulator.metrics import Metrics
from vajra.simulator.replica import SimulatedReplica
from vajra.simulator.simulation import Observer, Simulation
from vajra.simulator.workload import Request

UNBOUNDED = 1 << 62


@dataclass(frozen=True, kw_only=True)
class ClusterPlan:
    """Everything that a simulation needs but its requests."""

    predictor: Predictor
    scheduler: SchedulerConfig
    prioritizer: RequestPrioritizerConfig
    per_tenant: bool = False  # the tenant that was served least comes first
    relegate: bool = False  # requests that are too late anyway come last
    num_blocks: int  # of each replica's KV pool
    block_size: int
    max_model_len: int
    replicas: int = 1
    tensor: int = 1
    pipeline: int = 1
    queue_capacity: int = UNBOUNDED  # requests that may wait at the gateway
    ahead: int = 1  # steps planned behind those that run
    step_seconds: float = 0.0  # that a step takes beyond its prediction
    gateway_seconds: float = 0.0  # from a request's arrival until it can be bound to a replica

    def __post_init__(self) -> None:
        if self.num_blocks * self.block_size < self.max_model_len:
            raise SimulationError(
                f"{self.num_blocks} KV blocks of {self.block_size} tokens do not hold one sequence of "
                f"{self.max_model_len} tokens"
            )
        if self.replicas < 1:
            raise SimulationError(f"a replica set to simulate has at least one replica, not {self.replicas}")

    @property
    def devices(self) -> int:
        """Of all replicas."""
        return self.replicas * self.tensor * self.pipeline

    @functools.cached_property
    def prefill_times(self) -> PrefillTable:
        """Of prompts by themselves, under this plan's scheduler."""
        chunk = chunk_alone(self.scheduler, self.predictor, self.max_model_len)
        return PrefillTable.build(self.predictor, chunk, self.max_model_len)

    @property
    def _times(self) -> PrefillTable | None:
        """Where requests have deadlines."""
        return self.prefill_times if self.prioritizer.predicts or self.relegate else None

    def simulation(self, observer: Observer) -> Simulation:
        """A replica set that idles, watched by `observer`."""
        return Simulation(
            [self._replica(index) for index in range(self.replicas)],
            self._new_prioritizer(),
            observer,
            queue_capacity=self.queue_capacity,
            max_model_len=self.max_model_len,
            gateway_seconds=self.gateway_seconds,
        )

    def simulate(self, requests: Iterable[Request], metrics: Metrics) -> Simulation:
        """Runs all requests, in order of arrival, to their ends."""
        simulation = metrics.simulation = self.simulation(metrics)
        simulation.run(requests)
        return simulation

    def _new_prioritizer(self) -> Prioritizer:
        return ordering(self.prioritizer, self._times, per_tenant=self.per_tenant, relegate=self.relegate)

    def _replica(self, index: int) -> SimulatedReplica:
        prioritizer = self._new_prioritizer()
        scheduler = ReplicaScheduler(
            BlockManager(self.num_blocks, self.block_size),
            policies.create(self.scheduler, prioritizer),
            prioritizer,
            self.predictor,
            stages=self.pipeline,
        )
        return SimulatedReplica(
            index,
            scheduler,
            prioritizer,
            self._times,
            stages=self.pipeline,
            ahead=self.ahead,
            step_seconds=self.step_seconds,
        )

    def with_replicas(self, replicas: int) -> ClusterPlan:
        """The same with another number of replicas."""
        changed = dataclasses.replace(self, replicas=replicas)
        if "prefill_times" in vars(self):  # they take a while, and are the same
            vars(changed)["prefill_times"] = self.prefill_times
        return changed


@dataclass(frozen=True, kw_only=True)
class Overheads:
    """What a deployment does not say: costs beside the predicted ones, and the gateway's bound."""

    step_seconds: float = 0.0
    gateway_seconds: float = 0.0
    queue_capacity: int = UNBOUNDED


NO_OVERHEADS = Overheads()


def roofline_plan(
    deployment: VajraDeployment, shape: Shape, device: Device, overheads: Overheads = NO_OVERHEADS
) -> ClusterPlan:
    """The plan of a deployment on devices whose speed is their roofline's.

    Raises SimulationError for what does not fit or is not simulated.
    """
    parallel = deployment.replica_config.parallel_config
    try:
        predictor = RooflinePredictor(
            shape, device, tensor=parallel.tensor_parallel_size, pipeline=parallel.pipeline_parallel_size
        )
    except ValueError as error:
        raise SimulationError(str(error)) from None
    return predicted_plan(deployment, predictor, shape, device.memory, overheads)


def predicted_plan(
    deployment: VajraDeployment,
    predictor: Predictor,
    shape: Shape,
    memory_bytes: float,
    overheads: Overheads = NO_OVERHEADS,
) -> ClusterPlan:
    """The plan of a deployment on devices of `memory_bytes`, whose speed in its layout `predictor` knows.

    Raises SimulationError for what does not fit or is not simulated.
    """
    _check(deployment)
    config = deployment.replica_config
    parallel, scheduler = config.parallel_config, config.scheduler_config
    tensor, pipeline = parallel.tensor_parallel_size, parallel.pipeline_parallel_size
    block_size, max_model_len = config.cache_config.block_size, config.model_config.max_model_len
    num_blocks = kv_blocks(
        shape,
        memory_bytes=memory_bytes,
        utilization=config.worker_config.gpu_memory_utilization,
        tensor=tensor,
        pipeline=pipeline,
        block_size=block_size,
        max_model_len=max_model_len,
        max_batch_size=scheduler.max_batch_size,
        max_batch_tokens=scheduler.max_batch_tokens,
    )
    return ClusterPlan(
        predictor=predictor,
        scheduler=scheduler,
        prioritizer=deployment.prioritizer_config,
        per_tenant=deployment.is_fair,
        relegate=deployment.relegates,
        num_blocks=num_blocks,
        block_size=block_size,
        max_model_len=max_model_len,
        replicas=deployment.replica_set_config.num_replicas,
        tensor=tensor,
        pipeline=pipeline,
        queue_capacity=overheads.queue_capacity,
        step_seconds=overheads.step_seconds,
        gateway_seconds=overheads.gateway_seconds,
    )


def _check(deployment: VajraDeployment) -> None:
    parallel = deployment.replica_config.parallel_config
    for path, is_set in (
        ("spec.parallelism.kv", parallel.kv_parallel_size > 1),
        ("spec.parallelism.sequencePipeline", parallel.enable_sequence_pipeline_parallel),
        ("spec.parallelism.expert", parallel.enable_expert_parallel),
    ):
        if is_set:
            raise SimulationError(f"{path} is set; this version does not simulate it. Leave it out")
