"""Rotary embedding frequencies from a checkpoint's parameters: default, linear, llama3 and yarn.

The formulas and their float32 rounding are those of the transformers library, against which they are tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vajra.models.errors import ModelError
from vajra.models.spec import RopeSpec

Floats = npt.NDArray[np.float32]
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def rope_spec(params: Mapping[str, Any], head_dim: int, max_position_embeddings: int, *, where: str) -> RopeSpec:
    """Frequencies for `params`: rope_type, rope_theta and what the type needs (factor, low_freq_factor, ...).

    Raises ModelError, prefixed with `where`, for a type not in ROPE_TYPES or a missing or senseless parameter.
    """
    rope_type = params.get("rope_type", "default")
    if rope_type not in ROPE_TYPES:
        raise ModelError(f"{where}: rope scaling type {rope_type!r} is not supported; {', '.join(ROPE_TYPES)} are.")
    if params.get("partial_rotary_factor", 1.0) != 1.0:
        raise ModelError(f"{where}: partial_rotary_factor other than 1.0 is not supported.")
    if head_dim % 2:
        raise ModelError(f"{where}: head_dim {head_dim} is odd; rotary embedding needs pairs.")
    theta = _positive(params, "rope_theta", where)
    # pow in float64, rounded once: the float32 value that torch's own pow gives.
    exponents = (np.arange(0, head_dim, 2).astype(np.float32) / np.float32(head_dim)).astype(np.float64)
    periods: Floats = np.power(theta, exponents).astype(np.float32)
    inv_freq: Floats = np.float32(1) / periods
    attention_factor = 1.0
    if rope_type == "linear":
        inv_freq = inv_freq / np.float32(_positive(params, "factor", where))
    elif rope_type == "llama3":
        inv_freq = _llama3(inv_freq, params, max_position_embeddings, where)
    elif rope_type == "yarn":
        inv_freq, attention_factor = _yarn(periods, theta, head_dim, params, max_position_embeddings, where)
    return RopeSpec(inv_freq=tuple(inv_freq.tolist()), attention_factor=attention_factor)


def scaled_length(params: Mapping[str, Any], max_position_embeddings: int) -> int:
    """Context length that the scaling is meant for. llama3 checkpoints state the scaled length already."""
    rope_type = params.get("rope_type", "default")
    if rope_type == "linear":
        return int(max_position_embeddings * params["factor"])
    if rope_type == "yarn":
        original = params.get("original_max_position_embeddings") or max_position_embeddings
        factor = params.get("factor") or max_position_embeddings / original
        return max(int(original * factor), max_position_embeddings)
    return max_position_embeddings


def _positive(params: Mapping[str, Any], key: str, where: str) -> float:
    value = params.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ModelError(f"{where}: rope parameter {key} is {value!r}; it must be a positive number.")
    return float(value)


def _llama3(inv_freq: Floats, params: Mapping[str, Any], max_position_embeddings: int, where: str) -> Floats:
    """Long wavelengths are divided by the factor, short ones kept, those between interpolated."""
    factor = np.float32(_positive(params, "factor", where))
    low, high = _positive(params, "low_freq_factor", where), _positive(params, "high_freq_factor", where)
    if high <= low:
        raise ModelError(f"{where}: rope parameter high_freq_factor must be greater than low_freq_factor.")
    original = float(params.get("original_max_position_embeddings") or max_position_embeddings)
    # torch divides a number by a tensor as reciprocal, then product; its roundings are kept.
    wavelength = np.float32(1) / inv_freq * np.float32(2 * math.pi)
    scaled = np.where(wavelength > np.float32(original / low), inv_freq / factor, inv_freq)
    smooth = (np.float32(1) / wavelength * np.float32(original) - np.float32(low)) / np.float32(high - low)
    between = (np.float32(1) - smooth) * scaled / factor + smooth * scaled
    medium = ~(wavelength < np.float32(original / high)) & ~(wavelength > np.float32(original / low))
    result: Floats = np.where(medium, between, scaled).astype(np.float32)
    return result


def _yarn(
    periods: Floats, theta: float, dim: int, params: Mapping[str, Any], max_position_embeddings: int, where: str
) -> tuple[Floats, float]:
    """Fast-turning pairs extrapolate, slow ones interpolate, a linear ramp lies between."""
    original = float(params.get("original_max_position_embeddings") or max_position_embeddings)
    factor = max_position_embeddings / original
    if params.get("factor") is not None:
        factor = _positive(params, "factor", where)
    beta_fast, beta_slow = float(params.get("beta_fast") or 32), float(params.get("beta_slow") or 1)

    def correction_dim(rotations: float) -> float:
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low, high = correction_dim(beta_fast), correction_dim(beta_slow)
    if params.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    ramp = (np.arange(dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    extrapolation = np.float32(1) - np.clip(ramp, np.float32(0), np.float32(1))
    interpolated = np.float32(1) / (np.float32(factor) * periods)
    inv_freq = interpolated * (np.float32(1) - extrapolation) + np.float32(1) / periods * extrapolation
    return inv_freq.astype(np.float32), _yarn_attention_factor(factor, params)


def _yarn_attention_factor(factor: float, params: Mapping[str, Any]) -> float:
    def mscale(multiplier: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * multiplier * math.log(factor) + 1.0

    given, numerator, denominator = (params.get(k) for k in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is not None:
        return float(given)
    if numerator and denominator:
        return mscale(float(numerator)) / mscale(float(denominator))
    return mscale(1.0)
