"""Rope frequencies against transformers' own functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from vajra.models import ModelError
from vajra.models.rope import rope_spec


def oracle(params: dict[str, Any], head_dim: int, positions: int) -> tuple[Any, float]:
    config = LlamaConfig(
        hidden_size=head_dim * 4,
        num_attention_heads=4,
        head_dim=head_dim,
        max_position_embeddings=positions,
        rope_parameters=dict(params),
    )
    if params["rope_type"] == "default":
        inv_freq, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        inv_freq, factor = ROPE_INIT_FUNCTIONS[params["rope_type"]](config)
    return inv_freq.numpy(), factor


thetas = st.sampled_from([10000.0, 100000.0, 500000.0, 1000000.0]) | st.floats(100, 1e7)
parameters = st.one_of(
    st.fixed_dictionaries({"rope_type": st.just("default"), "rope_theta": thetas}),
    st.fixed_dictionaries({"rope_type": st.just("linear"), "rope_theta": thetas, "factor": st.floats(1, 64)}),
    st.fixed_dictionaries(
        {
            "rope_type": st.just("llama3"),
            "rope_theta": thetas,
            "factor": st.floats(1, 64),
            "low_freq_factor": st.floats(0.5, 2),
            "high_freq_factor": st.floats(2.5, 8),
            "original_max_position_embeddings": st.sampled_from([64, 1024, 8192]),
        }
    ),
    st.fixed_dictionaries(
        {
            "rope_type": st.just("yarn"),
            "rope_theta": thetas,
            "factor": st.floats(1, 64),
            "original_max_position_embeddings": st.sampled_from([64, 4096, 32768]),
        },
        optional={
            "beta_fast": st.sampled_from([16.0, 32.0]),
            "beta_slow": st.sampled_from([1.0, 2.0]),
            "attention_factor": st.floats(0.5, 2),
            "mscale": st.sampled_from([0.7, 1.0]),
            "mscale_all_dim": st.sampled_from([0.7, 1.0]),
            "truncate": st.booleans(),
        },
    ),
)


@given(parameters, st.sampled_from([16, 64, 96, 128]))
@example(
    {
        "rope_type": "llama3",
        "rope_theta": 9023621.5,
        "factor": 23.0,
        "low_freq_factor": 1.125,
        "high_freq_factor": 3.0,
        "original_max_position_embeddings": 8192,
    },
    64,
)
def test_equals_transformers(params: dict[str, Any], head_dim: int) -> None:
    inv_freq, factor = oracle(params, head_dim, 131072)
    ours = rope_spec(params, head_dim, 131072, where="test")
    allowed = 1e-6 * inv_freq
    if params["rope_type"] == "llama3":
        # Its blend is a difference of float32 terms as large as the unscaled frequency, and powf differs between
        # processors by an ulp: what is left of the difference can be off by a few ulps of those terms.
        low, high = params["low_freq_factor"], params["high_freq_factor"]
        unscaled = params["rope_theta"] ** -(np.arange(0, head_dim, 2) / head_dim)
        allowed += 4 * np.finfo(np.float32).eps * high / (high - low) * unscaled
    assert np.all(np.abs(np.array(ours.inv_freq) - inv_freq) <= allowed)
    assert ours.attention_factor == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rope_type": "longrope"}, "rope scaling type 'longrope' is not supported"),
        ({"rope_type": "dynamic"}, "default, linear, llama3, yarn are"),
        ({"rope_type": "linear"}, "rope parameter factor is None"),
        ({"rope_type": "linear", "factor": 0}, "must be a positive number"),
        ({"rope_theta": "big"}, "rope parameter rope_theta is 'big'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}, "high_freq_factor"),
    ],
)
def test_refusals(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as e:
        rope_spec({"rope_type": "default", "rope_theta": 10000.0, **change}, 64, 4096, where="here/config.json")
    assert str(e.value).startswith("here/config.json: ")
