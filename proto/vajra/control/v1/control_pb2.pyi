import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplicaPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_PHASE_UNSPECIFIED: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_STARTING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_SERVING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_DRAINING: _ClassVar[ReplicaPhase]
    REPLICA_PHASE_FAILED: _ClassVar[ReplicaPhase]
REPLICA_PHASE_UNSPECIFIED: ReplicaPhase
REPLICA_PHASE_STARTING: ReplicaPhase
REPLICA_PHASE_SERVING: ReplicaPhase
REPLICA_PHASE_DRAINING: ReplicaPhase
REPLICA_PHASE_FAILED: ReplicaPhase

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("phase", "revision", "generation", "workers", "stages", "running", "waiting", "capacity", "kv_blocks_used", "message", "notices", "fingerprint", "deployment_json", "config_refused")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_USED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONFIG_REFUSED_FIELD_NUMBER: _ClassVar[int]
    phase: ReplicaPhase
    revision: str
    generation: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    stages: _containers.RepeatedCompositeFieldContainer[StartupStage]
    running: int
    waiting: int
    capacity: Capacity
    kv_blocks_used: int
    message: str
    notices: _containers.RepeatedScalarFieldContainer[str]
    fingerprint: str
    deployment_json: str
    config_refused: bool
    def __init__(self, phase: _Optional[_Union[ReplicaPhase, str]] = ..., revision: _Optional[str] = ..., generation: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[StartupStage, _Mapping]]] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., capacity: _Optional[_Union[Capacity, _Mapping]] = ..., kv_blocks_used: _Optional[int] = ..., message: _Optional[str] = ..., notices: _Optional[_Iterable[str]] = ..., fingerprint: _Optional[str] = ..., deployment_json: _Optional[str] = ..., config_refused: _Optional[bool] = ...) -> None: ...

class Capacity(_message.Message):
    __slots__ = ("kv_blocks", "block_size", "max_batch_size", "max_model_len")
    KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    kv_blocks: int
    block_size: int
    max_batch_size: int
    max_model_len: int
    def __init__(self, kv_blocks: _Optional[int] = ..., block_size: _Optional[int] = ..., max_batch_size: _Optional[int] = ..., max_model_len: _Optional[int] = ...) -> None: ...

class StartupStage(_message.Message):
    __slots__ = ("name", "seconds", "progress")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    seconds: float
    progress: float
    def __init__(self, name: _Optional[str] = ..., seconds: _Optional[float] = ..., progress: _Optional[float] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("rank", "steps", "pending", "heartbeat_age", "pid", "restarts", "message")
    RANK_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AGE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    rank: int
    steps: int
    pending: int
    heartbeat_age: _duration_pb2.Duration
    pid: int
    restarts: int
    message: str
    def __init__(self, rank: _Optional[int] = ..., steps: _Optional[int] = ..., pending: _Optional[int] = ..., heartbeat_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., pid: _Optional[int] = ..., restarts: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class UpdateConfigRequest(_message.Message):
    __slots__ = ("generation", "spec_json", "validate_only")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    spec_json: str
    validate_only: bool
    def __init__(self, generation: _Optional[int] = ..., spec_json: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateConfigResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("in_flight",)
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    in_flight: int
    def __init__(self, in_flight: _Optional[int] = ...) -> None: ...
