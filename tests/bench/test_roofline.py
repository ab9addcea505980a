"""Bytes and operations of SmolLM2-135M, against numbers worked out by hand from its config."""

from __future__ import annotations

import pytest
from bench.report import ideal
from bench.roofline import Cost, Rates, Storage, decode_seconds, decode_step, first_token_seconds, prefill
from bench.workloads import DECODE, ITL, MODELS, PREFILL, SMOLLM2, TOTAL, TTFT, WORKLOADS

SHAPE = MODELS[SMOLLM2]
BF16 = Storage()

# Per layer: q 576·576 + k 576·192 + v 576·192 + o 576·576 = 884,736; gate, up, down 3 · 576·1536 = 2,654,208.
LAYER = 3_538_944
BLOCK = 106_168_320  # 30 layers
HEAD = 28_311_552  # 576 · 49,152
READ = 134_479_872


def test_weights_of_smollm2() -> None:
    assert SHAPE.block_weights == 30 * LAYER == BLOCK
    assert SHAPE.head_weights == HEAD
    assert SHAPE.read_weights == READ


def test_weights_of_the_larger_model_are_1_1_billion_with_its_embedding() -> None:
    shape = MODELS["llama-1.1b"]
    # Per layer: 2 · 2048² + 2 · 2048·256 + 3 · 2048·5632 = 8,388,608 + 1,048,576 + 34,603,008; 22 layers.
    assert shape.block_weights == 22 * 44_040_192
    assert shape.read_weights + 32_000 * 2_048 == 1_099_956_224


def test_kept_values_and_attention_of_smollm2() -> None:
    assert SHAPE.kv_values == 11_520  # keys and values · 30 layers · 3 heads · 64
    assert SHAPE.attention_flops == 69_120  # 2 products of 2 operations · 30 layers · 9 heads · 64


def test_prefill_of_128_tokens() -> None:
    cost = prefill(SHAPE, 1, 128, BF16)
    # 2 · 106,168,320 · 128 = 27,179,089,920; logits of one row 56,623,104; 128 · 129 / 2 = 8,256 pairs · 69,120.
    assert cost.flops == 27_179_089_920 + 56_623_104 + 570_654_720
    assert cost.bytes == 268_959_744


def test_prefill_reads_weights_once_for_all_prompts() -> None:
    one, eight = prefill(SHAPE, 1, 2048, BF16), prefill(SHAPE, 8, 2048, BF16)
    assert eight.flops == 8 * one.flops
    assert eight.bytes == one.bytes


def test_decode_step_of_64_sequences() -> None:
    cost = decode_step(SHAPE, 64, 320, BF16)
    # Each: 2 · 134,479,872 + 69,120 · 320 = 291,078,144. Bytes: the weights and 64 · 320 · 11,520 values of 2 bytes.
    assert cost.flops == 64 * 291_078_144
    assert cost.bytes == 268_959_744 + 471_859_200


def test_smaller_storage_means_fewer_bytes() -> None:
    cost = decode_step(SHAPE, 1, 100, Storage(weight=1.0, kv=0.5))
    assert cost.bytes == READ + 100 * 11_520 / 2


def test_the_slower_of_bytes_and_operations_counts() -> None:
    rates = Rates(bandwidth=10.0, flops=100.0)
    assert Cost(flops=100, bytes=50).seconds(rates) == 5.0
    assert Cost(flops=100, bytes=50).bound(rates) == "bytes"
    assert Cost(flops=1000, bytes=50).seconds(rates) == 10.0
    assert Cost(flops=1000, bytes=50).bound(rates) == "flops"


def test_seconds_of_a_decode_that_reads_memory() -> None:
    # Of 3 tokens the first is prefill's: two steps, over 11 and 12 positions.
    rates = Rates(bandwidth=1e9, flops=1e15)
    expected = (2 * 268_959_744 + (11 + 12) * 11_520 * 2) / 1e9
    assert decode_seconds(SHAPE, 1, 10, 3, BF16, rates) == pytest.approx(expected, rel=1e-12)


def test_ideal_figures_follow_from_the_times() -> None:
    rates = Rates(bandwidth=20e9, flops=500e9)
    w1, w3 = WORKLOADS["W1"], WORKLOADS["W3"]
    first = first_token_seconds(SHAPE, 1, 128, BF16, rates)
    rest = decode_seconds(SHAPE, 1, 128, 128, BF16, rates)
    assert ideal(w1, TTFT, SHAPE, BF16, rates) == pytest.approx(first * 1000)
    assert ideal(w1, DECODE, SHAPE, BF16, rates) == pytest.approx(127 / rest)
    assert ideal(w1, TOTAL, SHAPE, BF16, rates) == pytest.approx(256 / (first + rest))
    prefilled = ideal(w3, PREFILL, SHAPE, BF16, rates)
    assert prefilled == pytest.approx(8 * 2048 / first_token_seconds(SHAPE, 8, 2048, BF16, rates))


def test_there_is_no_ideal_latency_where_requests_wait_for_one_another() -> None:
    rates = Rates(bandwidth=20e9, flops=500e9)
    assert ideal(WORKLOADS["W2h"], TTFT, SHAPE, BF16, rates) is None
    assert ideal(WORKLOADS["W2h"], ITL, SHAPE, BF16, rates) is None
