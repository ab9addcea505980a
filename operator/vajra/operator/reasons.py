"""The closed lists of words that status and events use: for programs; the sentences beside them are for people."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition is what it is."""

    # Accepted
    ACCEPTED = "Accepted"
    INVALID_CONFIG = "InvalidConfig"
    INVALID_POD_TEMPLATE = "InvalidPodTemplate"
    UNSUPPORTED_OPTION = "UnsupportedOption"

    # Ready
    SERVING = "Serving"
    SUSPENDED = "Suspended"
    SCALED_TO_ZERO = "ScaledToZero"
    CREATING = "Creating"
    UNSCHEDULABLE = "Unschedulable"
    INSUFFICIENT_GPUS = "InsufficientGPUs"
    CONTAINER_CREATING = "ContainerCreating"
    CONTAINER_CONFIG_FAILED = "ContainerConfigFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    STARTING = "Starting"
    DOWNLOADING_WEIGHTS = "DownloadingWeights"
    LOADING_WEIGHTS = "LoadingWeights"
    INITIALIZING_COLLECTIVES = "InitializingCollectives"
    MEASURING_PROFILE = "MeasuringProfile"
    WARMING_UP = "WarmingUp"
    RESTARTING_WORKERS = "RestartingWorkers"
    CRASH_LOOP = "CrashLoop"
    CONFIG_REFUSED = "ConfigRefused"
    RESTART_LIMIT_EXCEEDED = "RestartLimitExceeded"
    NODE_LOST = "NodeLost"
    DRAINING = "Draining"
    NOT_ANSWERING = "NotAnswering"
    ROLLING_OUT = "RollingOut"
    GATEWAY_NOT_READY = "GatewayNotReady"

    # ConfigApplied, and Ready while it is not
    CONFIG_APPLIED = "ConfigApplied"
    CONFIG_PENDING = "ConfigPending"

    # Available
    MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable"
    MINIMUM_REPLICAS_UNAVAILABLE = "MinimumReplicasUnavailable"

    # Progressing
    SCALING = "Scaling"
    COMPLETE = "Complete"
    PAUSED = "Paused"
    PARTITIONED = "Partitioned"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"

    # Degraded and Suspended, when they are not
    AS_EXPECTED = "AsExpected"
    NOT_SUSPENDED = "NotSuspended"


class Fault(StrEnum):
    """What happened to a replica: `status.recovery.lastFault.reason`."""

    WORKER_FAILED = "WorkerFailed"  # the replica has started its workers again
    REPLICA_FAILED = "ReplicaFailed"  # it could not, and gave up
    PROCESS_ENDED = "ProcessEnded"
    OUT_OF_MEMORY = "OutOfMemory"
    CONFIG_REFUSED = "ConfigRefused"  # the process does not serve such a configuration
    POD_REJECTED = "PodRejected"  # evicted by its node, or never let in
    NODE_LOST = "NodeLost"


class FaultAction(StrEnum):
    """What was done about it: `status.recovery.lastFault.action`."""

    RESTARTED_WORKERS = "RestartedWorkers"
    RECREATED = "Recreated"
    STOPPED = "Stopped"
