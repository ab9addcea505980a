from vajra.inference.v1 import inference_pb2 as _inference_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunRequest(_message.Message):
    __slots__ = ("sequence_id", "token_ids", "num_prompt_tokens", "sampling", "stopping", "logprobs", "age_seconds", "ttft_target_seconds", "merge_seconds", "ledger", "tenant", "tenant_weight")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    NUM_PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TTFT_TARGET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MERGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TENANT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    sequence_id: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    num_prompt_tokens: int
    sampling: _inference_pb2.SamplingParams
    stopping: _inference_pb2.StoppingParams
    logprobs: int
    age_seconds: float
    ttft_target_seconds: float
    merge_seconds: float
    ledger: bool
    tenant: str
    tenant_weight: float
    def __init__(self, sequence_id: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ..., num_prompt_tokens: _Optional[int] = ..., sampling: _Optional[_Union[_inference_pb2.SamplingParams, _Mapping]] = ..., stopping: _Optional[_Union[_inference_pb2.StoppingParams, _Mapping]] = ..., logprobs: _Optional[int] = ..., age_seconds: _Optional[float] = ..., ttft_target_seconds: _Optional[float] = ..., merge_seconds: _Optional[float] = ..., ledger: _Optional[bool] = ..., tenant: _Optional[str] = ..., tenant_weight: _Optional[float] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("token_ids", "logprobs", "finish", "so_far")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    SO_FAR_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedCompositeFieldContainer[_inference_pb2.TokenLogprob]
    finish: RunFinish
    so_far: RunFinish
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[_Union[_inference_pb2.TokenLogprob, _Mapping]]] = ..., finish: _Optional[_Union[RunFinish, _Mapping]] = ..., so_far: _Optional[_Union[RunFinish, _Mapping]] = ...) -> None: ...

class RunFinish(_message.Message):
    __slots__ = ("reason", "stop_token_id", "queue_seconds", "prefill_seconds", "preemptions", "failovers", "ledger")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STOP_TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREFILL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    FAILOVERS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    reason: _inference_pb2.FinishReason
    stop_token_id: int
    queue_seconds: float
    prefill_seconds: float
    preemptions: int
    failovers: int
    ledger: Ledger
    def __init__(self, reason: _Optional[_Union[_inference_pb2.FinishReason, str]] = ..., stop_token_id: _Optional[int] = ..., queue_seconds: _Optional[float] = ..., prefill_seconds: _Optional[float] = ..., preemptions: _Optional[int] = ..., failovers: _Optional[int] = ..., ledger: _Optional[_Union[Ledger, _Mapping]] = ...) -> None: ...

class Ledger(_message.Message):
    __slots__ = ("batches", "chunks", "blocked", "discarded", "ahead", "predicted_prefill_seconds", "slack_seconds_at_first_token", "pauses")
    class BlockedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_PREFILL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SLACK_SECONDS_AT_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PAUSES_FIELD_NUMBER: _ClassVar[int]
    batches: int
    chunks: _containers.RepeatedScalarFieldContainer[int]
    blocked: _containers.ScalarMap[str, int]
    discarded: int
    ahead: _containers.RepeatedCompositeFieldContainer[Ahead]
    predicted_prefill_seconds: float
    slack_seconds_at_first_token: float
    pauses: int
    def __init__(self, batches: _Optional[int] = ..., chunks: _Optional[_Iterable[int]] = ..., blocked: _Optional[_Mapping[str, int]] = ..., discarded: _Optional[int] = ..., ahead: _Optional[_Iterable[_Union[Ahead, _Mapping]]] = ..., predicted_prefill_seconds: _Optional[float] = ..., slack_seconds_at_first_token: _Optional[float] = ..., pauses: _Optional[int] = ...) -> None: ...

class Ahead(_message.Message):
    __slots__ = ("sequence_id", "batches")
    SEQUENCE_ID_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    sequence_id: str
    batches: int
    def __init__(self, sequence_id: _Optional[str] = ..., batches: _Optional[int] = ...) -> None: ...

class WatchRoomRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchRoomResponse(_message.Message):
    __slots__ = ("free_slots", "free_blocks", "block_size", "accepted", "accepting", "fingerprint", "prefill_times", "time_scale")
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTING_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PREFILL_TIMES_FIELD_NUMBER: _ClassVar[int]
    TIME_SCALE_FIELD_NUMBER: _ClassVar[int]
    free_slots: int
    free_blocks: int
    block_size: int
    accepted: int
    accepting: bool
    fingerprint: str
    prefill_times: str
    time_scale: float
    def __init__(self, free_slots: _Optional[int] = ..., free_blocks: _Optional[int] = ..., block_size: _Optional[int] = ..., accepted: _Optional[int] = ..., accepting: _Optional[bool] = ..., fingerprint: _Optional[str] = ..., prefill_times: _Optional[str] = ..., time_scale: _Optional[float] = ...) -> None: ...

class GetPrefillTimesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPrefillTimesResponse(_message.Message):
    __slots__ = ("prefill_times", "stride", "seconds")
    PREFILL_TIMES_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    prefill_times: str
    stride: int
    seconds: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, prefill_times: _Optional[str] = ..., stride: _Optional[int] = ..., seconds: _Optional[_Iterable[float]] = ...) -> None: ...
