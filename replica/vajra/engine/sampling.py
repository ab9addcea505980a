"""How one sequence's tokens are chosen and when it ends: the part of a request that engines see.

The choice, to the last bit, for every engine (`sampling_reference.py` is this text in numpy):

 0. x = the model's float32 logits. Steps 1 to 4 are float32, each operation rounded on its own (no fused multiply-add),
    parameters rounded to float32 first.
 1. logit_bias: x[id] += bias.
 2. repetition_penalty r, for each distinct id of prompt and output: x = x / r where x > 0, else x * r.
 3. presence p and frequency f, for each distinct id of the output, seen c times: x = x - (p + f * c).
 4. While fewer than min_tokens are output: x[id] = -inf for every stop id.
 5. Greedy (temperature 0): the largest x; of equals the lowest id. Done. So too when every x is -inf.
 6. Weights are float64: w = exp((x - max(x)) / temperature), the subtraction and the division in float64. The best
    candidate's weight is exactly 1.
 7. Candidates: all ids in id order when top_k, top_p and min_p are all off (top_k 0 or >= vocabulary, top_p >= 1,
    min_p 0). Else sorted by x descending, of equals the lower id first (x, not w: distinct x may round to one w), and
    top_k keeps the first k;
    top_p keeps the shortest prefix of these whose sum is >= top_p * (the sum of these), at least one;
    min_p keeps those with w >= min_p.
    Sums are sequential float64 sums in candidate order.
 8. One draw: Philox4x32-10 with key (seed & 0xffffffff, seed >> 32) and counter (n & 0xffffffff, n >> 32, 0, 0), n being
    the sampled token's absolute position (the number of prompt and output tokens before it), gives words r0, r1, ...;
    u = ((r0 >> 5) * 2^26 + (r1 >> 6)) * 2^-53, in [0, 1).
    The first candidate whose cumulative weight exceeds u * (total weight) is the token.

Log-probabilities are of the unchanged logits in float64: (x - max) - log(sum of exp(x - max), in id order); the likeliest
ids come by x descending, of equals the lower id first. logprobs=0 gives the chosen token's alone.

The end: a token in stop_token_ids finishes with STOP; else the max_tokens-th output finishes with LENGTH.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """Sampling and stopping of one sequence; every count starts at the original prompt boundary.

    The raw float32 logits pass, in this order: logit_bias (added), the min_tokens mask (stop ids become -inf
    while there are fewer outputs), repetition_penalty (once per token of prompt and output: z / r if z > 0,
    else z * r), presence and frequency penalty (z - presence, then z - frequency * count; over output),
    temperature, top_k, top_p, min_p; then one draw keyed by (seed, position of the token in the sequence).
    `temperature` 0 is greedy: the lowest id among the largest wins, and no filter applies. With a filter set,
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
