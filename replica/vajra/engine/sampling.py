"""How one sequence's tokens are chosen and when it ends: the part of a request that engines see."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Sampling and stopping of one sequence; every count starts at the original prompt boundary.

    The raw float32 logits pass, in this order: logit_bias (added), the min_tokens mask (stop ids become -inf
    while there are fewer outputs), repetition_penalty (once per token of prompt and output: z / r if z > 0,
    else z * r), presence and frequency penalty (z - presence, then z - frequency * count; over output),
    temperature, top_k, top_p, min_p; then one draw keyed by (seed, position of the token in the sequence).
    `temperature` 0 is greedy: the lowest id among the largest wins, and no filter applies; between it and 1e-6
    there is nothing. With a filter set,
    candidates are ordered by (logit descending, id ascending), otherwise by id; the draw is the inverse CDF
    over that order, from Philox4x32-10. top_p keeps a candidate while the mass before it is < top_p; min_p
    keeps those at least min_p times as likely as the likeliest; the likeliest always stays. Log-probabilities
    are those of the model's own distribution, before any of this. docs/design/0004-sampling.md has every
    rounding; engines and the numpy reference agree on it to the bit of a token.
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
