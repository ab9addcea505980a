"""The sampler's definition (docs/design/0004-sampling.md) in numpy: the oracle of the native one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vajra.engine.api import FinishReason, SampledToken
from vajra.engine.sampling import SamplingParams

_Float32s = npt.NDArray[np.float32]
_Float64s = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]

_MASK32 = 0xFFFFFFFF
_MIN_EXPONENT = -700.0  # weights below exp of this are 0
_MIN_TEMPERATURE = 2.0**-20  # about 1e-6; a power of two, for clients that hold it in float32


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds of Philox4x32 (Salmon et al., 2011): four 32-bit words that are a pure function of the arguments."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK32, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK32
        k0, k1 = (k0 + 0x9E3779B9) & _MASK32, (k1 + 0xBB67AE85) & _MASK32
    return c0, c1, c2, c3


def uniform(seed: int, position: int) -> float:
    """The draw in [0, 1) of the token at absolute `position`, a multiple of 2^-53."""
    key = (seed & _MASK32, (seed >> 32) & _MASK32)
    r0, r1, _, _ = philox4x32((position & _MASK32, (position >> 32) & _MASK32, 0, 0), key)
    return ((r1 << 32 | r0) >> 11) * 2.0**-53


def adjusted_logits(
    logits: _Float32s, params: SamplingParams, token_ids: Sequence[int], num_prompt_tokens: int
) -> _Float32s:
    """Logits [vocab] after bias, min_tokens mask and penalties, for the token that follows `token_ids`."""
    z = np.array(logits, dtype=np.float32)
    for token, bias in params.logit_bias.items():
        z[token] += np.float32(bias)
    if len(token_ids) - num_prompt_tokens < params.min_tokens:
        z[[t for t in params.stop_token_ids if t < z.size]] = -np.inf
    if params.repetition_penalty != 1.0:
        seen = np.unique(np.asarray(token_ids, dtype=np.int64))
        penalty = np.float32(params.repetition_penalty)
        z[seen] = np.where(z[seen] > 0, z[seen] / penalty, z[seen] * penalty)
    if params.presence_penalty != 0.0 or params.frequency_penalty != 0.0:
        output = np.asarray(token_ids[num_prompt_tokens:], dtype=np.int64)
        seen, counts = np.unique(output, return_counts=True)
        z[seen] -= np.float32(params.presence_penalty)
        z[seen] -= np.float32(params.frequency_penalty) * counts.astype(np.float32)
    return z


def candidates(z: _Float32s, params: SamplingParams) -> tuple[_Ids, _Float64s]:
    """Ids that may be drawn and their weights (the likeliest has 1), in the order of the draw. temperature > 0."""
    exponents = (z.astype(np.float64) - np.float64(z.max())) * (1.0 / params.temperature)
    weights = np.where(exponents < _MIN_EXPONENT, 0.0, np.exp(np.maximum(exponents, _MIN_EXPONENT)))
    ids: _Ids = np.arange(z.size)
    with_top_k = 0 < params.top_k < z.size
    if not (with_top_k or params.top_p < 1.0 or params.min_p > 0.0):
        return ids, weights

    total = np.cumsum(weights)[-1]
    ids = descending(z)
    weights = weights[ids]
    if with_top_k:
        ids, weights = ids[: params.top_k], weights[: params.top_k]
        total = np.cumsum(weights)[-1]
    if params.top_p < 1.0:
        before = np.r_[0.0, np.cumsum(weights)[:-1]]
        stays = before < params.top_p * total
        stays[0] = True
        ids, weights = ids[stays], weights[stays]
    if params.min_p > 0.0:
        stays = weights >= params.min_p
        stays[0] = True
        ids, weights = ids[stays], weights[stays]
    return ids, weights


def descending(values: _Float32s) -> _Ids:
    """Ids by (value descending, id ascending)."""
    order: _Ids = np.argsort(-values, kind="stable")
    return order


def choose(logits: _Float32s, params: SamplingParams, token_ids: Sequence[int], num_prompt_tokens: int) -> int:
    """The token that follows `token_ids`, given the raw logits [vocab] of their last position."""
    z = adjusted_logits(logits, params, token_ids, num_prompt_tokens)
    if params.temperature == 0.0 or np.isinf(z.max()):
        return int(z.argmax())
    ids, weights = candidates(z, params)
    sums = np.cumsum(weights)
    drawn = np.searchsorted(sums, uniform(params.seed, len(token_ids)) * sums[-1], side="right")
    if drawn == ids.size:  # rounding left none
        drawn = np.flatnonzero(weights)[-1]
    return int(ids[drawn])


def log_probabilities(logits: _Float32s) -> _Float32s:
    """Log-softmax of raw logits [vocab]; sums in float64, by ascending id."""
    shifted = logits.astype(np.float64) - np.float64(logits.max())
    logprobs: _Float32s = (shifted - np.log(np.cumsum(np.exp(shifted))[-1])).astype(np.float32)
    return logprobs


def last_length(params: SamplingParams, num_prompt_tokens: int, max_model_len: int) -> int:
    """Tokens, prompt included, at which the sequence ends at the latest."""
    return min(num_prompt_tokens + params.max_tokens, max_model_len)


def sample(
    seq_id: int,
    logits: _Float32s,
    params: SamplingParams,
    token_ids: Sequence[int],
    num_prompt_tokens: int,
    last_length: int,
) -> SampledToken:
    """The token that follows `token_ids`, with its log-probabilities and whether the sequence ends by it.

    Logits that are not all finite tell nothing: they end the sequence with ERROR.
    """
    if not np.isfinite(logits).all():
        return SampledToken(seq_id, -1, FinishReason.ERROR)
    token = choose(logits, params, token_ids, num_prompt_tokens)
    if token in params.stop_token_ids:
        finish = FinishReason.STOP
    else:
        finish = FinishReason.LENGTH if len(token_ids) + 1 >= last_length else FinishReason.NONE
    if params.logprobs is None:
        return SampledToken(seq_id, token, finish)
    logprobs = log_probabilities(logits)
    top = tuple((int(i), float(logprobs[i])) for i in descending(logits)[: params.logprobs])
    return SampledToken(seq_id, token, finish, float(logprobs[token]), top)


def check_params(params: SamplingParams, vocab_size: int) -> None:
    """Raises ValueError naming the first field that no engine can obey."""
    p, inf = params, float("inf")
    for name, value, allowed, ok in (
        ("temperature", p.temperature, "finite and >= 0", 0 <= p.temperature < inf),
        (
            "temperature",
            p.temperature,
            "at least 1e-6; use 0 for greedy",
            p.temperature == 0 or p.temperature >= _MIN_TEMPERATURE,
        ),
        ("top_k", p.top_k, ">= 0 (0 keeps all)", p.top_k >= 0),
        ("top_p", p.top_p, "in (0, 1]", 0 < p.top_p <= 1),
        ("min_p", p.min_p, "in [0, 1]", 0 <= p.min_p <= 1),
        ("repetition_penalty", p.repetition_penalty, "finite and > 0", 0 < p.repetition_penalty < inf),
        ("presence_penalty", p.presence_penalty, "finite", -inf < p.presence_penalty < inf),
        ("frequency_penalty", p.frequency_penalty, "finite", -inf < p.frequency_penalty < inf),
        ("max_tokens", p.max_tokens, ">= 1", p.max_tokens >= 1),
        ("min_tokens", p.min_tokens, f"in [0, max_tokens = {p.max_tokens}]", 0 <= p.min_tokens <= p.max_tokens),
        ("logprobs", p.logprobs, f"in [0, {vocab_size}]", p.logprobs is None or 0 <= p.logprobs <= vocab_size),
        ("logit_bias", p.logit_bias, f"of ids below {vocab_size}", all(0 <= i < vocab_size for i in p.logit_bias)),
        ("logit_bias", p.logit_bias, "finite", all(-inf < b < inf for b in p.logit_bias.values())),
        ("stop_token_ids", p.stop_token_ids, "ids >= 0", all(i >= 0 for i in p.stop_token_ids)),
    ):
        if not ok:
            raise ValueError(f"sampling.{name} is {value}; it must be {allowed}")
