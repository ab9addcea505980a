"""How one sequence's tokens are chosen and when it ends: the part of a request that engines see."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Sampling and stopping of one sequence; every count starts at the original prompt boundary.

    The logits pass, in this order: logit_bias, repetition_penalty (over prompt and output), presence and
    frequency penalty (over output), temperature, top_k, top_p, min_p; then one draw keyed by (seed, position).
    `temperature` 0 is greedy (the lowest id wins a tie). Before `min_tokens` outputs, eos and stop ids are
    masked. Log-probabilities are those of the model's own distribution, before any of this.
    """

    temperature: float = 1.0
    top_k: int = 0  # 0 keeps all
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    seed: int = 0  # 64 bits; ignored when greedy
    max_tokens: int  # new tokens since the prompt boundary
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()  # eos ids included, unless they are to be ignored
    logprobs: int | None = None  # None: none; k: of the chosen token and the k likeliest
    return_logits: bool = False  # logits of every query token, float32 [num_query, vocab]: for oracles
