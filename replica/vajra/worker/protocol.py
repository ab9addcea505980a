"""The control channel between a replica's controller and one worker: length-prefixed msgpack frames.

A frame is a 4-byte little-endian length and that many bytes of msgpack, one tagged array per message. The
controller speaks `Init`, then any of `Add`, `Plan`, `Free`; the worker `Loading`, `Ready`, then one `Result`
per plan in order, and `Heartbeat` while none is due. `Fault` is a worker's last word. A closed channel ends
either side.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

MAX_FRAME_BYTES = 1 << 28
_LENGTH = struct.Struct("<I")


class Init(msgspec.Struct, tag="init", array_like=True, frozen=True):
    """First message: everything a worker needs to load."""

    deployment: dict[str, Any]  # a VajraDeployment as a custom resource
    num_local_replicas: int  # replicas that share this machine's memory and cores
    memory_bytes: int | None = None  # instead of the cgroup's limit or the machine's memory


class Add(msgspec.Struct, tag="add", array_like=True, frozen=True):
    """A sequence becomes known; `sampling` holds the fields of vajra.engine.sampling.SamplingParams by name."""

    seq_id: int
    token_ids: list[int]
    num_prompt_tokens: int
    sampling: dict[str, Any]


class Plan(msgspec.Struct, tag="plan", array_like=True, frozen=True):
    """One step: (seq_id, num_query_tokens, new_block_ids) each; see vajra.engine.api.BatchPlan."""

    step_id: int
    items: list[tuple[int, int, list[int]]]
    preempted: list[int]


class Free(msgspec.Struct, tag="free", array_like=True, frozen=True):
    """Sequences that ended, after the plans sent before."""

    seq_ids: list[int]


class Loading(msgspec.Struct, tag="loading", array_like=True, frozen=True):
    """Progress of startup: a stage (WeightDownload, WeightLoad, CollectiveInit, Profile) and how far it is, 0 to 1."""

    stage: str
    progress: float


class Ready(msgspec.Struct, tag="ready", array_like=True, frozen=True):
    """The worker takes plans. What a controller must know of model and engine."""

    fingerprint: str
    num_blocks: int
    block_size: int
    max_model_len: int
    vocab_size: int
    eos_token_ids: list[int]
    notices: list[str]
    profile: str | None = None  # execution times of this engine here: the text of a profile.json


class Token(msgspec.Struct, array_like=True, frozen=True):
    """One sampled token, or a sequence's end by an error; see vajra.engine.api.SampledToken."""

    seq_id: int
    token_id: int
    finish: int
    logprob: float | None
    top_logprobs: list[tuple[int, float]]


class Result(msgspec.Struct, tag="result", array_like=True, frozen=True):
    """A finished step and how long the engine took, in seconds."""

    step_id: int
    tokens: list[Token]
    seconds: float


class Heartbeat(msgspec.Struct, tag="heartbeat", array_like=True, frozen=True):
    """A sign of life: steps finished since start, and submitted but unfinished ones."""

    steps: int
    pending: int


class Fault(msgspec.Struct, tag="fault", array_like=True, frozen=True):
    """Why the worker is about to exit. `permanent`: starting again would meet the same fault. `refused`: permanent, and
    the fault is in the configuration itself."""

    message: str
    permanent: bool
    refused: bool = False


ToWorker = Init | Add | Plan | Free
FromWorker = Loading | Ready | Result | Heartbeat | Fault

to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_encoder = msgspec.msgpack.Encoder()


def encode(messages: Iterable[ToWorker | FromWorker]) -> bytes:
    """Frames for `messages`, to be written at once."""
    out = bytearray()
    for message in messages:
        body = _encoder.encode(message)
        out += _LENGTH.pack(len(body))
        out += body
    return bytes(out)


class FrameSplitter:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def push(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames that `data` completes. Raises ValueError for a length beyond MAX_FRAME_BYTES."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes; the channel is out of step")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        if start:
            del buffer[:start]
        return frames
