"""What a request asks for, and what comes back: the gateway's own types, free of any wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from vajra.gateway.api_keys import ANYBODY, Tenant
from vajra.gateway.field_names import FieldNames
from vajra.gateway.ledger import Stay


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A conversation, to be rendered by the model's chat template. Messages have `role` and `content`."""

    messages: Sequence[Mapping[str, Any]]


Prompt = str | Sequence[int] | Chat


@dataclass(frozen=True, kw_only=True)
class GenerateRequestData:
    """One prompt and how to continue it. None takes the default; ranges are checked by `validate`."""

    prompt: Prompt
    request_id: str = ""  # made when empty
    model: str = ""  # empty accepts whatever is served
    n: int | None = None  # continuations; 1
    temperature: float | None = None  # 1.0; 0 is greedy
    top_k: int | None = None  # 0, which keeps all
    top_p: float | None = None  # 1.0
    min_p: float | None = None  # 0.0
    repetition_penalty: float | None = None  # 1.0
    presence_penalty: float | None = None  # 0.0
    frequency_penalty: float | None = None  # 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # drawn when None; 64 bits
    max_tokens: int | None = None  # what the context leaves
    min_tokens: int | None = None  # 0
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    logprobs: int | None = None  # of each token and of so many alternatives; None: none
    detokenize: bool = True  # False: ids only, and stop strings are refused
    ledger: bool = False  # whether to say where the time went
    timeout_seconds: float | None = None  # for the whole of it, from now
    ttft_target_seconds: float | None = None  # until the first token, from now; what the prioritizer chooses
    tenant: Tenant = ANYBODY  # as its face has found out
    stream: bool = True  # False: nobody looks at deltas, so they may come late and merged
    names: FieldNames = field(default_factory=FieldNames, compare=False)  # what messages call these fields


class FinishReason(Enum):
    """Why a choice ended."""

    STOP = "stop"  # end of sequence, a stop string or a stop token
    LENGTH = "length"  # max_tokens or the context ran out
    ABORTED = "aborted"  # the server drains and its grace is over


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithms at one position, of the model's own distribution."""

    token_id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()  # (token id, logprob), best first


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts and times (seconds) of one choice."""

    prompt_tokens: int
    completion_tokens: int
    queue_time: float = 0.0
    prefill_time: float = 0.0
    preemptions: int = 0
    failovers: int = 0
    inexact: bool = False  # a resume crossed numerics fingerprints


@dataclass(slots=True)
class Delta:
    """What is new since the previous delta of the same choice; `finish_reason`, `usage` and `ledger` come with the
    last.

    `index` counts choices over all prompts opened together: prompt i of requests with n choices starts at i · n.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)  # one per token, if asked for
    finish_reason: FinishReason | None = None
    matched_stop: str | int | None = None  # the stop string, or the stop token's id
    usage: Usage | None = None
    ledger: tuple[Stay, ...] = ()  # with the last, if asked for

    def merge(self, later: Delta) -> None:
        """Appends a later delta of the same choice."""
        self.text += later.text
        self.token_ids += later.token_ids
        self.logprobs += later.logprobs
        self.finish_reason, self.matched_stop, self.usage = later.finish_reason, later.matched_stop, later.usage
        self.ledger = later.ledger


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The served model, as far as requests care."""

    name: str
    aliases: tuple[str, ...]  # other names that requests may use
    max_model_len: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    num_layers: int
    dtype: str
    architecture: str
